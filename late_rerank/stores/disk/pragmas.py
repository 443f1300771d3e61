"""How SQLite's connections behave: settings, transactions, waiting, the log. What the tables hold is in tables.py."""

from __future__ import annotations

import sqlite3

_CACHE_KIB = 64 * 2**10


def set_up(connection: sqlite3.Connection) -> None:
    """Set up a new, empty database, before its first table: later `auto_vacuum` would take a VACUUM."""
    connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
    use_log(connection)
    connection.execute("PRAGMA synchronous = FULL")


def set_up_reader(connection: sqlite3.Connection) -> None:
    """Give a connection its cache."""
    connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")


def set_up_writer(connection: sqlite3.Connection) -> None:
    """Make commits durable, and leave checkpoints to us.

    SQLite before 3.51.3 may damage a database if one connection checkpoints while another commits. Our writers do both only
    while they hold the gate, and readers (mode=ro) do neither.
    """
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA wal_autocheckpoint = 0")


def use_log(connection: sqlite3.Connection) -> None:
    """Write commits to a log beside the database, so that readers don't wait."""
    connection.execute("PRAGMA journal_mode = WAL")


def use_no_log(connection: sqlite3.Connection) -> None:
    """Keep all in the database's own file."""
    connection.execute("PRAGMA journal_mode = DELETE")


def version(connection: sqlite3.Connection) -> int:
    """Return the index's version; SQLite says 0 of an empty file."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def data_version(connection: sqlite3.Connection) -> int:
    """Return a number that changes whenever another connection has committed. It means nothing to any other connection."""
    return int(connection.execute("PRAGMA data_version").fetchone()[0])


def size_bytes(connection: sqlite3.Connection) -> int:
    """Return the size of the database's file, without the log beside it."""
    pages = connection.execute("PRAGMA page_count").fetchone()[0] * connection.execute("PRAGMA page_size").fetchone()[0]
    return int(pages)


def problems(connection: sqlite3.Connection) -> list[str]:
    """List what SQLite finds wrong, at most 100 lines."""
    return [str(row[0]) for row in connection.execute("PRAGMA integrity_check(100)").fetchall() if row[0] != "ok"]


def begin_reading(connection: sqlite3.Connection) -> None:
    """Begin to see the database as it is at the next read."""
    connection.execute("BEGIN")


def begin(connection: sqlite3.Connection) -> None:
    """Begin a transaction that writes; wait for the lock now, not at the first change."""
    connection.execute("BEGIN IMMEDIATE")


def commit(connection: sqlite3.Connection) -> None:
    """Make the transaction's changes durable."""
    connection.execute("COMMIT")


def roll_back(connection: sqlite3.Connection) -> None:
    """Forget the changes of a transaction that goes on; nothing where none does."""
    if connection.in_transaction:
        connection.execute("ROLLBACK")


def wait_at_most(connection: sqlite3.Connection, seconds: float) -> None:
    """Bound how long the connection waits for another program's lock."""
    connection.execute(f"PRAGMA busy_timeout = {int(seconds * 1000)}")


def bring_in_log(connection: sqlite3.Connection) -> None:
    """Bring the log into the database, as far as no reader needs it."""
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def free_pages(connection: sqlite3.Connection) -> None:
    """Give the pages of deleted rows back to the file system."""
    connection.executescript("PRAGMA incremental_vacuum")  # execute() would stop after the first page
