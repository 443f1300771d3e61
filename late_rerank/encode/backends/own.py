"""Engines of this process: a forked child leaves the parent's engine alone, and loads its own when it needs one."""

from __future__ import annotations

import os
from collections.abc import Callable
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from late_rerank.encode.backends.run import Run
from late_rerank.processes.forks import guarded, keep_for_good, watch
from late_rerank.types import F32


class OwnEngine:
    """A Run that every forked child loads for itself, at its first call. In a child it runs on one thread.

    Args:
        load: Loads the engine.
    """

    def __init__(self, load: Callable[[], Run]) -> None:
        self._load = load
        self._process = os.getpid()
        self._loading = guarded(Lock())
        self._run = load()
        watch(self)

    def __call__(self, ids: NDArray[np.int64], mask: NDArray[np.int64]) -> F32:
        if self._process != os.getpid():
            with self._loading:
                if self._process != os.getpid():  # unless another thread was first
                    self._run = self._load()
                    self._process = os.getpid()
        return self._run(ids, mask)

    def after_fork(self) -> None:
        """Never free the parent's engine: freeing it waits for threads that only the parent has."""
        keep_for_good(self._run)
