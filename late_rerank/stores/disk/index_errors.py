"""Errors of the index: what SQLite says -> a StoreError that names the file and says what to do."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from late_rerank.errors import StoreError, StoreFormatError


class DamagedIndexError(StoreFormatError):
    """The file is no index any more; it can be made again from the segments."""


def refuse_if_closed(path: Path, *, is_closed: bool) -> None:
    """Raise a StoreError if the index at `path` was closed."""
    if is_closed:
        raise StoreError(f"the store {path.parent} was closed; open it again")


def damaged(path: Path, reason: str) -> DamagedIndexError:
    """Return the error that says why the index at `path` is damaged, and how to mend it."""
    return DamagedIndexError(
        f"the index {path} is damaged ({reason}); make it again from the segments: late-rerank store rebuild {path.parent}"
    )


@contextmanager
def sqlite_errors_as_store_errors(path: Path) -> Iterator[None]:
    """Turn SQLite's errors about the index at `path` into StoreErrors that name it, and say what to do."""
    try:
        yield
    except sqlite3.OperationalError as error:
        if str(error).startswith("no such"):
            raise damaged(path, str(error)) from error
        raise StoreError(f"the index {path} can't be used: {error}") from error
    except sqlite3.DatabaseError as error:
        raise damaged(path, str(error)) from error
