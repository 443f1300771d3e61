"""Workers that are forked from this process, and share its memory: kept running until a signal ends them. Linux."""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from multiprocessing import Pipe, get_context
from multiprocessing.connection import Connection
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any

import uvicorn

from late_rerank.serve import memory
from late_rerank.serve.port import OwnInEachProcess

logger = logging.getLogger("uvicorn.error")

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGTTIN, signal.SIGTTOU)
# uvicorn's exit code of a worker that couldn't begin. A new worker would fail in the same way.
_COULD_NOT_BEGIN = 3
# As uvicorn's supervisor: how often it looks after its workers, and how long a worker may be silent.
_EVERY_S = 0.5
_LONGEST_SILENCE_S = 5.0
# A worker that replaces another has the model, and opens the store.
_LONGEST_START_S = 30.0


class Forked:
    """Keeps forked workers running. It obeys the signals that uvicorn's supervisor obeys.

    SIGTERM and SIGINT end all workers, each when its requests are finished. SIGHUP replaces all workers one by one. SIGTTIN
    adds a worker, and SIGTTOU ends one.

    Args:
        config: Of each worker's server. Its app is made in the worker.
        port: Held by this process. Each worker listens on a socket of its own.

    Attributes:
        is_interrupted: Whether SIGINT ended it.
        could_not_begin: Whether it ended because a worker couldn't begin.
    """

    def __init__(self, config: uvicorn.Config, port: OwnInEachProcess) -> None:
        self.is_interrupted = False
        self.could_not_begin = False
        self._config = config
        self._port = port
        self._n = config.workers
        self._workers: list[_Worker] = []
        self._signals = _Signals()
        self._is_ending = False

    def run(self) -> None:
        """Fork the workers, and look after them to the end."""
        with suppress(ImportError):
            import_module("uvloop")  # uvicorn takes it where it is; each worker that imported it would need 2 MB for itself
        gc.collect()
        memory.give_back()
        gc.freeze()  # a worker's collector would write into all objects of the parent, and so copy their pages
        with self._signals:
            try:
                while not self._is_ending:
                    self._look_after()
                    self._obey(self._signals.next(_EVERY_S))
            finally:
                for worker in self._workers:
                    worker.end()
                for worker in self._workers:
                    worker.join()

    def _look_after(self) -> None:
        """Replace dead and silent workers, then make their number right."""
        for i, worker in enumerate(self._workers):
            if worker.listens() is not None:
                continue
            worker.kill()
            if worker.exitcode == _COULD_NOT_BEGIN:
                logger.error("Worker [%d] couldn't begin, so that all end", worker.pid)
                self._is_ending = self.could_not_begin = True
                return
            logger.info("Worker [%d] died", worker.pid)
            self._workers[i] = self._fork()
        while len(self._workers) < self._n:
            self._workers.append(self._fork())
        while len(self._workers) > self._n:
            self._workers.pop().end_and_join()

    def _obey(self, given: int | None) -> None:
        if given in (signal.SIGINT, signal.SIGTERM):
            self.is_interrupted = given == signal.SIGINT
            self._is_ending = True
        elif given == signal.SIGHUP:
            self._replace_all()
        elif given == signal.SIGTTIN:
            self._n += 1
        elif given == signal.SIGTTOU:
            self._n = max(1, self._n - 1)

    def _replace_all(self) -> None:
        """End each worker when a new one listens. Stop if a new one doesn't: the old ones still answer."""
        for i, old in enumerate(self._workers):
            new = self._fork()
            if not new.listens_in_time():
                new.kill()
                logger.error("Worker [%d] didn't begin, so that the old ones stay", new.pid)
                return
            self._workers[i] = new
            old.end_and_join()

    def _fork(self) -> _Worker:
        with self._signals.blocked():
            return _Worker(self._serve)

    def _serve(self, pipe: Connection) -> None:
        """Be a worker."""
        self._signals.give_back()
        for other in self._workers:
            other.forget()
        server = uvicorn.Server(self._config)
        Thread(target=_answer, args=(pipe, server), name="late-rerank answers its parent", daemon=True).start()
        try:
            server.run(sockets=[self._port.in_child()])
        except KeyboardInterrupt:
            return
        if not server.started:
            sys.exit(_COULD_NOT_BEGIN)


class _Worker:
    """A forked worker, as its parent sees it.

    Args:
        serve: What the worker does, with its end of a pipe.
    """

    def __init__(self, serve: Callable[[Connection], None]) -> None:
        self._pipe, of_child = Pipe()
        self._process = get_context("fork").Process(target=self._be, args=(serve, of_child))
        self._process.start()
        of_child.close()

    def _be(self, serve: Callable[[Connection], None], pipe: Connection) -> None:
        self.forget()
        serve(pipe)

    @property
    def pid(self) -> int | None:
        return self._process.pid

    @property
    def exitcode(self) -> int | None:
        return self._process.exitcode

    def listens(self) -> bool | None:
        """Ask whether it listens; None if it is dead, or its interpreter is stuck."""
        if not self._process.is_alive():
            return None
        try:
            self._pipe.send(None)
            return bool(self._pipe.recv()) if self._pipe.poll(_LONGEST_SILENCE_S) else None
        except (OSError, EOFError):
            return None

    def listens_in_time(self) -> bool:
        """Wait until it listens."""
        end = time.monotonic() + _LONGEST_START_S
        while (found := self.listens()) is False and time.monotonic() < end:
            time.sleep(0.05)
        return bool(found)

    def end(self) -> None:
        """Let it finish its requests, and end."""
        self._process.terminate()

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()
        self.join()

    def join(self) -> None:
        """Wait for its end."""
        self._process.join()
        self.forget()

    def end_and_join(self) -> None:
        """Let it finish its requests, and wait for its end."""
        self.end()
        self.join()

    def forget(self) -> None:
        """Close this end of the pipe. Workers do so too, since they inherit it: each sees when the parent is gone."""
        self._pipe.close()


def _answer(pipe: Connection, server: uvicorn.Server) -> None:
    """Tell the parent whether this worker listens, as often as it asks. End the worker when the parent is gone."""
    try:
        while True:
            pipe.recv()
            pipe.send(server.started)
    except (OSError, EOFError):
        os.kill(os.getpid(), signal.SIGTERM)


class _Signals:
    """Signals, kept until they are asked for; a context manager."""

    def __init__(self) -> None:
        self._kept: SimpleQueue[int] = SimpleQueue()
        self._handlers: dict[signal.Signals, Any] = {}

    def __enter__(self) -> None:
        for number in _SIGNALS:
            self._handlers[number] = signal.signal(number, lambda number, _: self._kept.put(number))

    def __exit__(self, *exc: object) -> None:
        self._set_handlers()

    def next(self, timeout_s: float) -> int | None:
        """Wait for a signal; None if none came in time."""
        try:
            return self._kept.get(timeout=timeout_s)
        except Empty:
            return None

    @contextmanager
    def blocked(self) -> Iterator[None]:
        """Let signals wait: a child would lose one that came before `give_back`."""
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        try:
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)

    def give_back(self) -> None:
        """Restore the former handlers, in a child that was forked while signals were blocked."""
        self._set_handlers()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)

    def _set_handlers(self) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
