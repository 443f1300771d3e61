"""An index that is only read: where SQLite can make no file beside it, on a read-only disk, say, or a full one."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from contextlib import closing, suppress
from pathlib import Path

from late_rerank.stores.disk import pragmas

_TRIES = 5
HOW_TO_READ_ONLY = (
    "Write to it where that is possible. `late-rerank store publish {} OUT` makes the form for disks that only read"
)

# Which files the index consisted of, and when they changed.
Stamp = tuple[tuple[int, int, int] | None, tuple[int, int, int] | None]


def unwritable(folder: Path) -> str | None:
    """Say why nothing can be written to a store's folder; None where it can be."""
    for place in (folder, folder / "segments"):
        if os.access(place, os.W_OK | os.X_OK):
            continue
        if not place.is_dir():
            return f"the store {folder} is gone: {place} isn't there any more, and is not made again"
        if os.statvfs(place).f_flag & os.ST_RDONLY:
            return f"the store {folder} is on a read-only file system"
        return f"the store {folder} can't be written to: this user has no right to"
    return None


def stamp(path: Path) -> Stamp:
    """Return a value that changes whenever anybody commits to the index, or checkpoints it."""
    return _stamp_of(str(path)), _stamp_of(f"{path}-wal")


def _stamp_of(path: str) -> tuple[int, int, int] | None:
    with suppress(OSError):
        status = os.stat(path)  # noqa: PTH116 - a third of a Path's time, and each query asks
        return status.st_ino, status.st_size, status.st_mtime_ns
    return None


def frozen_uri(path: Path) -> tuple[str, Stamp, Path | None]:
    """Tell where the index can be read without making a file beside it.

    SQLite's `immutable` passes over the log beside an index. So an index that has one is copied, and the log brought into the
    copy. Some process may write the store all the same, on another mount: it is copied again until nothing changed meanwhile.

    Returns:
        A URI for SQLite, what was true of the files, and a scratch folder that the caller removes once it has the URI open.

    Raises:
        sqlite3.Error: If the index can't be read.
        OSError: If the scratch folder can't be written.
    """
    for _ in range(_TRIES):
        before = stamp(path)
        log = before[1]
        if log is None or not log[1]:
            return f"{path.absolute().as_uri()}?mode=ro&immutable=1", before, None
        scratch = Path(tempfile.mkdtemp(prefix="late-rerank-"))
        try:
            copy = _copied(path, scratch)
        except BaseException:
            shutil.rmtree(scratch, ignore_errors=True)
            raise
        if stamp(path) == before:
            return f"{copy.as_uri()}?mode=ro&immutable=1", before, scratch
        shutil.rmtree(scratch, ignore_errors=True)
    raise sqlite3.OperationalError("the index changes while it is copied")


def _copied(path: Path, scratch: Path) -> Path:
    copy = scratch / path.name
    shutil.copyfile(path, copy)
    with suppress(FileNotFoundError):
        shutil.copyfile(f"{path}-wal", f"{copy}-wal")
    with closing(sqlite3.connect(copy, isolation_level=None)) as connection:
        pragmas.bring_in_log(connection)
        pragmas.use_no_log(connection)
    return copy
