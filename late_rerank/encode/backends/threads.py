"""How many threads run a model."""

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

    A query is too little work for several, which then wait for each other: where other programs run, twenty times as long as
    one thread takes. torch.set_num_threads would also decide for every thread that begins meanwhile.
    """
    torch.get_num_threads()  # in a new thread it first takes the program's own number, which else would undo the limit
    with _controller().limit(limits=1, user_api="openmp"):
        before = _limit_mkl(1)
        try:
            yield
        finally:
            _limit_mkl(before)


@contextmanager
def alone_after_a_fork() -> Iterator[None]:
    """Let torch compute on the calling thread alone in a child that was forked: it would wait for the parent's threads."""
    with one_thread() if lost_threads() else nullcontext():
        yield


def n_threads() -> int:
    """How many threads an engine takes: as many as torch would for documents; in a child that was forked one."""
    return 1 if lost_threads() else torch.get_num_threads()


@cache
def _controller() -> ThreadpoolController:
    return ThreadpoolController()  # looks at every library that is loaded: a millisecond


@cache
def _mkl() -> Any:
    """MKL's own limit for the calling thread; None where torch has no MKL in it.

    Where a program has called torch.set_num_threads, MKL goes by that number instead of OpenMP's.
    """
    for path in Path(torch.__file__).parent.glob("lib/*torch_cpu.*"):
        with suppress(OSError, AttributeError):
            return ctypes.CDLL(str(path)).MKL_Set_Num_Threads_Local
    return None


def _limit_mkl(n_threads: int) -> int:
    """What it was before; 0, for none of its own, where there is no MKL."""
    set_threads = _mkl()
    return int(set_threads(n_threads)) if set_threads else 0
