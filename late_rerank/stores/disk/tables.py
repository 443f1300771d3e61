"""The tables of the index, and every change that a transaction makes in them. Questions to them are in lookups.py."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

from late_rerank.stores.record import TOMBSTONE

# States of a segment: OPEN, a writer may hold it; SEALED, it may be gone on with; FULL, never changed again; RECOVERING, its
# writer died and its tail is being cleaned; DEAD, nothing refers to it and its file is to be removed.
OPEN, SEALED, FULL, RECOVERING, DEAD = "open", "sealed", "full", "recovering", "dead"

# Sorts rows by place. A segment only grows at its end, so new rows go to the end of this tree: few pages of it change.
PLACES = "record_place"
# Counts are kept by triggers, so that no statement can forget them. A tombstone is no document.
_COUNT = "UPDATE segment SET n_live = n_live {0} 1, live_bytes = live_bytes {0} {1}.size WHERE id = {1}.segment;"
SCHEMA = f"""
CREATE TABLE meta (store TEXT NOT NULL, sequence INTEGER NOT NULL);
CREATE TABLE space (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT UNIQUE,
    dropped TEXT
);
CREATE TABLE segment (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    space INTEGER NOT NULL,
    state TEXT NOT NULL,
    size INTEGER NOT NULL DEFAULT 0,
    n_written INTEGER NOT NULL DEFAULT 0,
    newest INTEGER NOT NULL DEFAULT 0,
    n_live INTEGER NOT NULL DEFAULT 0,
    live_bytes INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE record (
    space INTEGER NOT NULL,
    key BLOB NOT NULL,
    segment INTEGER NOT NULL,
    offset INTEGER NOT NULL,
    size INTEGER NOT NULL,
    n_tokens INTEGER NOT NULL,
    flags INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    stored_at INTEGER NOT NULL,
    PRIMARY KEY (space, key)
) WITHOUT ROWID;
CREATE INDEX {PLACES} ON record (segment, offset);
CREATE TRIGGER document_came AFTER INSERT ON record WHEN NOT NEW.flags & {TOMBSTONE} BEGIN {_COUNT.format("+", "NEW")} END;
CREATE TRIGGER document_left AFTER DELETE ON record WHEN NOT OLD.flags & {TOMBSTONE} BEGIN {_COUNT.format("-", "OLD")} END;
CREATE TRIGGER document_left_here AFTER UPDATE ON record WHEN NOT OLD.flags & {TOMBSTONE} BEGIN {_COUNT.format("-", "OLD")} END;
CREATE TRIGGER document_came_here AFTER UPDATE ON record WHEN NOT NEW.flags & {TOMBSTONE} BEGIN {_COUNT.format("+", "NEW")} END;
"""

_NEW = """
INSERT OR IGNORE INTO record (space, key, segment, offset, size, n_tokens, flags, sequence, stored_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
# Rows sorted at once; a rebuild brings those of a whole segment.
_ROWS_AT_ONCE = 20_000
# Of two records of one key the later one counts, in the index as in the segments: by sequence, then by place.
_LATER = """
UPDATE record SET segment = ?, offset = ?, size = ?, n_tokens = ?, flags = ?, sequence = ?, stored_at = ?
WHERE space = ? AND key = ? AND (?, ?, ?) > (sequence, segment, offset)
"""


class SegmentGoneError(Exception):
    """The segment that was written to, or the whole space, was dropped meanwhile."""


class ReplacedError(Exception):
    """Some keys don't point any more at the records that were copied.

    Args:
        keys: Of these records.
    """

    def __init__(self, keys: set[bytes]) -> None:
        super().__init__(f"{len(keys)} keys")
        self.keys = keys


@dataclass(frozen=True, slots=True)
class Segment:
    """A segment as the index knows it. `n_written`, `n_live` count documents; `newest` is the latest `stored_at`."""

    id: int
    space: int
    state: str
    size: int
    n_written: int
    newest: int
    n_live: int
    live_bytes: int


class Row(NamedTuple):  # a fifth of the time that a frozen dataclass takes to make
    """Where one document, or its tombstone, lies."""

    key: bytes
    segment: int
    offset: int
    size: int
    n_tokens: int
    flags: int
    sequence: int
    stored_at: int


def space_id(connection: sqlite3.Connection, name: str) -> int:
    """Return the space's id.

    Raises:
        SegmentGoneError: If it was dropped.
    """
    found = connection.execute("SELECT id FROM space WHERE name = ?", (name,)).fetchone()
    if found is None:
        raise SegmentGoneError
    return int(found[0])


def add_space(connection: sqlite3.Connection, name: str) -> int:
    """Return the space's id; make the space if it isn't there."""
    connection.execute("INSERT INTO space (name) VALUES (?) ON CONFLICT DO NOTHING", (name,))
    return space_id(connection, name)


def add_segment(connection: sqlite3.Connection, space: int) -> int:
    """Make a segment. Returns its id, which was never used before."""
    cursor = connection.execute("INSERT INTO segment (space, state) VALUES (?, ?)", (space, OPEN))
    return int(cursor.lastrowid or 0)


def use_up(connection: sqlite3.Connection, segment_ids: Sequence[int]) -> None:
    """Give no new segment one of these numbers, or a lower one: a file that can't be read keeps its number."""
    connection.execute("DELETE FROM sqlite_sequence WHERE name = 'segment'")
    connection.execute("INSERT INTO sqlite_sequence VALUES ('segment', ?)", (max(segment_ids, default=0),))


def add_rows(connection: sqlite3.Connection, space: int, rows: Iterable[Row]) -> None:
    """Point keys at records; a key that has a later record already keeps it.

    Rows are added by key, so that those of one page of the tree come one after the other. Almost all are new. They are
    inserted by a statement that can't fail halfway: an upsert can, so SQLite copies each page before each row.
    """
    left = iter(rows)
    while ordered := sorted(islice(left, _ROWS_AT_ONCE)):
        cursor = connection.executemany(_NEW, ((space, *row) for row in ordered))
        if cursor.rowcount < len(ordered):
            later = ((*row[1:], space, row.key, row.sequence, row.segment, row.offset) for row in ordered)
            connection.executemany(_LATER, later)


def move_rows(connection: sqlite3.Connection, space: int, rows: Sequence[Row], copies: Sequence[Row]) -> None:
    """Point keys at the copies of their records.

    Raises:
        ReplacedError: If somebody put or deleted a document of these keys meanwhile. Roll back, and copy the others only: of
            two records of equal sequence the place decides, so the copy would win once the index is made again.
    """
    update = "UPDATE record SET segment = ?, offset = ? WHERE space = ? AND key = ? AND segment = ? AND offset = ?"
    lost = set()
    for row, copy in zip(rows, copies, strict=True):
        values = (copy.segment, copy.offset, space, row.key, row.segment, row.offset)
        if not connection.execute(update, values).rowcount:
            lost.add(row.key)
    if lost:
        raise ReplacedError(lost)


def grow_segment(connection: sqlite3.Connection, segment_id: int, size: int, n_written: int, newest: int) -> None:
    """Note that a segment was appended to.

    Raises:
        SegmentGoneError: If it was dropped meanwhile.
    """
    cursor = connection.execute(
        "UPDATE segment SET size = ?, n_written = n_written + ?, newest = max(newest, ?) WHERE id = ? AND state = ?",
        (size, n_written, newest, segment_id, OPEN),
    )
    if cursor.rowcount != 1:
        raise SegmentGoneError


def set_state(connection: sqlite3.Connection, segment_id: int, state: str) -> None:
    """Set a segment's state. A dead segment stays dead: its space was dropped while its writer sealed it."""
    connection.execute("UPDATE segment SET state = ? WHERE id = ? AND state != ?", (state, segment_id, DEAD))


def raise_sequence(connection: sqlite3.Connection, sequence: int) -> None:
    """Remember the highest sequence."""
    connection.execute("UPDATE meta SET sequence = max(sequence, ?)", (sequence,))


def make_tables(connection: sqlite3.Connection, store_id: str, version: int) -> None:
    """Make the tables of a new index, in one transaction; `pragmas.set_up` comes first."""
    connection.executescript(f"BEGIN IMMEDIATE; {SCHEMA} PRAGMA user_version = {version}; COMMIT;")
    connection.execute("INSERT INTO meta VALUES (?, 0)", (store_id,))


def sort_by_place(connection: sqlite3.Connection) -> None:
    """Sort the rows of an earlier version's index by place. Earlier versions go on with it as well."""
    connection.execute(f"CREATE INDEX IF NOT EXISTS {PLACES} ON record (segment, offset)")
    connection.execute("DROP INDEX IF EXISTS record_segment")


def enter_segment(connection: sqlite3.Connection, segment_id: int, space: int) -> None:
    """Make a segment of a given number, for a file that is there."""
    connection.execute("INSERT INTO segment (id, space, state) VALUES (?, ?, ?)", (segment_id, space, OPEN))


def forget_segment(connection: sqlite3.Connection, segment_id: int) -> None:
    """Forget a segment's documents; its file is to be removed."""
    connection.execute("DELETE FROM record WHERE segment = ?", (segment_id,))
    set_state(connection, segment_id, DEAD)


def delete_segments(connection: sqlite3.Connection, segment_ids: Sequence[int]) -> None:
    """Delete the rows of segments whose files are gone."""
    connection.executemany("DELETE FROM segment WHERE id = ?", [(segment_id,) for segment_id in segment_ids])


def drop_space(connection: sqlite3.Connection, space: int) -> None:
    """Let nobody find a space's documents any more. Their rows, of which there may be millions, go little by little."""
    connection.execute("UPDATE space SET dropped = name, name = NULL WHERE id = ?", (space,))
    connection.execute("UPDATE segment SET state = ? WHERE space = ?", (DEAD, space))


def delete_some_rows(connection: sqlite3.Connection, space: int, most: int) -> int:
    """Delete at most `most` rows of a dropped space. Returns how many."""
    some = "SELECT key FROM record WHERE space = ? LIMIT ?"
    return connection.execute(f"DELETE FROM record WHERE space = ? AND key IN ({some})", (space, space, most)).rowcount


def delete_space(connection: sqlite3.Connection, space: int) -> None:
    """Delete a dropped space's own row; its other rows are gone."""
    connection.execute("DELETE FROM space WHERE id = ?", (space,))


def forget_tombstones(connection: sqlite3.Connection, space: int) -> None:
    """Delete the rows of a space's tombstones."""
    connection.execute(f"DELETE FROM record WHERE space = ? AND flags & {TOMBSTONE}", (space,))


def keep_segments(connection: sqlite3.Connection, segment_ids: Sequence[int]) -> None:
    """Forget all segments but these, and say that nobody writes any of them: how the index of a copy differs."""
    known = ",".join(map(str, segment_ids)) or "NULL"
    connection.execute(f"DELETE FROM record WHERE segment NOT IN ({known})")
    connection.execute(f"DELETE FROM segment WHERE id NOT IN ({known})")
    connection.execute("DELETE FROM space WHERE name IS NULL AND id NOT IN (SELECT space FROM segment)")
    connection.execute(f"UPDATE segment SET state = '{FULL}' WHERE state != '{SEALED}'")
