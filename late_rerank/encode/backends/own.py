"""Engines of this process's own: what a fork copies of the parent's is left alone, and loaded anew when it is needed."""

from __future__ import annotations

import os
from collections.abc import Callable
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from late_rerank.encode.backends.backbone import Run
from late_rerank.processes.forks import guarded, keep_for_good, watch
from late_rerank.types import F32


class OwnEngine:
    """A Run that every forked child loads for itself, at its first call there; for one thread, as all in a child.

    Args:
        load: Gives the engine.
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
                if self._process != os.getpid():  # no other thread was first
                    self._run = self._load()
                    self._process = os.getpid()
        return self._run(ids, mask)

    def after_fork(self) -> None:
        """Never free the parent's engine: that waits for threads which the child hasn't."""
        keep_for_good(self._run)
