"""Segments -> index: of each key's records the latest counts, tombstones included."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from late_rerank.errors import StoreError, StoreFormatError
from late_rerank.observing.progress import progress_bar
from late_rerank.stores.disk import copies, files, format_file, index, tables
from late_rerank.stores.disk.frozen import unwritable
from late_rerank.stores.disk.rows import row_of
from late_rerank.stores.disk.segment import MappedSegment, number_of, path_of, walk
from late_rerank.stores.folders import folder_at
from late_rerank.stores.record import SEAL, TOMBSTONE, parse_space
from late_rerank.warn import warn_caller

_SCRATCH = f"{index.NAME}.new"


@dataclass(frozen=True, slots=True)
class RebuildReport:
    """What a rebuild found.

    Attributes:
        n_segments: Segments read.
        n_documents: Documents in the new index.
        n_damaged: Places with damaged records; files with damaged headers, or with another number in their header than in
            their name. None of these are in the index.
    """

    n_segments: int
    n_documents: int
    n_damaged: int


def rebuild(folder: str | Path, *, progress: bool = False) -> RebuildReport:
    """Make a store's index again, and its FORMAT.json if need be, from its segments alone.

    Reads every byte; others must not write meanwhile.

    Args:
        folder: The store's.
        progress: Show a bar on stderr, if that is a terminal.

    Raises:
        FileNotFoundError: If there is no store.
        StoreFormatError: If the store is of another kind or version.
        StoreError: If another process is writing to it, or nothing can be written there.
    """
    root = folder_at(folder)
    reason = unwritable(root) if root.is_dir() else None
    if reason:
        raise StoreError(f"{reason}; its index is made again where it can be")
    lacks_format = _lacks_format(root)
    if not lacks_format and format_file.read_format(root)["format"] != format_file.STORE:
        raise StoreFormatError(f"{root} is a published store: it has no index")
    gate = files.Gate(root / "LOCK")
    try:
        with gate.held():
            if lacks_format:
                format_file.write_format(root, format_file.STORE)
            report = rebuild_index(root, progress=progress)
            copies.write_mark(root, checked=True)  # every record was read
            return report
    finally:
        gate.close()


def _lacks_format(folder: Path) -> bool:
    """Whether FORMAT.json is lost or damaged, but segments are there."""
    try:
        format_file.read_format(folder)
    except (FileNotFoundError, format_file.DamagedFormatError):
        if not format_file.has_segments(folder):
            raise
        return True
    return False


def rebuild_index(folder: Path, *, progress: bool = False) -> RebuildReport:
    """Make a store's index again; the caller holds the gate."""
    scratch = folder / _SCRATCH
    index.remove(folder, _SCRATCH)
    index.create(scratch, format_file.read_format(folder)["id"])
    segments = index.Index(folder, _SCRATCH)
    paths = sorted((folder / "segments").glob("*.seg"))
    n_damaged = 0
    try:
        for path in progress_bar(paths, unit=" segments", desc="Reading", progress=progress):
            with files.locked(path) as fd:
                if fd is None:
                    raise StoreError(f"{path} is being written to by another process; stop it first")
                n_damaged += _read_segment(path, segments)
        n_documents = sum(segment.n_live for segment in segments.segments())
        with segments.changing() as changes:
            tables.use_up(changes, [number_of(path) or 0 for path in paths])
        segments.checkpoint()
    finally:
        segments.close()
    index.remove(folder)  # its log too, which would be played into the new one
    scratch.replace(folder / index.NAME)
    files.sync_folder(folder)
    return RebuildReport(len(paths), n_documents, n_damaged)


def _read_segment(path: Path, segments: index.Index) -> int:
    """Enter one segment's records. Returns the number of damaged places."""
    try:
        mapping = _segment(path)
    except StoreFormatError as error:
        warn_caller(f"{error}; it is left out of the index")
        return 1
    scan = _Scan(mapping)
    with segments.changing() as changes:
        space_id = tables.add_space(changes, mapping.header.space)
        tables.enter_segment(changes, mapping.header.id, space_id)
        tables.add_rows(changes, space_id, scan.rows())
        tables.grow_segment(changes, mapping.header.id, scan.end, scan.n_written, scan.newest)
        # Without a seal its writer died: what lies after the last whole record was never committed, and `recover` cleans it.
        tables.set_state(changes, mapping.header.id, tables.FULL if scan.sealed else tables.RECOVERING)
        tables.raise_sequence(changes, scan.sequence)
    return scan.n_damaged


def _segment(path: Path) -> MappedSegment:
    mapping = MappedSegment(path)
    parse_space(mapping.header.space)
    if mapping.header.id != number_of(path):
        # Somebody's copy. Nobody would look for its documents here, and the segment of that number may be there too.
        name = path_of(path.parent.parent, mapping.header.id).name
        raise StoreFormatError(f"{path} says that it is segment {mapping.header.id}, which must be called {name}")
    return mapping


class _Scan:
    """One pass over a segment's records, and the counts that it gathers."""

    def __init__(self, mapping: MappedSegment) -> None:
        self._mapping = mapping
        self.end = mapping.header.size
        self.sealed = False
        self.n_damaged = self.n_written = self.newest = self.sequence = 0

    def rows(self) -> Iterator[tables.Row]:
        damage = 0
        for offset, header in walk(self._mapping.bytes, self.end, len(self._mapping.bytes)):
            if header is None:
                damage += 1  # or the tail of a writer that died, if nothing follows
                continue
            self.n_damaged, damage = self.n_damaged + damage, 0
            if header.flags & SEAL:
                self.end, self.sealed = offset, True
                return
            self.end = offset + header.size
            self.newest, self.sequence = max(self.newest, header.stored_at), max(self.sequence, header.sequence)
            self.n_written += not header.flags & TOMBSTONE
            yield row_of(header, self._mapping.header.id, offset)
