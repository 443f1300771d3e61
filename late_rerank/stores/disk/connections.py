"""The two connections to a store's index: one that reads, one that writes. Both are opened when they are first needed."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock
from typing import Concatenate, ParamSpec, TypeVar

from late_rerank.errors import StoreError, StoreFormatError
from late_rerank.stores.disk import frozen, lookups, pragmas
from late_rerank.stores.disk.index_errors import damaged, refuse_if_closed, sqlite_errors_as_store_errors
from late_rerank.stores.disk.internals import Internals

VERSION = 1
# How long each further try waits while another program keeps the index locked.
_BRIEFLY_S = 1.0
# How many times `log_bytes` the log of a large index may take: 64 MB.
_MOST_LOGS = 8

_P = ParamSpec("_P")
_T = TypeVar("_T")
# Device and inode.
_Identity = tuple[int, int]


class Reader:
    """The connection that reads. Safe to share between threads, which take turns.

    Where no file can be made beside the index it reads the index as it was found ("frozen"), and again after each change.
    """

    def __init__(self, path: Path, internals: Internals) -> None:
        self._path = path
        self._internals = internals
        self._lock = Lock()
        self._connection: sqlite3.Connection | None = None
        self._n_opened = 0
        self._opened: _Identity | None = None  # the file that the connection reads
        self._frozen: frozen.Stamp | None = None  # what was true of a frozen index's files
        self._is_pinned = False
        self._is_closed = False

    def ask(self, question: Callable[Concatenate[sqlite3.Connection, _P], _T], *values: _P.args, **named: _P.kwargs) -> _T:
        """Put a question of lookups.py or pragmas.py to the index.

        Raises:
            DamagedIndexError: If the file is no index.
            StoreError: If the index can't be read, or was closed.
        """
        with self._lock, sqlite_errors_as_store_errors(self._path):
            return question(self._connected(), *values, **named)

    def version(self) -> tuple[int, int]:
        """Return (connection, commits): the first changes with each connection that is opened, the second with each commit."""
        with self._lock, sqlite_errors_as_store_errors(self._path):
            connection = self._connected()
            return self._n_opened, pragmas.data_version(connection)

    def pin(self) -> None:
        """See the index as it is now, until this reader is closed."""
        self._is_pinned = True
        self.ask(pragmas.begin_reading)
        self.ask(lookups.sequence)  # SQLite takes its snapshot at the first read

    def was_replaced(self) -> bool:
        """Whether the file is another one than the connection reads: somebody made the index again."""
        return self._opened is not None and identity_of(self._path) != self._opened

    @property
    def is_frozen(self) -> bool:
        """Whether the index is read as it was found, since no file can be made beside it."""
        return self._frozen is not None

    def reopen(self) -> None:
        """Read from the file that is there now."""
        with self._lock:
            self._close()

    def close(self) -> None:
        """Close the connection for good."""
        with self._lock:
            self._is_closed = True
            self._close()

    def before_fork(self) -> None:
        """Close the connection, and let nobody open one until the fork is done."""
        self._lock.acquire()
        with suppress(sqlite3.Error):
            self._close()

    def after_fork_in_parent(self) -> None:
        """Go on."""
        self._lock.release()

    def after_fork_in_child(self) -> None:
        """Go on, with a lock that no thread of the parent holds."""
        self._lock = Lock()

    def _connected(self) -> sqlite3.Connection:
        if self._frozen is not None and not self._is_pinned and self._frozen != frozen.stamp(self._path):
            self._close()  # somebody can write it after all
        if self._connection is None:
            refuse_if_closed(self._path, is_closed=self._is_closed)
            self._connection = self._connect()
            self._n_opened += 1
            self._opened = identity_of(self._path)
        return self._connection

    def _connect(self) -> sqlite3.Connection:
        try:
            return connect(self._path, "ro", self._internals.busy_s)
        except sqlite3.OperationalError as error:
            if "locked" in str(error) or not self._path.is_file():
                raise
            # SQLite can't make the files beside the index that it shares with writers.
            with suppress(OSError, sqlite3.OperationalError):
                uri, self._frozen, scratch = frozen.frozen_uri(self._path)
                try:
                    return connect(self._path, "ro", self._internals.busy_s, uri=uri)
                finally:
                    if scratch is not None:
                        shutil.rmtree(scratch, ignore_errors=True)  # an open file stays readable
            self._frozen = None
            raise

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = self._frozen = None


class Writer:
    """The connection that writes. The caller holds the gate.

    Attributes:
        store_id: Of the store that the index must belong to; None to take any.
        n_replaced: How often another file was found where the index is written: numbers of segments mean nothing any more.
    """

    def __init__(self, path: Path, internals: Internals) -> None:
        self._path = path
        self._internals = internals
        self._connection: sqlite3.Connection | None = None
        self._written: _Identity | None = None  # the file that the connection writes
        self._was_locked = False  # by a program that isn't ours, when it was last written to
        self._is_closed = False
        self.store_id: str | None = None
        self.n_replaced = 0

    @contextmanager
    def changing(self) -> Iterator[sqlite3.Connection]:
        """Make changes in one transaction: all of them durable, or none.

        Raises:
            StoreError: If the disk is full, or failed.
        """
        with sqlite_errors_as_store_errors(self._path):
            connection = self._connected()
            try:
                pragmas.roll_back(connection)  # Ctrl-C may have come on the way into or out of the last transaction
                self._begin(connection)
                yield connection
                pragmas.commit(connection)
            except BaseException:
                with suppress(sqlite3.Error):
                    pragmas.roll_back(connection)
                raise
            if self._log_bytes() > self._most_log_bytes(connection):
                self.checkpoint()

    def checkpoint(self) -> None:
        """Bring the log into the database, as far as no reader needs it."""
        if self._connection is not None:
            pragmas.wait_at_most(self._connection, 0)  # a reader may be in the middle of a query: next time
            try:
                pragmas.bring_in_log(self._connection)
            finally:
                pragmas.wait_at_most(self._connection, self._internals.busy_s)

    def free_pages(self) -> None:
        """Give the pages of deleted rows back to the file system."""
        with sqlite_errors_as_store_errors(self._path):
            if self._connection is not None:
                pragmas.free_pages(self._connection)
                self.checkpoint()

    def close(self) -> None:
        """Close the connection for good."""
        self._is_closed = True
        self._close()

    def before_fork(self) -> None:
        """Close the connection; the next change opens another."""
        with suppress(sqlite3.Error):
            self._close()

    def _begin(self, connection: sqlite3.Connection) -> None:
        """Begin a transaction. While another program keeps the index locked, each try but the first waits a second only."""
        try:
            pragmas.begin(connection)
        except sqlite3.OperationalError:
            self._was_locked = True
            pragmas.wait_at_most(connection, min(self._internals.busy_s, _BRIEFLY_S))
            raise
        if self._was_locked:
            self._was_locked = False
            pragmas.wait_at_most(connection, self._internals.busy_s)

    def _connected(self) -> sqlite3.Connection:
        identity = identity_of(self._path)
        if self._connection is not None and identity != self._written:
            # Somebody made the index again: nobody reads what is written to the old file.
            self._close()
        if self._connection is None:
            refuse_if_closed(self._path, is_closed=self._is_closed)
            self._connection = connect(self._path, "rw", self._internals.busy_s, store_id=self.store_id)
            self.n_replaced += self._written not in (None, identity)
            self._written = identity
        return self._connection

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def _most_log_bytes(self, connection: sqlite3.Connection) -> int:
        """Tell from which size on the log is brought in: half of the index, within bounds.

        The larger the index, the more pages a commit changes. A page that is in the log several times is written back once.
        """
        least = self._internals.log_bytes
        return min(max(least, pragmas.size_bytes(connection) // 2), _MOST_LOGS * least)

    def _log_bytes(self) -> int:
        with suppress(FileNotFoundError):
            return self._path.with_name(f"{self._path.name}-wal").stat().st_size
        return 0


def connect(path: Path, mode: str, busy_s: float, *, store_id: str | None = None, uri: str | None = None) -> sqlite3.Connection:
    """Open the index at `path`, or at `uri` in its place, to read ("ro") or to write ("rw").

    Raises:
        StoreFormatError: If it is empty, or of another version.
        StoreError: If it isn't the index of the store `store_id`.
        sqlite3.Error: If SQLite can't open it.
    """
    connection = sqlite3.connect(
        uri or f"{path.absolute().as_uri()}?mode={mode}",
        uri=True,
        timeout=busy_s,
        isolation_level=None,  # transactions begin and end where we say
        check_same_thread=False,  # callers take turns
        cached_statements=512,
    )
    try:
        _check_version(connection, path)
        if store_id is not None and lookups.store_id(connection) != store_id:
            raise StoreError(f"{path.parent} holds another store than the one that was opened there: open it again")  # noqa: TRY301
        pragmas.set_up_reader(connection)
        if mode == "rw":
            pragmas.set_up_writer(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def identity_of(path: Path) -> _Identity | None:
    """Tell which file lies at `path`; None where there is none."""
    with suppress(FileNotFoundError):
        status = path.stat()  # never open(): closing it again would drop SQLite's own locks in this process
        return status.st_dev, status.st_ino
    return None


def _check_version(connection: sqlite3.Connection, path: Path) -> None:
    version = pragmas.version(connection)
    if version == 0:
        raise damaged(path, "it is empty")
    if version != VERSION:
        raise StoreFormatError(
            f"{path} is an index of version {version}; this late-rerank reads {VERSION}: install a later one, or make it again "
            f"from the segments: late-rerank store rebuild {path.parent}"
        )
