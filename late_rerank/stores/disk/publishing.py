"""A store -> its read-only form: living documents in new segments, and sorted keys instead of a database."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from late_rerank.observing.progress import progress_bar
from late_rerank.stores.disk import files, format_file
from late_rerank.stores.disk.index import Index
from late_rerank.stores.disk.keys_sorting import RowSorter
from late_rerank.stores.disk.parts import Parts
from late_rerank.stores.disk.segment import MappedSegment, SegmentWriter, path_of
from late_rerank.stores.disk.tables import Row
from late_rerank.stores.keys_blocks import ROW, Rows
from late_rerank.stores.keys_writer import KeysWriter
from late_rerank.stores.record import TOMBSTONE, Records, checked_header
from late_rerank.types import Bytes
from late_rerank.warn import warn_caller

_SEGMENT_BYTES = 2**30
_CHUNK_BYTES = 16 * 2**20
# Rows and views of one chunk take 0.5 KB each in Python.
_CHUNK_ROWS = 2**15


@dataclass(frozen=True, slots=True)
class PublishReport:
    """Counts of a published store.

    Attributes:
        n_documents: Documents that were written.
        n_segments: Segments that were written.
        size_bytes: Bytes of segments and key files.
    """

    n_documents: int
    n_segments: int
    size_bytes: int


def publish(parts: Parts, folder: Path, newer_than: int, *, progress: bool) -> PublishReport:
    """Write a store's living documents to `folder`, as of now; others may write to the store meanwhile.

    Raises:
        ValueError: If the folder holds something.
        OSError: If the disk is full, or failed.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f"{folder} is there and not empty; name a new folder to publish to")
    for made in (folder, folder / "segments", folder / "keys"):
        files.make_folder(made)
    with ExitStack() as held:
        with parts.gate.held():
            # Whoever removes a segment marks it dead first, under the gate. So all of these are there; once mapped they stay
            # readable.
            snapshot = held.enter_context(parts.index.unchanging())
            # A segment without a size is being made, or its writer died.
            sized = [segment for segment in snapshot.segments() if segment.size]
            mapped = {segment.id: MappedSegment(path_of(parts.path, segment.id)) for segment in sized}
        bar = progress_bar(total=len(mapped), unit=" segments", desc="Publishing", progress=progress)
        writer = _Publisher(folder)
        for number, name in snapshot.spaces():
            rows = _living(snapshot, number, mapped, newer_than, bar)
            writer.add_space(number, name, rows)
        bar.close()
    format_file.write_format(folder, format_file.PUBLISHED)  # last: without it the folder is no store
    return PublishReport(writer.n_documents, writer.n_segments, writer.size_bytes)


def _living(
    snapshot: Index, space_id: int, mapped: dict[int, MappedSegment], newer_than: int, bar: Any
) -> Iterator[tuple[Row, Bytes]]:
    n_damaged = 0
    for segment in snapshot.segments():
        if segment.space != space_id or segment.id not in mapped:
            continue
        whole = mapped[segment.id].bytes
        for row in snapshot.rows_in(segment):
            if row.flags & TOMBSTONE or row.stored_at <= newer_than:
                continue
            if checked_header(whole, row.offset) is None:
                n_damaged += 1
                continue
            yield row, whole[row.offset : row.offset + row.size]
        bar.update()
    if n_damaged:
        warn_caller(f"{n_damaged} damaged documents were left out")


class _Publisher:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._target: SegmentWriter | None = None
        self.n_documents = self.n_segments = self.size_bytes = 0

    def add_space(self, number: int, name: str, rows: Iterator[tuple[Row, Bytes]]) -> None:
        """Write one space's segments and keys."""
        path = self._folder / "keys" / f"{number:010}.keys"
        batch: list[tuple[Row, Bytes]] = []
        n_bytes = 0
        with RowSorter(path.with_suffix(".rows")) as placed:
            for row, record in rows:
                batch.append((row, record))
                n_bytes += len(record)
                if n_bytes > _CHUNK_BYTES or len(batch) == _CHUNK_ROWS:
                    placed.add(self._write(batch, number, name))
                    batch, n_bytes = [], 0
            placed.add(self._write(batch, number, name))
            self._finish()
            self._write_keys(path, name, placed)
        files.sync_folder(path.parent)

    def _write_keys(self, path: Path, name: str, placed: RowSorter) -> None:
        with path.open("wb") as file:
            writer = KeysWriter(file, name)
            for part in placed.sorted_parts():
                writer.add(part)
            header = writer.finish()
            file.flush()
            os.fsync(file.fileno())
        self.n_documents += header.n_keys
        self.size_bytes += header.size_bytes

    def _write(self, batch: list[tuple[Row, Bytes]], number: int, name: str) -> Rows:
        placed = np.zeros(len(batch), dtype=ROW)
        if not batch:
            return placed
        if self._target is not None and self._target.size >= _SEGMENT_BYTES:
            self._finish()
        if self._target is None:
            self.n_segments += 1
            self._target = SegmentWriter.create(self._folder, self.n_segments, number, name)
        offsets = np.concatenate([[0], np.cumsum([len(record) for _, record in batch])]).astype(np.int64)
        records = Records(np.concatenate([record for _, record in batch]), offsets)
        start = self._target.size
        self._target.append(records)
        self._target.size += len(records.bytes)
        placed["key"] = np.frombuffer(b"".join([row.key for row, _ in batch]), dtype="V16")
        placed["offset"] = start + offsets[:-1]
        placed["segment"] = self._target.id
        placed["n_tokens"] = [row.n_tokens for row, _ in batch]
        placed["flags"] = [row.flags for row, _ in batch]
        return placed

    def _finish(self) -> None:
        if self._target is not None:
            self._target.seal()
            self.size_bytes += self._target.size
            self._target.close()
            self._target = None
