"""A store -> a copy of it as it was at one moment, whole, that can be used in its place."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from late_rerank.errors import StoreError
from late_rerank.observing.progress import progress_bar
from late_rerank.stores.disk import copies, files, format_file, index, pragmas, tables
from late_rerank.stores.disk.index import Index
from late_rerank.stores.disk.parts import Parts
from late_rerank.stores.disk.segment import MappedSegment, path_of, walk
from late_rerank.stores.record import SEAL, pack_marks
from late_rerank.types import Bytes
from late_rerank.warn import warn_caller

_CHUNK_BYTES = 16 * 2**20


@dataclass(frozen=True, slots=True)
class BackupReport:
    """Counts of a copy.

    Attributes:
        n_documents: Documents that the copy finds.
        n_segments: Segments in the copy.
        size_bytes: Bytes of segments and index.
        n_damaged: Places where a record was damaged already. These were copied as they are.
    """

    n_documents: int
    n_segments: int
    size_bytes: int
    n_damaged: int


def backup(parts: Parts, folder: Path, *, progress: bool) -> BackupReport:
    """Copy a store to `folder`, as of now; others may write to it meanwhile. Every record is checked on the way.

    Raises:
        ValueError: If the folder holds something, or lies within the store.
        StoreError: If another process copies to that folder.
        OSError: If the disk is full, or failed; nothing is left behind.
    """
    store = parts.path
    target = folder.absolute()
    _refuse(store, target)
    files.make_folder(target.parent)
    scratch = target.with_name(f".{target.name}.partial")
    with ExitStack() as held:
        held.enter_context(_taken(scratch))
        (scratch / "segments").mkdir()
        with parts.gate.held():
            # Whoever removes a segment marks it dead first, under the gate. So all of these are there; once mapped they stay
            # readable.
            snapshot = held.enter_context(parts.index.unchanging())
            mapped = _mapped(store, snapshot)
        report = _copy(snapshot, store, mapped, scratch, progress=progress)
        files.replace(scratch / format_file.NAME, (store / format_file.NAME).read_text(encoding="utf-8"))
        copies.write_mark(scratch, checked=not report.n_damaged)
        for made in (scratch / "segments", scratch):
            files.sync_folder(made)
        scratch.rename(target)
        files.sync_folder(target.parent)
    if report.n_damaged:
        warn_caller(f"{store} is damaged in {report.n_damaged} places, and so is its copy: late-rerank store verify {folder}")
    return report


def _refuse(store: Path, target: Path) -> None:
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ValueError(f"{target} is there and not empty; name a new folder for the backup")
    if store.resolve() in (target.resolve(), *target.resolve().parents):
        raise ValueError(f"{target} lies within the store {store}; name a folder beside it")


@contextmanager
def _taken(scratch: Path) -> Iterator[None]:
    """Hold the scratch folder, emptied of what a dead process left there; remove it at the end if it wasn't renamed.

    The folder itself is locked: the lock goes with it when it is renamed, and another process then finds no folder there.
    """
    scratch.mkdir(exist_ok=True)
    fd = os.open(scratch, os.O_RDONLY | os.O_DIRECTORY)
    if not files.try_lock(fd) or not _is_at(fd, scratch):
        os.close(fd)
        raise StoreError(f"another process makes a backup in {scratch}; wait for it, or name another folder")
    try:
        for left in scratch.iterdir():
            shutil.rmtree(left) if left.is_dir() else left.unlink()
        yield
    finally:
        if _is_at(fd, scratch):
            shutil.rmtree(scratch, ignore_errors=True)
        os.close(fd)


def _is_at(fd: int, folder: Path) -> bool:
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(fd), folder.stat())
    return False


def _mapped(store: Path, snapshot: Index) -> dict[int, MappedSegment]:
    mapped = {}
    for segment in snapshot.segments():
        if segment.size:  # else it is being made, or its writer died
            with suppress(FileNotFoundError):  # lost: its documents are missing in the copy as they are here
                mapped[segment.id] = MappedSegment(path_of(store, segment.id))
    return mapped


def _copy(snapshot: Index, store: Path, mapped: dict[int, MappedSegment], scratch: Path, *, progress: bool) -> BackupReport:
    segments = [segment for segment in snapshot.segments() if segment.id in mapped]
    n_bytes = sum(segment.size for segment in segments)
    n_damaged = 0
    with progress_bar(total=n_bytes, unit="B", unit_scale=True, desc="Copying", progress=progress) as bar:
        for segment in segments:
            n_damaged += _copy_segment(store, scratch, segment.id, mapped[segment.id], segment.size, bar)
    size_bytes = n_bytes + _copy_index(snapshot, scratch / index.NAME, sorted(mapped))
    n_documents = sum(segment.n_live for segment in segments)
    return BackupReport(n_documents, len(segments), size_bytes, n_damaged)


def _copy_segment(store: Path, scratch: Path, number: int, mapping: MappedSegment, size: int, bar: Any) -> int:
    """Copy the committed records and end them with a seal; returns the number of damaged places."""
    path = path_of(scratch, number)
    with path.open("xb") as file:
        _write(file.fileno(), mapping.bytes[:size], bar)
        mark = pack_marks([bytes(16)], flag=SEAL, sequence=0, stored_at=0)
        files.write_at(file.fileno(), mark.bytes.data, size)
        files.sync(file.fileno())
    with suppress(OSError):
        used = path_of(store, number).stat().st_mtime
        os.utime(path, (used, used))  # a copy is evicted in the same order
    end = min(size, len(mapping.bytes))
    return sum(header is None for _, header in walk(mapping.bytes, mapping.header.size, end)) + (end < size)


def _write(fd: int, whole: Bytes, bar: Any) -> None:
    for start in range(0, len(whole), _CHUNK_BYTES):
        part = whole[start : start + _CHUNK_BYTES]
        files.write_at(fd, part.data, start)
        bar.update(len(part))


def _copy_index(snapshot: Index, path: Path, segment_ids: list[int]) -> int:
    """Copy the index as the snapshot sees it; returns its size. In the copy nobody writes any segment."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        snapshot.copy_to(connection)
        pragmas.use_log(connection)
        pragmas.begin(connection)
        tables.keep_segments(connection, segment_ids)
        pragmas.commit(connection)
        pragmas.bring_in_log(connection)
    with path.open("rb") as file:
        os.fsync(file.fileno())
    return path.stat().st_size
