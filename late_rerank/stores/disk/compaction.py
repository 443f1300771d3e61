"""Rewrites segments that hold much that is dead. Readers and writers go on meanwhile."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from late_rerank.errors import StoreFormatError
from late_rerank.observing.progress import progress_bar
from late_rerank.stores.disk import files, tables
from late_rerank.stores.disk.parts import Parts
from late_rerank.stores.disk.rows import row_of, rows_of
from late_rerank.stores.disk.segment import MappedSegment, SegmentWriter, path_of, walk
from late_rerank.stores.disk.tables import ReplacedError, Row, Segment, SegmentGoneError
from late_rerank.stores.record import SEAL, TOMBSTONE, Records, checked_header

_CHUNK_BYTES = 16 * 2**20


@dataclass(frozen=True, slots=True)
class CompactReport:
    """Counts of a compaction, before and after.

    Attributes:
        n_segments_before, n_segments_after: Segment files.
        size_bytes_before, size_bytes_after: Bytes of these files.
        n_damaged: Documents that were left out because their records are damaged.
        n_expired: Documents that were left out because their time to live is over.
    """

    n_segments_before: int
    n_segments_after: int
    size_bytes_before: int
    size_bytes_after: int
    n_damaged: int
    n_expired: int


class Compaction:
    """One compaction. The caller holds the write lock."""

    def __init__(self, parts: Parts) -> None:
        self._folder = parts.path
        self._index = parts.index
        self._gate = parts.gate
        self._writing = parts.writing
        self._segment_bytes = parts.internals.segment_bytes
        self._small_bytes = parts.internals.join_below * self._segment_bytes
        # Documents and tombstones go to segments of their own: if no tombstone is needed in the end, theirs are just removed.
        self._targets: dict[bool, SegmentWriter] = {}
        self._tombstones: list[Segment] = []
        self._n_damaged = 0
        self._n_expired = 0

    def run(self, *, min_live: float, newer_than: int, progress: bool) -> CompactReport:
        """Compact every space."""
        before = self._index.segments()
        for space_id, space in self._index.spaces():
            mine = [
                segment for segment in before if segment.space == space_id and segment.state in (tables.SEALED, tables.FULL)
            ]
            chosen = self._choose(mine, min_live, newer_than, progress=progress)
            try:
                for segment in progress_bar(chosen, unit=" segments", desc="Compacting", progress=progress):
                    self._rewrite(segment, space, newer_than)
            except SegmentGoneError:  # another process dropped the space, or replaced the store
                self._let_go()
                continue
            finally:
                for are_tombstones in list(self._targets):
                    self._finish_target(are_tombstones)
            self._drop_tombstones(space_id)
        after = self._index.segments()
        sizes = [sum(segment.size for segment in segments) for segments in (before, after)]
        return CompactReport(len(before), len(after), sizes[0], sizes[1], self._n_damaged, self._n_expired)

    def _choose(self, segments: list[Segment], min_live: float, newer_than: int, *, progress: bool) -> list[Segment]:
        small = {segment.id for segment in segments if segment.size < self._small_bytes}
        chosen = []
        for segment in progress_bar(segments, unit=" segments", desc="Reading", progress=progress):
            wasteful = segment.live_bytes < min_live * (segment.size - 4096)
            if wasteful or (len(small) > 1 and segment.id in small) or self._is_touched(segment, newer_than):
                chosen.append(segment)
        return chosen

    def _is_touched(self, segment: Segment, newer_than: int) -> bool:
        """Whether one of its documents has expired, or anything in it is damaged: dead records and the seal included."""
        rows = self._index.rows(segment.id)
        if any(row.stored_at <= newer_than for row in rows):
            return True
        mapping = self._map(segment)
        if mapping is None or len(mapping.bytes) < segment.size or not _is_sealed(mapping, segment):
            return True
        found = {}
        for offset, header in walk(mapping.bytes, mapping.header.size, segment.size):
            if header is None:
                return True
            found[offset] = header
        return any(row.offset not in found or row_of(found[row.offset], segment.id, row.offset) != row for row in rows)

    def _map(self, segment: Segment) -> MappedSegment | None:
        try:
            return MappedSegment(path_of(self._folder, segment.id))
        except (FileNotFoundError, StoreFormatError):
            return None

    def _rewrite(self, segment: Segment, space: str, newer_than: int) -> None:
        """Copy the living documents, then retire the segment. A crash in between leaves both; the index says which counts."""
        path = path_of(self._folder, segment.id)
        with suppress(FileNotFoundError), files.locked(path) as fd:
            if fd is None:
                return  # somebody went on with it
            used = os.fstat(fd).st_mtime
            mapping = self._map(segment)
            if mapping is None:
                self._n_damaged += segment.n_live
            else:
                for rows in self._living(segment, mapping, newer_than):
                    self._copy([row for row in rows if not row.flags & TOMBSTONE], mapping, space, used)
                    self._copy([row for row in rows if row.flags & TOMBSTONE], mapping, space, used)
            self._writing.forget([segment.id])  # with the lock held, or somebody might go on with it now
            return
        if self._index.has_segment(segment.id):
            self._n_damaged += segment.n_live
            self._writing.forget([segment.id])  # its file is lost

    def _living(self, segment: Segment, mapping: MappedSegment, newer_than: int) -> Iterator[list[Row]]:
        """Give the rows to copy, some megabytes at a time."""
        batch: list[Row] = []
        n_bytes = 0
        for row in self._index.rows(segment.id):
            if not row.flags & TOMBSTONE and row.stored_at <= newer_than:
                self._n_expired += 1
                continue
            if not _is_whole(mapping, row):
                self._n_damaged += 1
                continue
            if batch and n_bytes + row.size > _CHUNK_BYTES:
                yield batch
                batch, n_bytes = [], 0
            batch.append(row)
            n_bytes += row.size
        if batch:
            yield batch

    def _copy(self, rows: list[Row], mapping: MappedSegment, space: str, used: float) -> None:
        """Copy records of documents, or of tombstones, and point their keys at the copies."""
        while rows:
            are_tombstones = bool(rows[0].flags & TOMBSTONE)
            target = self._targets.get(are_tombstones)
            if target is not None and target.size >= self._segment_bytes:
                self._finish_target(are_tombstones)
            target = self._targets[are_tombstones] = self._targets.get(are_tombstones) or self._writing.begin(space)
            try:
                self._move(rows, mapping, target)
            except ReplacedError as replaced:  # it has them elsewhere now: that stays, and the copies aren't committed
                rows = [row for row in rows if row.key not in replaced.keys]
                continue
            with suppress(OSError):
                os.utime(target.path, (used, used))  # copying is no use of it
            return

    def _move(self, rows: list[Row], mapping: MappedSegment, target: SegmentWriter) -> None:
        # A record doesn't know where it lies, so it is copied as it is, its sequence and checksum included.
        offsets = np.concatenate([[0], np.cumsum([row.size for row in rows])]).astype(np.int64)
        records = Records(np.concatenate([mapping.bytes[row.offset : row.offset + row.size] for row in rows]), offsets)
        target.append(records)
        size = target.size + len(records.bytes)
        copies = rows_of(records, target.id, target.size)
        n_documents = sum(not row.flags & TOMBSTONE for row in rows)
        with self._gate.held(), self._index.changing() as changes:
            self._writing.refuse_if_replaced()
            tables.grow_segment(changes, target.id, size, n_documents, max(row.stored_at for row in rows))
            tables.move_rows(changes, target.space_id, rows, copies)
        target.size = size

    def _finish_target(self, are_tombstones: bool) -> None:  # noqa: FBT001 - the key of a dict
        target = self._targets.pop(are_tombstones)
        try:
            target.seal()
            with self._gate.held(), self._index.changing() as changes:
                tables.set_state(changes, target.id, tables.SEALED if target.size < self._segment_bytes else tables.FULL)
            if are_tombstones:
                self._tombstones += [segment for segment in self._index.segments() if segment.id == target.id]
        finally:
            target.close()

    def _let_go(self) -> None:
        for target in self._targets.values():
            target.close()
        self._targets.clear()

    def _drop_tombstones(self, space_id: int) -> None:
        """Forget tombstones once no segment holds a document that a rebuild could bring back."""
        with self._gate.held():
            if not self._index.is_without_dead(space_id):
                return
            with self._index.changing() as changes:
                tables.forget_tombstones(changes, space_id)
        for segment in self._tombstones:
            if segment.space == space_id:
                self._writing.retire(segment)


def _is_sealed(mapping: MappedSegment, segment: Segment) -> bool:
    seal = checked_header(mapping.bytes, segment.size)
    return seal is not None and bool(seal.flags & SEAL)


def _is_whole(mapping: MappedSegment, row: Row) -> bool:
    header = checked_header(mapping.bytes, row.offset)
    return header is not None and row_of(header, row.segment, row.offset) == row
