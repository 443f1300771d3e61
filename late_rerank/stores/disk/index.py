"""Where each document lies: an SQLite database beside the segments, made again from them if it is lost.

Writers change it one at a time (the caller holds the gate), readers are never kept waiting. Nothing here reads a segment.
"""

from __future__ import annotations

import shutil
import sqlite3
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock
from typing import Any

from late_rerank.errors import StoreError, StoreFormatError
from late_rerank.stores.disk import frozen
from late_rerank.stores.disk.tables import DEAD, SCHEMA, Row, Segment
from late_rerank.stores.record import TOMBSTONE

NAME = "index.sqlite"
VERSION = 1

_FIND = f"""
SELECT key, segment, offset, n_tokens, flags FROM record
WHERE space = (SELECT id FROM space WHERE name = ?) AND stored_at > ? AND NOT flags & {TOMBSTONE} AND key IN
"""

# SQLite takes 32,766 variables a statement.
_MOST_KEYS = 30_000
# Places remembered, a space: 20 MB.
_MOST_KNOWN = 2**16
_WAL_BYTES = 8 * 2**20
_CACHE_KIB = 64 * 2**10
_BUSY_S = 60.0
_BRIEFLY_S = 1.0

# Segment, offset, n_tokens and flags as four int64: one object to touch instead of five, and a hundred join to an array.
Place = bytes
_PLACE = struct.Struct("=4q")
pack_place = _PLACE.pack
unpack_place = _PLACE.unpack


class DamagedIndexError(StoreFormatError):
    """The index is no index any more; it can be made again from the segments."""


class Index:
    """The database of one store; opened when it is first needed, by one connection that reads and one that writes."""

    def __init__(self, folder: Path, name: str = NAME) -> None:
        self.path = folder / name
        self._reader: sqlite3.Connection | None = None
        self._writer: sqlite3.Connection | None = None
        self._reading = Lock()
        self._opened: tuple[int, int] | None = None  # which file the reader reads
        self._frozen: frozen.Stamp | None = None  # what was true of the files that a reader without a log of its own reads
        self._pinned = False  # to what was there when it was opened
        self._written: tuple[int, int] | None = None  # which file the writer writes
        self._store: str | None = None  # whose index it is
        self._closed = False
        self._is_locked = False  # by a program that isn't ours, when it was last written to
        # How often another file was found where the index is written: numbers of segments mean nothing any more.
        self.n_replaced = 0
        self._remembering = Lock()
        self._forget()

    def _forget(self) -> None:
        self._version = -1  # of the database, when `_known` was right
        self._dead: dict[int, int] = {}  # by segment, then
        self._known: dict[str, dict[bytes, Place]] = {}

    # Reading

    def find(self, space: str, keys: Sequence[bytes], newer_than: int) -> list[Place | None]:
        """Where each of the keys lies, None where it isn't here: one query for those that aren't remembered.

        What was found is remembered until a document is replaced, deleted or moved. SQLite says in 8 us whether anybody
        committed anything; a query takes 150.
        """
        if newer_than >= 0:
            return list(map(self._find(space, keys, newer_than).get, keys))
        version = self._data_version()
        known = self._known_places(space, version)
        places = list(map(known.get, keys))
        if None in places:
            found = self._find(space, [key for key, place in zip(keys, places, strict=True) if place is None], newer_than)
            # What was committed meanwhile may have made the segment that was found: if it goes before we look again, no count
            # of its dead will tell.
            if self._data_version() == version:
                if len(known) + len(found) > _MOST_KNOWN:
                    known.clear()
                known.update(found)
            places = [place or found.get(key) for key, place in zip(keys, places, strict=True)]
        return places

    def _find(self, space: str, keys: Sequence[bytes], newer_than: int) -> dict[bytes, Place]:
        found = {}
        for start in range(0, len(keys), _MOST_KEYS):
            part = keys[start : start + _MOST_KEYS]
            marks = ",".join("?" * len(part))
            rows = self._read(f"{_FIND} ({marks})", (space, newer_than, *part))
            found.update({key: pack_place(segment, offset, n_tokens, flags) for key, segment, offset, n_tokens, flags in rows})
        return found

    def _data_version(self) -> int:
        """Another one whenever another connection has committed."""
        return int(self._read("PRAGMA data_version")[0][0])

    def _known_places(self, space: str, version: int) -> dict[bytes, Place]:
        if version != self._version:
            with self._remembering:
                self._forget_what_changed(version)
        return self._known.setdefault(space, {})

    def _forget_what_changed(self, version: int) -> None:
        # A segment's dead documents only become more, and whatever takes a document from its place leaves one dead there. So
        # places are right as long as no segment has more dead than before; new documents alone, such as misses, change nothing.
        dead = dict(self._read("SELECT id, n_written - n_live FROM segment WHERE state != ?", (DEAD,)))
        # A segment that wasn't there then counts as one without dead: its places may have been found just after.
        if self._dead.keys() - dead.keys() or any(self._dead.get(segment, 0) != n_dead for segment, n_dead in dead.items()):
            self._known = {}  # a new dict: a thread may be looking things up in the old one, which was right when it began
        self._version, self._dead = version, dead

    def sequence(self) -> int:
        """The highest that was committed."""
        rows = self._read("SELECT sequence FROM meta")
        return int(rows[0][0])

    def store_id(self) -> str:
        """Of the store that this index belongs to."""
        rows = self._read("SELECT store FROM meta")
        if not rows:
            raise _damaged(self.path, "it doesn't say whose it is")
        self._store = str(rows[0][0])
        return self._store

    def spaces(self) -> list[tuple[int, str]]:
        """(id, name) of every space, oldest first; a name is `space_json`."""
        return self._read("SELECT id, name FROM space WHERE name IS NOT NULL ORDER BY id")

    def deletable(self, space: str, keys: Sequence[bytes]) -> list[bytes]:
        """Those of the keys of which an undeleted record may lie in a segment, whether it is found or not.

        Segments may hold older documents, replaced by one that was evicted since: if the index is lost, they are found again.
        """
        here: set[bytes] = set()
        deleted: set[bytes] = set()
        for start in range(0, len(keys), _MOST_KEYS):
            part = keys[start : start + _MOST_KEYS]
            sql = f"SELECT key, flags & {TOMBSTONE} FROM record WHERE space = (SELECT id FROM space WHERE name = ?) AND key IN"
            for key, is_deleted in self._read(f"{sql} ({','.join('?' * len(part))})", (space, *part)):
                (deleted if is_deleted else here).add(key)
        number = {name: number for number, name in self.spaces()}.get(space)
        if number is None or self.is_without_dead(number):
            return [key for key in keys if key in here]
        return [key for key in keys if key not in deleted]

    def dropped_spaces(self) -> list[int]:
        """Ids of spaces that nobody finds any more, and whose rows may still be there."""
        return [row[0] for row in self._read("SELECT id FROM space WHERE name IS NULL")]

    def segments(self, *, with_dead: bool = False) -> list[Segment]:
        """Every segment, by id."""
        columns = "id, space, state, size, n_written, newest, n_live, live_bytes"
        where = "" if with_dead else f"WHERE state != '{DEAD}'"
        return [Segment(*row) for row in self._read(f"SELECT {columns} FROM segment {where} ORDER BY id")]

    def has_segment(self, segment_id: int) -> bool:
        """Whether documents may be found in that segment."""
        return bool(self._read("SELECT 1 FROM segment WHERE id = ? AND state != ?", (segment_id, DEAD)))

    def is_without_dead(self, space: int, *, but: int = 0) -> bool:
        """Whether no segment of the space, `but` excepted, holds a document that isn't found: then no tombstone is needed."""
        segments = [segment for segment in self.segments(with_dead=True) if segment.space == space and segment.id != but]
        return all(segment.n_live == segment.n_written and segment.state != DEAD for segment in segments)

    def count(self, space: str) -> int:
        """Documents of a space."""
        sql = "SELECT coalesce(sum(n_live), 0) FROM segment WHERE space = (SELECT id FROM space WHERE name = ?)"
        return int(self._read(sql, (space,))[0][0])

    def totals(self) -> list[tuple[str, int, int, int, int]]:
        """(name, documents, their bytes, bytes of segments, segments) of every space, oldest first."""
        return self._read(
            "SELECT name, coalesce(sum(n_live), 0), coalesce(sum(live_bytes), 0), coalesce(sum(size), 0), count(segment.id) "
            f"FROM space LEFT JOIN segment ON segment.space = space.id AND state != '{DEAD}' "
            "WHERE name IS NOT NULL GROUP BY space.id ORDER BY space.id"
        )

    def ends(self) -> dict[int, int]:
        """By segment, where the last record ends that the index points at."""
        return dict(self._read("SELECT segment, max(offset + size) FROM record GROUP BY segment"))

    def end_of(self, segment_id: int) -> int:
        """Where the last record ends that the index points at in one segment."""
        rows = self._read("SELECT coalesce(max(offset + size), 0) FROM record WHERE segment = ?", (segment_id,))
        return int(rows[0][0])

    def rows(self, segment_id: int) -> list[Row]:
        """Every row that points into a segment, by offset."""
        columns = "key, segment, offset, size, n_tokens, flags, sequence, stored_at"
        return [
            Row(*row) for row in self._read(f"SELECT {columns} FROM record WHERE segment = ? ORDER BY offset", (segment_id,))
        ]

    def problems(self) -> list[str]:
        """What SQLite and the counts say is wrong."""
        wrong = [str(row[0]) for row in self._read("PRAGMA integrity_check(100)") if row[0] != "ok"]
        counted = (
            f"SELECT id FROM segment WHERE n_live != (SELECT count(*) FROM record WHERE segment = segment.id "
            f"AND NOT flags & {TOMBSTONE})"
        )
        return wrong + [f"the count of documents of segment {row[0]} is wrong" for row in self._read(counted)]

    def size_bytes(self) -> int:
        """Of its file, without the log beside it."""
        pages = self._read("PRAGMA page_count")[0][0] * self._read("PRAGMA page_size")[0][0]
        return int(pages)

    @contextmanager
    def unchanging(self) -> Iterator[Index]:
        """The index as it is now, whatever others write meanwhile."""
        snapshot = Index(self.path.parent, self.path.name)
        try:
            snapshot._pinned = True
            snapshot._read("BEGIN")
            snapshot.sequence()  # SQLite takes its snapshot at the first read
            yield snapshot
        finally:
            snapshot.close()

    def copy_to(self, target: sqlite3.Connection) -> None:
        """Write all of it to another, empty database, as this connection sees it."""
        self._read("PRAGMA data_version")
        with self._reading, _as_store_errors(self.path):
            if self._reader is not None:
                self._reader.backup(target)

    def was_replaced(self) -> bool:
        """Whether the file is another one than that which was opened: somebody made the index again."""
        return self._opened is not None and self._identity() != self._opened

    def _read(self, sql: str, values: Sequence[Any] = ()) -> list[Any]:
        with self._reading, _as_store_errors(self.path):
            if self._frozen is not None and not self._pinned and self._frozen != frozen.stamp(self.path):
                self._close_reader()  # somebody can write it after all
            if self._reader is None:
                self._refuse_if_closed()
                self._reader = self._connected_reader()
                self._opened = self._identity()
            return self._reader.execute(sql, values).fetchall()

    def _connected_reader(self) -> sqlite3.Connection:
        try:
            return _connect(self.path, "ro")
        except sqlite3.OperationalError as error:
            if "locked" in str(error) or not self.path.is_file():
                raise
            # SQLite can't make the files beside it that it shares with writers.
            with suppress(OSError, sqlite3.OperationalError):
                uri, self._frozen, scratch = frozen.frozen_uri(self.path)
                try:
                    return _connect(self.path, "ro", uri=uri)
                finally:
                    if scratch is not None:
                        shutil.rmtree(scratch, ignore_errors=True)  # an open file stays readable
            self._frozen = None
            raise

    @property
    def is_frozen(self) -> bool:
        """Whether it is read as it was found, since no file can be made beside it."""
        return self._frozen is not None

    def _close_reader(self) -> None:
        if self._reader is not None:
            self._reader.close()
        self._reader = self._frozen = None
        self._forget()

    def _identity(self) -> tuple[int, int] | None:
        with suppress(FileNotFoundError):
            found = self.path.stat()  # never open(): closing it again would drop SQLite's own locks in this process
            return found.st_dev, found.st_ino
        return None

    # Writing: the caller holds the gate.

    @contextmanager
    def changing(self) -> Iterator[sqlite3.Connection]:
        """One transaction: all of it, on the disk, or nothing.

        Raises:
            StoreError: The disk is full, or failed.
        """
        with _as_store_errors(self.path):
            writer = self._connected_writer()
            try:
                if writer.in_transaction:  # Ctrl-C came on the way into or out of the last one
                    writer.execute("ROLLBACK")
                self._begin(writer)
                yield writer
                writer.execute("COMMIT")
            except BaseException:
                if writer.in_transaction:
                    with suppress(sqlite3.Error):
                        writer.execute("ROLLBACK")
                raise
            if self._wal_bytes() > _WAL_BYTES:
                self.checkpoint()

    def _begin(self, writer: sqlite3.Connection) -> None:
        """Begin a transaction. While another program keeps the index locked, each try but the first waits a second only."""
        try:
            writer.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            self._is_locked = True
            writer.execute(f"PRAGMA busy_timeout = {int(min(_BUSY_S, _BRIEFLY_S) * 1000)}")
            raise
        if self._is_locked:
            self._is_locked = False
            writer.execute(f"PRAGMA busy_timeout = {int(_BUSY_S * 1000)}")

    def _connected_writer(self) -> sqlite3.Connection:
        identity = self._identity()
        if self._writer is not None and identity != self._written:
            # Somebody made the index again: what is written to the old file nobody reads.
            self._writer.close()
            self._writer = None
        if self._writer is None:
            self._refuse_if_closed()
            self._writer = _connect(self.path, "rw", self._store)
            self.n_replaced += self._written not in (None, identity)
            self._written = identity
        return self._writer

    def _refuse_if_closed(self) -> None:
        if self._closed:
            raise StoreError(f"the store {self.path.parent} was closed; open it again")

    def checkpoint(self) -> None:
        """Bring the log into the database, as far as no reader needs it."""
        if self._writer is not None:
            self._writer.execute("PRAGMA busy_timeout = 0")  # a reader in the middle of a query: next time
            try:
                self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            finally:
                self._writer.execute(f"PRAGMA busy_timeout = {int(_BUSY_S * 1000)}")

    def free_pages(self) -> None:
        """Give the pages of what was deleted back to the file system."""
        with _as_store_errors(self.path):
            if self._writer is not None:
                self._writer.executescript("PRAGMA incremental_vacuum")  # execute() would stop after the first page
                self.checkpoint()

    def _wal_bytes(self) -> int:
        with suppress(FileNotFoundError):
            return self.path.with_name(f"{self.path.name}-wal").stat().st_size
        return 0

    # The connections' life

    def reopen(self) -> None:
        """Read from the file that is there now."""
        with self._reading:
            self._close_reader()

    def close(self) -> None:
        """Close both connections. The caller holds the gate: the last one to close brings the log into the database."""
        with self._reading:
            self._closed = True
            self._close()

    def _close(self) -> None:
        self._close_reader()  # first: the last one to close brings the log into the database, which a reader can't
        if self._writer is not None:
            self._writer.close()
        self._writer = None

    def before_fork(self) -> None:
        """Close both connections, and let nobody open one until the fork is done.

        SQLite keeps its files' locks by process: in a child that inherits what the parent knows of them it would take none.
        """
        self._reading.acquire()
        with suppress(sqlite3.Error):
            self._close()

    def after_fork_in_parent(self) -> None:
        """Go on; connections are opened when they are needed."""
        self._reading.release()

    def after_fork_in_child(self) -> None:
        """Go on, with a lock that no thread of the parent's holds."""
        self._reading, self._remembering = Lock(), Lock()


def create(path: Path, store_id: str) -> None:
    """A new, empty index. The caller holds the gate."""
    with _as_store_errors(path):
        connection = sqlite3.connect(path, isolation_level=None)
        try:
            # Before any table: afterwards it would take a VACUUM.
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.executescript(f"BEGIN IMMEDIATE; {SCHEMA} PRAGMA user_version = {VERSION}; COMMIT;")
            connection.execute("INSERT INTO meta VALUES (?, 0)", (store_id,))
        finally:
            connection.close()


def remove(folder: Path, name: str = NAME) -> None:
    """Remove an index and its logs. The caller holds the gate."""
    for suffix in ("", "-wal", "-shm", "-journal"):
        (folder / f"{name}{suffix}").unlink(missing_ok=True)


def _connect(path: Path, mode: str, store_id: str | None = None, *, uri: str | None = None) -> sqlite3.Connection:
    connection = sqlite3.connect(
        uri or f"{path.absolute().as_uri()}?mode={mode}",
        uri=True,
        timeout=_BUSY_S,
        isolation_level=None,  # transactions begin and end where we say
        check_same_thread=False,  # callers take turns
        cached_statements=512,
    )
    try:
        _check_version(connection, path)
        if store_id is not None:
            _check_store(connection, path, store_id)
        connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        if mode == "rw":
            connection.execute("PRAGMA synchronous = FULL")
            # SQLite before 3.51.3 may damage a database if one connection checkpoints while another commits. Ours do either
            # only while they hold the gate, and readers (mode=ro) do neither.
            connection.execute("PRAGMA wal_autocheckpoint = 0")
    except BaseException:
        connection.close()
        raise
    return connection


def _check_version(connection: sqlite3.Connection, path: Path) -> None:
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version == 0:  # what SQLite says of an empty file
        raise _damaged(path, "it is empty")
    if version != VERSION:
        raise StoreFormatError(
            f"{path} is an index of version {version}; this late-rerank reads {VERSION}: install a later one, or make it again "
            f"from the segments: late-rerank store rebuild {path.parent}"
        )


def _check_store(connection: sqlite3.Connection, path: Path, store_id: str) -> None:
    if connection.execute("SELECT store FROM meta").fetchone()[0] != store_id:
        raise StoreError(f"{path.parent} holds another store than the one that was opened there: open it again")


@contextmanager
def _as_store_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        if str(error).startswith("no such"):
            raise _damaged(path, str(error)) from error
        raise StoreError(f"the index {path} can't be used: {error}") from error
    except sqlite3.DatabaseError as error:
        raise _damaged(path, str(error)) from error


def _damaged(path: Path, reason: str) -> DamagedIndexError:
    return DamagedIndexError(
        f"the index {path} is damaged ({reason}); make it again from the segments: late-rerank store rebuild {path.parent}"
    )
