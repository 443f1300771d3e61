"""Reads every byte of a store and says what is wrong. Changes nothing, and keeps nobody waiting."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from late_rerank.errors import StoreFormatError
from late_rerank.observing.progress import progress_bar
from late_rerank.stores.disk import index, tables
from late_rerank.stores.disk.copies import is_being_written
from late_rerank.stores.disk.files import raise_if_exhausted
from late_rerank.stores.disk.index import Index
from late_rerank.stores.disk.rows import row_of
from late_rerank.stores.disk.segment import MappedSegment, number_of, path_of, walk
from late_rerank.stores.disk.tables import Row, Segment
from late_rerank.stores.record import SEAL, TOMBSTONE, checked_header

_TRIES = 5


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that isn't as it was stored.

    Attributes:
        where: File, and byte if that is known.
        reason: What is wrong.
        remedy: How to mend it: "rebuild" the index, "compact" the store, or "remove" the file from the folder; "" where a
            published store must be published again.
    """

    where: str
    reason: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """Counts of a verification, and what it found wrong.

    Attributes:
        n_segments: Segments that were read.
        n_records: Undamaged records in the segments. Replaced and deleted documents count too.
        n_documents: Undamaged documents that the index finds.
        problems: Empty if all is well.
    """

    n_segments: int
    n_records: int
    n_documents: int
    problems: list[Problem] = field(default_factory=list)


def verify(folder: Path, opened: Index, *, progress: bool = False) -> VerifyReport:
    """Compare each record with its checksum, and the index with the records."""
    problems = [Problem(index.NAME, reason, "rebuild") for reason in opened.problems()]
    segments = opened.segments()
    spaces = dict(opened.spaces())  # after the segments, or those of a space that is made just now would have none
    n_records = n_documents = 0
    for segment in progress_bar(segments, unit=" segments", desc="Reading", progress=progress):
        check, found = _check(folder, opened, segment, spaces)
        problems += found
        n_records += check.n_records
        n_documents += check.n_documents
    problems += [
        Problem(path.name, "no segment of the index: a leftover, or the index is older than it", remedy)
        for path, remedy in _strangers(folder, opened)
    ]
    return VerifyReport(len(segments), n_records, n_documents, problems)


def _check(folder: Path, opened: Index, segment: Segment, spaces: dict[int, str]) -> tuple[_SegmentCheck, list[Problem]]:
    """Check a segment; again if somebody changed it meanwhile, since the problem may then be none."""
    for _ in range(_TRIES):
        check = _SegmentCheck(folder, segment, spaces.get(segment.space), opened.rows_in(segment))
        found = list(check.problems())
        if not found:
            return check, []
        current = {now.id: now for now in opened.segments()}.get(segment.id)
        if current is None:
            return check, []  # compacted or evicted
        if current == segment:
            break
        segment = current
    return check, found


class _SegmentCheck:
    """One pass over a segment, its rows of the index beside it: both are sorted by offset, and neither is held in memory."""

    def __init__(self, folder: Path, segment: Segment, space: str | None, rows: Iterator[Row]) -> None:
        self._path = path_of(folder, segment.id)
        self._segment = segment
        self._space = space
        may_grow = is_being_written(folder, segment)
        self._rows = _Ahead(row for row in rows if row.offset < segment.size or not may_grow)
        self.n_records = 0
        self.n_documents = 0

    def problems(self) -> Iterator[Problem]:
        """Give the problems of this segment, and count its records."""
        if not self._segment.size:
            return  # its writer is making the file; if it died, the next one removes what there is
        try:
            mapping = MappedSegment(self._path)
        except (OSError, StoreFormatError) as error:
            raise_if_exhausted(error)
            yield Problem(self._path.name, str(error), "compact")
            return
        header = mapping.header
        if (header.id, header.space) != (self._segment.id, self._space):
            said = f"its header says segment {header.id} of {header.space}, the index {self._space}"
            yield Problem(self._path.name, said, "rebuild")
        if len(mapping.bytes) < self._segment.size:
            yield Problem(self._path.name, f"has {len(mapping.bytes)} bytes of {self._segment.size}", "compact")
        yield from self._record_problems(mapping)
        yield from self._lost(self._rows.before(None))
        if self._segment.state in (tables.SEALED, tables.FULL):
            seal = checked_header(mapping.bytes, self._segment.size)
            if seal is None or not seal.flags & SEAL or any(seal.key):
                yield self._at(self._segment.size, "the seal is damaged or missing")

    def _record_problems(self, mapping: MappedSegment) -> Iterator[Problem]:
        for offset, header in walk(mapping.bytes, mapping.header.size, min(self._segment.size, len(mapping.bytes))):
            if header is None:
                yield self._at(offset, "damaged from here: the checksum doesn't match, or no record begins here")
                continue
            self.n_records += 1
            yield from self._lost(self._rows.before(offset))
            row = self._rows.at(offset)
            if row is None:
                continue  # replaced, deleted or never found
            if row != row_of(header, self._segment.id, offset):
                yield self._at(offset, f"the index says {row}, the record {header}", "rebuild")
            elif not header.flags & TOMBSTONE:
                self.n_documents += 1

    def _lost(self, rows: Iterator[Row]) -> Iterator[Problem]:
        for row in rows:
            is_beyond = row.offset >= self._segment.size
            said = f"the index finds {row.key.hex()} here, but no such record is whole"
            yield self._at(row.offset, said, "rebuild" if is_beyond else "compact")

    def _at(self, offset: int, reason: str, remedy: str = "compact") -> Problem:
        return Problem(f"{self._path.name} at byte {offset}", reason, remedy)


class _Ahead:
    """Rows by offset, of which the next is known before it is taken."""

    def __init__(self, rows: Iterator[Row]) -> None:
        self._rows = rows
        self._next = next(rows, None)

    def before(self, offset: int | None) -> Iterator[Row]:
        """Take the rows that lie before an offset; all that are left if it is None."""
        while self._next is not None and (offset is None or self._next.offset < offset):
            yield self._take(self._next)

    def at(self, offset: int) -> Row | None:
        """Take the row of this offset, if there is one. The rows before it were taken."""
        return self._take(self._next) if self._next is not None and self._next.offset == offset else None

    def _take(self, row: Row) -> Row:
        self._next = next(self._rows, None)
        return row


def _strangers(folder: Path, opened: Index) -> list[tuple[Path, str]]:
    """List the files that are no segment of the index, and what to do about each."""
    paths = sorted((folder / "segments").iterdir())
    known = {path_of(folder, segment.id).name for segment in opened.segments(with_dead=True)}
    unknown = [path for path in paths if path.name not in known]
    return [(path, "rebuild" if _is_segment(path) else "remove") for path in unknown if path.exists()]


def _is_segment(path: Path) -> bool:
    try:
        return MappedSegment(path).header.id == number_of(path)
    except (OSError, StoreFormatError) as error:
        raise_if_exhausted(error)
        return False
