"""Whether a store lies where it was made or is a copy, and whether a copy's index and segments belong together.

A copy that was made file by file while the store was written may hold an index of another moment than its segments.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from late_rerank.errors import StoreFormatError
from late_rerank.stores.disk import files, format_file, tables
from late_rerank.stores.disk.index import Index
from late_rerank.stores.disk.segment import MappedSegment, path_of
from late_rerank.stores.disk.tables import Segment
from late_rerank.stores.record import SEAL, checked_header

_LOCK = "LOCK"


@dataclass(frozen=True, slots=True)
class Mark:
    """LOCK's content: which file FORMAT.json was when the store was last found sound.

    A copy has another inode, or another time of change, which no tool can set.

    Attributes:
        inode: Of FORMAT.json.
        changed_ns: Its ctime.
        checked: Whether every record is known to match its checksum, or was written here.
    """

    inode: int
    changed_ns: int
    checked: bool


def read_mark(folder: Path) -> Mark | None:
    """Read LOCK; None where it holds nothing readable, as in stores of earlier versions."""
    with suppress(OSError, ValueError, TypeError):
        return Mark(**json.loads((folder / _LOCK).read_bytes()))
    return None


def write_mark(folder: Path, *, checked: bool) -> None:
    """Note in LOCK that the store belongs where it is, unless nothing can be written. The caller holds the gate."""
    found = _place(folder)
    if found is None:
        return
    raw = json.dumps(asdict(Mark(*found, checked))).encode()
    with suppress(OSError):
        fd = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            os.ftruncate(fd, 0)  # half of it can't be read: the store is looked at once more
            files.write_at(fd, memoryview(raw), 0)
        finally:
            os.close(fd)


def is_copy(folder: Path) -> bool:
    """Whether the store may be a copy: nobody noted that it was made, or found sound, where it is."""
    mark = read_mark(folder)
    return mark is None or (mark.inode, mark.changed_ns) != _place(folder)


def is_checked(folder: Path) -> bool:
    """Whether the records of a store need no look at their checksums."""
    mark = read_mark(folder)
    return mark is not None and mark.checked and not is_copy(folder)


def _place(folder: Path) -> tuple[int, int] | None:
    with suppress(OSError):
        found = (folder / format_file.NAME).stat()
        return found.st_ino, found.st_ctime_ns
    return None


def reasons_torn(folder: Path, opened: Index) -> Iterator[str]:
    """Give the reasons why index and segments don't belong together; none where they do.

    Reads the index, and the end of each segment.

    Args:
        folder: The store's.
        opened: Its index; the caller holds the gate, or nobody can write.

    Raises:
        StoreError: If the index can't be read.
    """
    yield from opened.problems()
    known = opened.segments(with_dead=True)
    ends = opened.ends()
    for segment in known:
        if segment.state != tables.DEAD and segment.size and not is_being_written(folder, segment):
            yield from _segment_reasons(folder, segment, ends.get(segment.id, 0))
    names = {path_of(folder, segment.id).name for segment in known}
    for path in sorted((folder / "segments").glob("*.seg")):
        if path.name not in names and _is_readable(path):
            yield f"the index doesn't know {path.name}"


def _segment_reasons(folder: Path, segment: Segment, end: int) -> Iterator[str]:
    path = path_of(folder, segment.id)
    try:
        mapping = MappedSegment(path)
    except PermissionError:
        return  # its documents count as missing; an index that is made again would need it
    except (OSError, StoreFormatError) as error:
        files.raise_if_exhausted(error)
        yield f"{path.name} can't be read: {error}"
        return
    if end > segment.size:
        yield f"the index points beyond the end that it knows of {path.name}"
    if len(mapping.bytes) < segment.size:
        yield f"{path.name} has {len(mapping.bytes)} bytes of {segment.size}"
        return
    header = checked_header(mapping.bytes, segment.size)
    is_sealed = header is not None and bool(header.flags & SEAL)
    if segment.state in (tables.SEALED, tables.FULL) and not is_sealed:
        yield f"{path.name} doesn't end where the index says"
    elif header is not None and not is_sealed:
        yield f"{path.name} holds documents that the index doesn't know"


def is_being_written(folder: Path, segment: Segment) -> bool:
    """Whether a living writer has the segment, which may have grown since it was looked up."""
    if segment.state != tables.OPEN:
        return False
    try:
        with files.locked(path_of(folder, segment.id)) as fd:
            return fd is None
    except OSError as error:
        files.raise_if_exhausted(error)
        return False


def _is_readable(path: Path) -> bool:
    try:
        return bool(MappedSegment(path).header.size)
    except (OSError, StoreFormatError) as error:
        files.raise_if_exhausted(error)
        return False
