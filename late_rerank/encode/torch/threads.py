"""torch's own threads: one for a query, and one for all in a forked child."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from functools import cache
from pathlib import Path
from typing import Any

import torch
from threadpoolctl import ThreadpoolController

from late_rerank.processes.forks import lost_threads


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch compute on the calling thread alone; other threads keep theirs.

    A query is too little work for several threads, which then wait for each other: if other programs run, twenty times as long
    as one thread takes. torch.set_num_threads would also decide for every thread that starts meanwhile.
    """
    torch.get_num_threads()  # a new thread first takes the program's own number here; later that would undo the limit
    with _controller().limit(limits=1, user_api="openmp"):
        before = _limit_mkl(1)
        try:
            yield
        finally:
            _limit_mkl(before)


@contextmanager
def alone_after_a_fork() -> Iterator[None]:
    """Let torch compute on the calling thread alone in a forked child, where it would wait for the parent's threads."""
    with one_thread() if lost_threads() else nullcontext():
        yield


@cache
def _controller() -> ThreadpoolController:
    return ThreadpoolController()  # looks at every loaded library, which takes a millisecond


@cache
def _mkl() -> Any:
    """Find MKL's function that limits the calling thread; None if torch has no MKL.

    After a program has called torch.set_num_threads, MKL goes by that number instead of OpenMP's.
    """
    for path in Path(torch.__file__).parent.glob("lib/*torch_cpu.*"):
        with suppress(OSError, AttributeError):
            return ctypes.CDLL(str(path)).MKL_Set_Num_Threads_Local
    return None


def _limit_mkl(n_threads: int) -> int:
    """Set MKL's limit for the calling thread, and return the limit before: 0 if there was none, or there is no MKL."""
    set_threads = _mkl()
    return int(set_threads(n_threads)) if set_threads else 0
