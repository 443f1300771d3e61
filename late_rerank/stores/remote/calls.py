"""Calls of a library with threads of its own: the end of the process waits for them.

A thread of such a library that comes back to Python while the interpreter is taken down ends the process with an abort.
"""

from __future__ import annotations

import atexit
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from late_rerank.processes.forks import guarded

_LONGEST_END_S = 10.0
# A result is told before the library's own thread has let go of the objects that it was told with: microseconds.
_LETTING_GO_S = 0.1


class Calls:
    """Counts the calls that run. Safe to share between threads."""

    def __init__(self) -> None:
        self._n = 0
        self._last_s = 0.0
        self._is_ending = False
        self._changed = threading.Condition(guarded(threading.Lock()))
        atexit.register(self.end)

    def after_fork(self) -> None:
        """Begin at none in a child: the running calls are the parent's."""
        self._n = 0
        self._changed = threading.Condition(guarded(threading.Lock()))

    @contextmanager
    def running(self) -> Iterator[None]:
        """Call the library inside. When the process ends, a daemon thread goes no further: nobody waits for its result."""
        with self._changed:
            while self._is_ending and threading.current_thread().daemon:
                self._changed.wait()
            self._n += 1
        try:
            yield
        finally:
            with self._changed:
                self._n -= 1
                self._last_s = time.monotonic()
                self._changed.notify_all()

    def end(self) -> None:
        """Wait for the calls that run, some seconds at most, and let daemon threads begin no other."""
        with self._changed:
            self._is_ending = True
            self._changed.wait_for(lambda: not self._n, _LONGEST_END_S)
        time.sleep(max(0.0, self._last_s + _LETTING_GO_S - time.monotonic()))
