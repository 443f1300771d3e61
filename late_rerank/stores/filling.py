"""Documents that are copied into a near store behind an answer."""

from __future__ import annotations

import atexit
import weakref
from collections.abc import Callable
from concurrent.futures import Future, wait
from threading import Lock

from late_rerank.processes.forks import guarded, watch
from late_rerank.processes.threads import CallThreads
from late_rerank.types import PackedVectors

MOST_BYTES = 64 * 2**20
_OPEN: weakref.WeakSet[Filler] = weakref.WeakSet()


class Filler:
    """Copies documents one after the other, in a thread of its own. Safe to share between threads.

    Documents that wait keep their memory. So only some megabytes wait. What comes beyond is left out: it is found in the far
    store again.
    """

    def __init__(self) -> None:
        self._threads = CallThreads(1)
        self._waiting: dict[Future[None], int] = {}
        self._n_bytes = 0
        self._error: BaseException | None = None
        self._lock = guarded(Lock())
        watch(self)
        if not _OPEN:  # not at import: the near store's own end, which was registered before, must come later
            atexit.register(_drain_all)
        _OPEN.add(self)

    def after_fork(self) -> None:
        """Begin without copies: those on their way were the parent's."""
        self._waiting, self._n_bytes = {}, 0

    def add(self, fill: Callable[[], None], packed: PackedVectors | None = None) -> bool:
        """Have documents copied soon. False if too many wait, or the interpreter is ending.

        Args:
            fill: Copies them.
            packed: The documents, whose size counts. None for other work on the near store.
        """
        size = 0 if packed is None else sum(width * int(packed.lengths.sum()) for width in packed.codec.columns.values())
        with self._lock:
            if self._waiting and self._n_bytes + size > MOST_BYTES:
                return False
            try:
                future = self._threads.submit(fill)
            except RuntimeError:  # closed, or the interpreter is ending
                return False
            self._waiting[future] = size
            self._n_bytes += size
        future.add_done_callback(self._done)
        return True

    def drain(self) -> None:
        """Wait until every document that was added is copied.

        Raises:
            Exception: If a copy raised one.
        """
        with self._lock:
            waiting = list(self._waiting)
        wait(waiting)
        error, self._error = self._error, None
        if error is not None:
            raise error

    def close(self) -> None:
        """Copy what waits, and take no more."""
        try:
            self.drain()
        finally:
            self._threads.shutdown()

    def _done(self, future: Future[None]) -> None:
        with self._lock:
            self._n_bytes -= self._waiting.pop(future, 0)
            self._error = self._error or future.exception()


def _drain_all() -> None:
    """Copy what waits, if a program ends without closing its store."""
    for filler in list(_OPEN):
        filler.drain()
