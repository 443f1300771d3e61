"""Forks, and the end of the process: locks that a fork would leave locked, threads that it loses, engines in mid-call.

A fork copies the calling thread alone. A lock that another thread holds stays locked in the child, and a call that waits
for the other threads of an engine waits for ever. So a fork waits until no lock of ours is held and no engine runs. In the
child every watched object is told, and makes its lost threads and engines anew when it needs them.
"""

from __future__ import annotations

import atexit
import ctypes
import os
import sys
import threading
import time
import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import Protocol, TypeVar

from late_rerank.errors import ForkError

# An engine's call takes a second at most: one batch of windows. Locks are held for microseconds.
_LONGEST_CALL_S = 10.0
_LONGEST_LOCK_S = 1.0
# How long the end waits for other background work: an encoder of the user's, say.
_LONGEST_END_S = 0.5
# Engines that start threads of their own; each is a module.
_WITH_THREADS = {"torch", "onnxruntime", "openvino"}

_AnyLock = TypeVar("_AnyLock", bound=object)
_INSTEAD = (
    'Start processes by "spawn" or "forkserver" (multiprocessing.get_context("spawn")), or load the model after the fork: '
    "gunicorn without --preload, Celery in the signal worker_process_init."
)


class Watched(Protocol):
    """An object that is told of a fork."""

    def after_fork(self) -> None:
        """In the child, before anything else runs there."""


class Prepared(Protocol):
    """An object that is put in order before a fork, and told on both sides of it."""

    def before_fork(self) -> None:
        """In the parent, before the fork: finish what is begun, and let nobody begin anything."""

    def after_fork_in_parent(self) -> None:
        """In the parent, after the fork: go on."""

    def after_fork_in_child(self) -> None:
        """In the child, before anything else runs there: go on with locks and files of its own."""


class StoppedError(Exception):
    """The caller doesn't want the work any more; never leaves the library."""


class _Process:
    """This process's engines, locks and watched objects. There is one instance: forks and the end concern the whole process."""

    def __init__(self) -> None:
        self.watched: weakref.WeakSet[Watched] = weakref.WeakSet()
        self.prepared: weakref.WeakSet[Prepared] = weakref.WeakSet()
        self.locks: weakref.WeakSet[threading.Lock] = weakref.WeakSet()
        self.kept: list[object] = []
        self.lost: frozenset[str] = frozenset()
        self.was_cut_off = False
        self._held: list[threading.Lock] = []
        self._in_fork: list[Prepared] = []
        self._changed = threading.Condition()
        self._calls: Counter[int] = Counter()  # by thread
        self._background: Counter[int] = Counter()
        self._is_forking = False
        self._is_ending = False

    @contextmanager
    def background_work(self) -> Iterator[None]:
        with self._changed:
            self._stay_if_ending()
            self._background[threading.get_ident()] += 1
        try:
            yield
        finally:
            self._leave(self._background)

    @contextmanager
    def engine_call(self) -> Iterator[None]:
        thread = threading.get_ident()
        with self._changed:
            while self._is_forking and not self._calls[thread]:
                self._changed.wait()
            self._stay_if_ending()
            self._calls[thread] += 1
        try:
            yield
        finally:
            self._leave(self._calls)

    def _leave(self, counted: Counter[int]) -> None:
        thread = threading.get_ident()
        with self._changed:
            counted[thread] -= 1
            if not counted[thread]:
                del counted[thread]
            self._changed.notify_all()

    def _stay_if_ending(self) -> None:
        """Stop a thread that nobody waits for: even freeing its objects on the way out may call native code."""
        if self._is_ending and threading.current_thread().daemon:
            self._background.pop(threading.get_ident(), None)
            self._changed.notify_all()
            while True:
                self._changed.wait()

    def before_fork(self) -> None:
        prepared: list[Prepared] = []  # held, so that each is told of both sides of the fork
        try:
            for thing in sorted(self.prepared, key=id):  # by id: two threads that fork at once must not wait for each other
                thing.before_fork()
                prepared.append(thing)
        finally:
            self._changed.acquire()  # and held until the fork is done
            self._in_fork = prepared
        self._is_forking = True
        self._changed.wait_for(lambda: not self._others(), _LONGEST_CALL_S)
        end = time.monotonic() + _LONGEST_LOCK_S
        self._held = [lock for lock in list(self.locks) if lock.acquire(timeout=max(0, end - time.monotonic()))]

    def after_fork_in_parent(self) -> None:
        self._release()
        self._is_forking = False
        self._changed.notify_all()
        in_fork, self._in_fork = self._in_fork, []
        self._changed.release()
        for thing in in_fork:
            thing.after_fork_in_parent()

    def after_fork_in_child(self) -> None:
        self.was_cut_off = self.was_cut_off or self._others() > 0
        self.lost |= _WITH_THREADS & sys.modules.keys()
        self._changed = threading.Condition()
        self._calls = Counter({thread: n for thread, n in self._calls.items() if thread == threading.get_ident()})
        self._background.clear()
        self._is_forking = self._is_ending = False
        held = set(map(id, self._held))
        for lock in list(self.locks):
            if id(lock) not in held:
                lock._at_fork_reinit()  # type: ignore[attr-defined]  # noqa: SLF001 - as threading's own are
        self._release()
        for thing in self.kept:
            keep_for_good(thing)
        for watched in list(self.watched):
            watched.after_fork()
        in_fork, self._in_fork = self._in_fork, []
        for thing in in_fork:
            thing.after_fork_in_child()

    def at_exit(self) -> None:
        """Wait for threads in native code: one that comes back when the interpreter is gone crashes the process."""
        with self._changed:
            self._is_ending = True
            self._changed.wait_for(lambda: not self._others(), _LONGEST_CALL_S)
            self._changed.wait_for(lambda: not self._background, _LONGEST_END_S)

    def _others(self) -> int:
        """Count the threads in an engine, this one aside."""
        return sum(thread != threading.get_ident() for thread in self._calls)

    def _release(self) -> None:
        for lock in self._held:
            lock.release()
        self._held = []


_PROCESS = _Process()
_STOP: ContextVar[Callable[[], bool] | None] = ContextVar("stop", default=None)

# At import, since a fork before the first model matters too: the modules imported by then decide what the child may do.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_PROCESS.before_fork,
        after_in_parent=_PROCESS.after_fork_in_parent,
        after_in_child=_PROCESS.after_fork_in_child,
    )
atexit.register(_PROCESS.at_exit)


def watch(thing: Watched) -> None:
    """Call an object's `after_fork` in every child that is forked while it lives."""
    _PROCESS.watched.add(thing)


def prepare(thing: Prepared) -> None:
    """Tell an object of every fork, before it and on both sides, until `forget` or until it is collected."""
    _PROCESS.prepared.add(thing)


def forget(thing: Prepared) -> None:
    """Tell it of no further fork."""
    _PROCESS.prepared.discard(thing)


def guarded(lock: _AnyLock) -> _AnyLock:
    """Make a Lock or RLock free in every forked child. For locks that are held briefly, without another lock within."""
    _PROCESS.locks.add(lock)  # type: ignore[arg-type]
    return lock


def keep_in_children(thing: object) -> None:
    """Keep an object for good, in forked children as well: an engine's library can't be taken down without its threads."""
    _PROCESS.kept.append(thing)


def keep_for_good(thing: object) -> None:
    """Never free an object, not even when the interpreter ends.

    An engine of the parent's that is freed in a child waits for threads that don't exist there: the child would never end.
    """
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))


def lost_threads() -> bool:
    """Whether this process was forked from one that had loaded an engine, whose lost threads it may still wait for."""
    return bool(_PROCESS.lost)


def engine_call() -> AbstractContextManager[None]:
    """Run an engine inside: forks and the end of the process wait for it.

    Raises:
        StoppedError: If the caller doesn't want the work any more.
        ForkError: If the parent forked while an engine ran for longer than a fork waits.
    """
    asked = _STOP.get()
    if asked is not None and asked():
        raise StoppedError
    if _PROCESS.was_cut_off:
        raise ForkError(f"this process was forked while its parent was encoding, so that no model runs in it. {_INSTEAD}")
    return _PROCESS.engine_call()


def background_work() -> AbstractContextManager[None]:
    """Work inside that may be a daemon thread's: when the process ends, it goes no further than its next call of an engine."""
    return _PROCESS.background_work() if threading.current_thread().daemon else nullcontext()


def check_device(device: str) -> None:
    """Refuse an accelerator in a forked child.

    Raises:
        ForkError: If the process was forked, and the device is no processor.
    """
    if device != "cpu" and "torch" in _PROCESS.lost:
        raise ForkError(f"this process was forked, and a model on {device!r} doesn't survive that. {_INSTEAD}")


@contextmanager
def stoppable(asked: Callable[[], bool]) -> Iterator[None]:
    """Work inside that may be stopped: before each call of an engine `asked` says whether it is."""
    token = _STOP.set(asked)
    try:
        yield
    finally:
        _STOP.reset(token)
