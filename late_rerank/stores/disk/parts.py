"""The open parts of one store: made together, closed together, and brought through forks."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from threading import Lock

from late_rerank.errors import StoreError
from late_rerank.processes import forks
from late_rerank.stores.disk import files
from late_rerank.stores.disk.creation import open_or_create
from late_rerank.stores.disk.frozen import HOW_TO_READ_ONLY, unwritable
from late_rerank.stores.disk.index import Index
from late_rerank.stores.disk.internals import Internals
from late_rerank.stores.disk.mapped import MappedSegments
from late_rerank.stores.disk.writing import Writing
from late_rerank.warn import warn_caller


class Parts:
    """What one DiskStore has open. The only object here that forks and the end of the process know of.

    - Before a fork it waits until no thread holds the gate; then it closes SQLite's connections and the gate's file. SQLite
      keeps its files' locks by process, and a file's lock is shared with a child that inherits the file.
    - In the parent it goes on: connections and file are opened when they are needed.
    - In the child it makes new locks, keeps the mappings, which stay valid, and lets go of the segments, which the parent
      goes on writing to. The child's writers begin segments of their own.
    - `close` does nothing in a process that was forked without Python's notice: files and locks are the parent's.

    Attributes:
        path: The store's folder.
        internals: Sizes, waits and habits.
        gate: Held for every change of the index, over all threads and processes.
        index: Where each document lies.
        writing: The segments that this store appends to.
        mappings: The segments that are mapped into memory.
        write_lock: Held by the thread that writes.
    """

    def __init__(self, path: Path, internals: Internals) -> None:
        self.path = path
        self.internals = internals
        self.gate = files.Gate(path / "LOCK")
        self.index = Index(path, internals=internals)
        self.writing = Writing(path, self.index, self.gate, internals)
        self.mappings = MappedSegments(path)
        self.write_lock = Lock()
        self._process = os.getpid()

    def open(self) -> bool:
        """Open the store, or make it where there is none.

        Returns:
            Whether each record is to be checked when it is first read: the store was copied, and nobody has verified it since.

        Raises:
            ValueError: If the folder holds other files.
            StoreError: If the store can't be opened or made. Nothing stays open.
        """
        try:
            with files.os_errors_as_store_errors(self.path):
                check_first = open_or_create(self.path, self.gate, self.index)
                _tell_unwritable(self.path)
        except BaseException:
            self.index.close()
            self.gate.close()
            raise
        with suppress(StoreError, OSError):  # where it can't be written to, nobody makes the index again either
            # Segments of a process that died while it dropped them: they must not come back with a new index.
            self.writing.remove_dead()
        forks.prepare(self)
        return check_first

    def close(self) -> None:
        """Seal the segments and close all files; also when the store is collected, or the program ends without closing it."""
        if os.getpid() != self._process:
            return
        with suppress(StoreError, OSError):  # the next writer seals what isn't sealed now
            self.writing.seal_all()
        try:
            with suppress(StoreError, OSError), self.gate.held():
                self.index.close()
        finally:
            self.index.close()  # without the gate where there is none: the folder is gone, or can't be written to
            self.gate.close()
            forks.forget(self)

    def before_fork(self) -> None:
        """Wait for the gate, and close what a child must not share."""
        self.gate.before_fork(self.index.before_fork)

    def after_fork_in_parent(self) -> None:
        """Go on."""
        self.index.after_fork_in_parent()
        self.gate.after_fork_in_parent()

    def after_fork_in_child(self) -> None:
        """Go on as a store of its own."""
        self._process = os.getpid()
        self.write_lock = Lock()
        self.gate.after_fork_in_child()
        self.index.after_fork_in_child()
        self.mappings.after_fork()
        self.writing.after_fork()


def _tell_unwritable(path: Path) -> None:
    reason = unwritable(path)
    if reason:
        warn_caller(f"{reason}: it is read, but keeps no new document. {HOW_TO_READ_ONLY.format(path)}")
