"""Where each document lies: an SQLite database beside the segments, made again from them if it is lost.

Writers change it one at a time (the caller holds the gate) and never keep readers waiting. Nothing here reads a segment.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path

from late_rerank.stores.disk import lookups, pragmas, tables
from late_rerank.stores.disk.connections import VERSION, Reader, Writer
from late_rerank.stores.disk.index_errors import damaged, sqlite_errors_as_store_errors
from late_rerank.stores.disk.internals import USUAL, Internals
from late_rerank.stores.disk.places import Place, PlaceCache
from late_rerank.stores.disk.tables import DEAD, Row, Segment

NAME = "index.sqlite"
# Part of a segment whose rows are asked for at once. The smallest documents take 64 bytes: at most 65,536 rows.
_BYTES_AT_ONCE = 4 * 2**20
_BEYOND = 2**63 - 1


class Index:
    """The database of one store: one connection that reads, one that writes, and the places found last.

    Attributes:
        path: Its file.
        places: Of documents, remembered between queries.
    """

    def __init__(self, folder: Path, name: str = NAME, internals: Internals = USUAL) -> None:
        self.path = folder / name
        self._internals = internals
        self._reader = Reader(self.path, internals)
        self._writer = Writer(self.path, internals)
        self.places = PlaceCache(self._reader)

    # Reading

    def find(self, space: str, keys: Sequence[bytes], newer_than: int) -> list[Place | None]:
        """Find where each key's document lies, None where it isn't here or was stored at `newer_than` or before."""
        if newer_than >= 0:
            return list(map(self.places.look_up(space, keys, newer_than).get, keys))
        return self.places.find(space, keys)

    def sequence(self) -> int:
        """Return the highest committed sequence."""
        return self._reader.ask(lookups.sequence)

    def store_id(self) -> str:
        """Return the id of the store that this index belongs to; from now on only that store's index is written."""
        found = self._reader.ask(lookups.store_id)
        if found is None:
            raise damaged(self.path, "it doesn't say whose it is")
        self._writer.store_id = found
        return found

    def spaces(self) -> list[tuple[int, str]]:
        """List (id, name) of every space, oldest first; a name is `space_json`."""
        return self._reader.ask(lookups.spaces)

    def dropped_spaces(self) -> list[int]:
        """List the ids of dropped spaces whose rows may still be there."""
        return self._reader.ask(lookups.dropped_spaces)

    def deletable(self, space: str, keys: Sequence[bytes]) -> list[bytes]:
        """Choose the keys of which an undeleted record may lie in a segment, whether it is found or not.

        Segments may hold older documents, replaced by one that was evicted since: if the index is lost, they are found again.
        """
        are_tombstones = self._reader.ask(lookups.tombstones_among, space, keys)
        number = {name: number for number, name in self.spaces()}.get(space)
        if number is None or self.is_without_dead(number):
            return [key for key in keys if are_tombstones.get(key) is False]
        return [key for key in keys if not are_tombstones.get(key)]

    def segments(self, *, with_dead: bool = False) -> list[Segment]:
        """List every segment, by id."""
        return self._reader.ask(lookups.segments, with_dead=with_dead)

    def has_segment(self, segment_id: int) -> bool:
        """Whether documents may be found in that segment."""
        return self._reader.ask(lookups.has_segment, segment_id)

    def is_without_dead(self, space: int, *, but: int = 0) -> bool:
        """Whether every document in the space's segments is found, segment `but` aside. Then no tombstone is needed."""
        segments = [segment for segment in self.segments(with_dead=True) if segment.space == space and segment.id != but]
        return all(segment.n_live == segment.n_written and segment.state != DEAD for segment in segments)

    def count(self, space: str) -> int:
        """Count the documents of a space."""
        return self._reader.ask(lookups.count, space)

    def totals(self) -> list[tuple[str, int, int, int, int]]:
        """List (name, documents, their bytes, bytes of segments, segments) of every space, oldest first."""
        return self._reader.ask(lookups.totals)

    def ends(self) -> dict[int, int]:
        """Tell by segment where the last record ends that the index points at."""
        return self._reader.ask(lookups.ends)

    def end_of(self, segment_id: int) -> int:
        """Tell where the last record ends that the index points at in one segment."""
        return self._reader.ask(lookups.end_of, segment_id)

    def rows(self, segment_id: int) -> list[Row]:
        """List every row that points into a segment, by offset."""
        return self._reader.ask(lookups.rows, segment_id)

    def rows_in(self, segment: Segment) -> Iterator[Row]:
        """Give every row that points into a segment, by offset, and asks for some megabytes of the segment at a time.

        Each question sees the index as it is then, unless the index is pinned.
        """
        if not self.has_places():
            yield from self.rows(segment.id)
            return
        for start in range(0, segment.size, _BYTES_AT_ONCE):
            end = min(start + _BYTES_AT_ONCE, segment.size)
            yield from self._reader.ask(lookups.rows_between, segment.id, start, end)
        yield from self._reader.ask(lookups.rows_between, segment.id, segment.size, _BEYOND)  # none, unless it grows or is torn

    def has_places(self) -> bool:
        """Whether rows are sorted by place too. An index of an earlier version is not, until the store is compacted."""
        return self._reader.ask(lookups.has_places)

    def n_tombstones(self) -> int:
        """Count the tombstones of all spaces."""
        return self._reader.ask(lookups.n_tombstones)

    def problems(self) -> list[str]:
        """List what SQLite and the counts say is wrong."""
        miscounted = self._reader.ask(lookups.miscounted)
        counts = [f"the count of documents of segment {segment_id} is wrong" for segment_id in miscounted]
        return self._reader.ask(pragmas.problems) + counts

    def size_bytes(self) -> int:
        """Return the size of its file, without the log beside it."""
        return self._reader.ask(pragmas.size_bytes)

    @contextmanager
    def unchanging(self) -> Iterator[Index]:
        """Give the index as it is now, whatever others write meanwhile."""
        snapshot = Index(self.path.parent, self.path.name, self._internals)
        try:
            snapshot.pin()
            yield snapshot
        finally:
            snapshot.close()

    def pin(self) -> None:
        """See the index as it is now, until it is closed."""
        self._reader.pin()

    def copy_to(self, target: sqlite3.Connection) -> None:
        """Write all of it to another, empty database, as this index sees it."""
        self._reader.ask(lambda connection: connection.backup(target))

    def was_replaced(self) -> bool:
        """Whether the file is another one than the one that is read: somebody made the index again."""
        return self._reader.was_replaced()

    @property
    def is_frozen(self) -> bool:
        """Whether it is read as it was found, since no file can be made beside it."""
        return self._reader.is_frozen

    # Writing: the caller holds the gate.

    @property
    def n_replaced(self) -> int:
        """How often another file was found where the index is written: numbers of segments mean nothing any more."""
        return self._writer.n_replaced

    def changing(self) -> AbstractContextManager[sqlite3.Connection]:
        """Make changes in one transaction: all of them durable, or none.

        Raises:
            StoreError: If the disk is full, or failed.
        """
        return self._writer.changing()

    def checkpoint(self) -> None:
        """Bring the log into the database, as far as no reader needs it."""
        self._writer.checkpoint()

    def free_pages(self) -> None:
        """Give the pages of deleted rows back to the file system."""
        self._writer.free_pages()

    # The connections' life

    def reopen(self) -> None:
        """Read from the file that is there now."""
        self._reader.reopen()

    def close(self) -> None:
        """Close both connections for good. The caller holds the gate, since the last to close brings in the log."""
        self._reader.close()  # first, since a reader can't bring in the log
        self._writer.close()

    def before_fork(self) -> None:
        """Close both connections, and let nobody read until the fork is done; the caller holds the gate, so nobody writes.

        SQLite keeps its files' locks by process: in a child that inherits what the parent knows of them it would take none.
        """
        self._reader.before_fork()
        self._writer.before_fork()

    def after_fork_in_parent(self) -> None:
        """Go on; connections are opened when they are needed."""
        self._reader.after_fork_in_parent()

    def after_fork_in_child(self) -> None:
        """Go on, with locks that no thread of the parent holds."""
        self._reader.after_fork_in_child()
        self.places.after_fork()


def create(path: Path, store_id: str) -> None:
    """Make a new, empty index. The caller holds the gate."""
    with sqlite_errors_as_store_errors(path), closing(sqlite3.connect(path, isolation_level=None)) as connection:
        pragmas.set_up(connection)
        tables.make_tables(connection, store_id, VERSION)


def remove(folder: Path, name: str = NAME) -> None:
    """Remove an index and its logs. The caller holds the gate."""
    for suffix in ("", "-wal", "-shm", "-journal"):
        (folder / f"{name}{suffix}").unlink(missing_ok=True)
