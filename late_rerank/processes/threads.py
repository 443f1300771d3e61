"""Threads for the calls of event loops: their own, so that nothing else of the program waits behind a rerank."""

from __future__ import annotations

import contextvars
import os
import weakref
from collections.abc import Callable
from concurrent.futures import Executor, Future
from functools import partial
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from typing import Any, ParamSpec, TypeVar

from late_rerank.processes.forks import background_work, guarded, watch

_P = ParamSpec("_P")
_T = TypeVar("_T")
_Work = tuple["Future[Any]", Callable[[], Any]]


class _Line:
    """Calls that wait for a thread. Threads hold only this, so that they end once nobody holds the executor."""

    def __init__(self) -> None:
        self.waiting: SimpleQueue[_Work | None] = SimpleQueue()
        self.lock = guarded(Lock())
        self.n_threads = 0
        self.n_idle = 0

    def end(self) -> None:
        """Let every thread end after the waiting calls."""
        with self.lock:
            for _ in range(self.n_threads):
                self.waiting.put(None)

    def serve(self) -> None:
        """Do waiting calls until the end: the body of a thread."""
        while (work := self._next()) is not None:
            with background_work():
                _do(*work)
            del work  # what was ranked isn't held while the thread waits

    def _next(self) -> _Work | None:
        try:
            return self.waiting.get_nowait()
        except Empty:
            with self.lock:
                self.n_idle += 1
            return self.waiting.get()


def _do(future: Future[Any], call: Callable[[], Any]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = call()
    except BaseException as error:  # noqa: BLE001 - whoever waits for it is told
        future.set_exception(error)
    else:
        future.set_result(result)


class CallThreads(Executor):
    """An executor that begins threads when it needs them. The process doesn't wait for them when it ends.

    Args:
        most: Threads at most; None for as many as asyncio takes by default.
    """

    def __init__(self, most: int | None = None) -> None:
        self._most = min(32, (os.cpu_count() or 1) + 4) if most is None else most
        self._is_shut = False
        self._begin()
        watch(self)

    def _begin(self) -> None:
        self._line = _Line()
        self._finalizer = weakref.finalize(self, self._line.end)

    def after_fork(self) -> None:
        """Begin without threads: the threads and the waiting calls were the parent's."""
        self._finalizer.detach()
        self._begin()

    def submit(self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_T]:
        """Call it in a thread.

        Raises:
            RuntimeError: If this was shut down, or the interpreter is ending.
        """
        if self._is_shut:
            raise RuntimeError("these threads were shut down")
        future: Future[_T] = Future()
        line = self._line
        with line.lock:
            line.waiting.put((future, partial(fn, *args, **kwargs)))
            if line.n_idle:
                line.n_idle -= 1
            elif line.n_threads < self._most:
                line.n_threads += 1
                Thread(target=line.serve, name=f"late-rerank reranks {line.n_threads}", daemon=True).start()
        return future

    def shutdown(self, wait: bool = False, *, cancel_futures: bool = False) -> None:  # noqa: ARG002, FBT001, FBT002 - Executor's
        """Take no more calls. Waiting calls are still done, but nobody waits for them."""
        self._is_shut = True
        self._finalizer()


async def in_thread(threads: Executor, call: Callable[..., _T], *args: Any, **kwargs: Any) -> _T:
    """Call it in one of these threads, as asyncio.to_thread does: with the caller's context variables."""
    import asyncio  # noqa: PLC0415 - whoever has an event loop has it already

    context = contextvars.copy_context()
    return await asyncio.get_running_loop().run_in_executor(threads, partial(context.run, call, *args, **kwargs))
