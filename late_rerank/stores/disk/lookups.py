"""Questions to the tables of the index. Each takes a connection and gives plain values."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence

from late_rerank.stores.disk.tables import DEAD, PLACES, Row, Segment
from late_rerank.stores.record import TOMBSTONE

# SQLite takes 32,766 variables a statement.
_MOST_KEYS = 30_000


def find(
    connection: sqlite3.Connection, space: str, keys: Sequence[bytes], newer_than: int
) -> list[tuple[bytes, int, int, int, int]]:
    """Find (key, segment, offset, n_tokens, flags) of each document that was stored after `newer_than`, in any order."""
    sql = (
        "SELECT key, segment, offset, n_tokens, flags FROM record "
        f"WHERE space = (SELECT id FROM space WHERE name = ?) AND stored_at > ? AND NOT flags & {TOMBSTONE} AND key IN"
    )
    found = []
    for part in _parts(keys):
        found += connection.execute(f"{sql} ({_marks(part)})", (space, newer_than, *part)).fetchall()
    return found


def tombstones_among(connection: sqlite3.Connection, space: str, keys: Sequence[bytes]) -> dict[bytes, bool]:
    """Tell of each key that has a row whether that row is a tombstone."""
    sql = f"SELECT key, flags & {TOMBSTONE} FROM record WHERE space = (SELECT id FROM space WHERE name = ?) AND key IN"
    found = {}
    for part in _parts(keys):
        rows = connection.execute(f"{sql} ({_marks(part)})", (space, *part))
        found.update({key: bool(flag) for key, flag in rows})
    return found


def store_id(connection: sqlite3.Connection) -> str | None:
    """Return the id of the store that the index belongs to; None if it doesn't say so."""
    row = connection.execute("SELECT store FROM meta").fetchone()
    return None if row is None else str(row[0])


def sequence(connection: sqlite3.Connection) -> int:
    """Return the highest committed sequence."""
    return int(connection.execute("SELECT sequence FROM meta").fetchone()[0])


def spaces(connection: sqlite3.Connection) -> list[tuple[int, str]]:
    """List (id, name) of every space, oldest first; a name is `space_json`."""
    return connection.execute("SELECT id, name FROM space WHERE name IS NOT NULL ORDER BY id").fetchall()


def dropped_spaces(connection: sqlite3.Connection) -> list[int]:
    """List the ids of dropped spaces whose rows may still be there."""
    return [row[0] for row in connection.execute("SELECT id FROM space WHERE name IS NULL").fetchall()]


def segments(connection: sqlite3.Connection, *, with_dead: bool = False) -> list[Segment]:
    """List every segment, by id."""
    columns = "id, space, state, size, n_written, newest, n_live, live_bytes"
    where = "" if with_dead else f"WHERE state != '{DEAD}'"
    return [Segment(*row) for row in connection.execute(f"SELECT {columns} FROM segment {where} ORDER BY id").fetchall()]


def has_segment(connection: sqlite3.Connection, segment_id: int) -> bool:
    """Whether documents may be found in that segment."""
    return connection.execute("SELECT 1 FROM segment WHERE id = ? AND state != ?", (segment_id, DEAD)).fetchone() is not None


def dead_counts(connection: sqlite3.Connection) -> dict[int, int]:
    """Count each segment's documents that aren't found any more, by segment."""
    return dict(connection.execute("SELECT id, n_written - n_live FROM segment WHERE state != ?", (DEAD,)).fetchall())


def count(connection: sqlite3.Connection, space: str) -> int:
    """Count the documents of a space."""
    sql = "SELECT coalesce(sum(n_live), 0) FROM segment WHERE space = (SELECT id FROM space WHERE name = ?)"
    return int(connection.execute(sql, (space,)).fetchone()[0])


def totals(connection: sqlite3.Connection) -> list[tuple[str, int, int, int, int]]:
    """List (name, documents, their bytes, bytes of segments, segments) of every space, oldest first."""
    return connection.execute(
        "SELECT name, coalesce(sum(n_live), 0), coalesce(sum(live_bytes), 0), coalesce(sum(size), 0), count(segment.id) "
        f"FROM space LEFT JOIN segment ON segment.space = space.id AND state != '{DEAD}' "
        "WHERE name IS NOT NULL GROUP BY space.id ORDER BY space.id"
    ).fetchall()


def ends(connection: sqlite3.Connection) -> dict[int, int]:
    """Tell by segment where the last record ends that the index points at; a segment without records is left out."""
    return dict(connection.execute("SELECT segment, max(offset + size) FROM record GROUP BY segment").fetchall())


def end_of(connection: sqlite3.Connection, segment_id: int) -> int:
    """Tell where the last record ends that the index points at in one segment; 0 if there is none."""
    sql = "SELECT coalesce(max(offset + size), 0) FROM record WHERE segment = ?"
    return int(connection.execute(sql, (segment_id,)).fetchone()[0])


def rows(connection: sqlite3.Connection, segment_id: int) -> list[Row]:
    """List every row that points into a segment, by offset."""
    sql = f"SELECT {', '.join(Row._fields)} FROM record WHERE segment = ? ORDER BY offset"
    return [Row(*row) for row in connection.execute(sql, (segment_id,)).fetchall()]


def rows_between(connection: sqlite3.Connection, segment_id: int, start: int, end: int) -> list[Row]:
    """List the rows that point into a part of a segment, by offset."""
    sql = f"SELECT {', '.join(Row._fields)} FROM record WHERE segment = ? AND offset >= ? AND offset < ? ORDER BY offset"
    return [Row(*row) for row in connection.execute(sql, (segment_id, start, end)).fetchall()]


def has_places(connection: sqlite3.Connection) -> bool:
    """Whether rows are sorted by place too."""
    sql = "SELECT 1 FROM sqlite_master WHERE type = 'index' AND name = ?"
    return connection.execute(sql, (PLACES,)).fetchone() is not None


def n_tombstones(connection: sqlite3.Connection) -> int:
    """Count the tombstones of all spaces."""
    return int(connection.execute(f"SELECT count(*) FROM record WHERE flags & {TOMBSTONE}").fetchone()[0])


def miscounted(connection: sqlite3.Connection) -> list[int]:
    """List the segments whose count of documents is wrong."""
    counted = f"SELECT count(*) FROM record WHERE segment = segment.id AND NOT flags & {TOMBSTONE}"
    return [row[0] for row in connection.execute(f"SELECT id FROM segment WHERE n_live != ({counted})").fetchall()]


def _parts(keys: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    return (keys[start : start + _MOST_KEYS] for start in range(0, len(keys), _MOST_KEYS))


def _marks(values: Sequence[object]) -> str:
    return ",".join("?" * len(values))
