"""DiskStore: token vectors in a folder, shared by the processes of one machine, that outlive any of them."""

from __future__ import annotations

import math
import os
import time
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from late_rerank.errors import StoreError
from late_rerank.stores.base import Space, Store
from late_rerank.stores.disk import files, tables
from late_rerank.stores.disk.backup import BackupReport, backup
from late_rerank.stores.disk.compaction import Compaction, CompactReport
from late_rerank.stores.disk.copies import write_mark
from late_rerank.stores.disk.creation import open_or_create
from late_rerank.stores.disk.eviction import Eviction
from late_rerank.stores.disk.frozen import HOW_TO_READ_ONLY, unwritable
from late_rerank.stores.disk.index import Index, Place, unpack_place
from late_rerank.stores.disk.publishing import PublishReport, publish
from late_rerank.stores.disk.reading import TICK_S, Mappings, Reading
from late_rerank.stores.disk.segment import path_of
from late_rerank.stores.disk.verification import VerifyReport, verify
from late_rerank.stores.disk.writing import Writing
from late_rerank.stores.folders import folder_at
from late_rerank.stores.record import HEADER_BYTES, TOMBSTONE, layout, pack_marks, pack_records, parse_space, space_json
from late_rerank.types import CodecSpec, Fetched, PackedVectors
from late_rerank.warn import warn_caller

_LEAST_BYTES = 2**20
_SEGMENT_BYTES = 2**30
# What one put brings together before it is written: bounds memory.
_CHUNK_BYTES = 16 * 2**20
_TRIES = 5
_AT_ONCE = 5000


class DiskStore(Store):
    """Token vectors in a folder on a local disk. Safe to share between threads and processes, and after a fork.

    What `put` returned from is kept, also if the process is killed or the machine loses power. Fetched documents lie in mapped
    files: nothing is copied. POSIX only; not for network file systems.

    Args:
        path: The folder, "~" for the user's home; made if it isn't there. It may be opened by any number of processes.
        max_bytes: What the documents of all spaces may take, at least 1 MiB; None for no bound. The least recently used
            segments (an eighth of the bound each) go first. Other processes keep to the bound that they were given.
        ttl_s: After how many seconds a stored document is a miss; None for never.
        check: Whether `get` computes each record's checksum; a damaged document then is a miss. Costs 1 ms for 2 MB.

    Attributes:
        path: The folder, absolute.

    Raises:
        ValueError: A bound or time is out of range, or the folder holds other files.
        StoreFormatError: The store is of another version, or damaged.
        StoreError: The folder can't be used.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, max_bytes: int | None = None, ttl_s: float | None = None, check: bool = False
    ) -> None:
        if max_bytes is not None and not _LEAST_BYTES <= max_bytes < math.inf:
            raise ValueError(f"max_bytes must be at least {_LEAST_BYTES} (1 MiB), or None for no bound, got {max_bytes}")
        if ttl_s is not None and not 0 < ttl_s < math.inf:
            raise ValueError(f"ttl_s must be above 0 seconds, or None for no end, got {ttl_s}")
        self.path = folder_at(path).absolute()  # the program may change to another folder
        self.max_bytes = max_bytes
        self.ttl_s = ttl_s
        self.check = check
        self._gate = files.Gate(self.path / "LOCK")
        self._index = Index(self.path)
        try:
            with _as_store_errors(self.path):
                self._check_first = open_or_create(self.path, self._gate, self._index)
                _tell_unwritable(self.path)
        except BaseException:
            self._index.close()
            self._gate.close()
            raise
        self._segment_bytes = _SEGMENT_BYTES if max_bytes is None else min(max_bytes // 8, _SEGMENT_BYTES)
        self._writing = Writing(self.path, self._index, self._gate, self._segment_bytes)
        self._write_lock = Lock()
        self._mappings = Mappings(self.path)
        self._eviction = Eviction(self.path, self._index, self._writing, max_bytes)
        with suppress(StoreError, OSError):  # where it can't be written to, nobody makes the index again either
            self._writing.remove_dead()  # of whoever died while it dropped them: they shall not come back with a new index
        self._next_tick = time.monotonic() + TICK_S
        self._n_damaged = 0
        self._warned_of_index = False
        self._closed = False
        _OPEN.add(self)
        _forks_noticed()
        self._finalizer = weakref.finalize(self, _close, self._writing, self._index, self._gate, os.getpid())

    @property
    def read_only(self) -> bool:
        """Whether nothing can be written to the folder, now. What is stored is found all the same."""
        return unwritable(self.path) is not None

    def space(self, fingerprint: str, codec: CodecSpec) -> Space:
        self._refuse_if_closed()
        return _DiskSpace(self, space_json(fingerprint, codec), fingerprint, codec)

    def spaces(self) -> list[Space]:
        """Every space that something was put into, oldest first."""
        return [_DiskSpace(self, name, *parse_space(name)) for _, name in self._index.spaces()]

    def drop(self, fingerprint: str) -> int:
        spaces = [(number, name) for number, name in self._index.spaces() if parse_space(name)[0] == fingerprint]
        if not spaces:
            return 0
        n_documents = sum(self._index.count(name) for _, name in spaces)
        with self._writing_alone():
            numbers = {number for number, _ in spaces}
            for _, name in spaces:
                self._writing.let_go(name)
            with self._gate.held(), self._index.changing() as changes:
                for number in numbers:
                    # From here on nobody finds them; the rows, of which there may be millions, go little by little.
                    changes.execute("UPDATE space SET dropped = name, name = NULL WHERE id = ?", (number,))
                    changes.execute(f"UPDATE segment SET state = '{tables.DEAD}' WHERE space = ?", (number,))
            self._writing.remove_dead()
            self._delete_rows_of_dropped()
        self._mappings.keep({segment.id for segment in self._index.segments()})
        return n_documents

    def stats(self) -> dict[str, Any]:
        """Counts and bytes, over all spaces and of each. JSON values.

        "size_bytes" are the segments' and the index's, "dead_bytes" those of documents that were replaced or deleted (`compact`
        frees them), "n_damaged" and "n_evicted" count since this object was made.
        """
        spaces: list[dict[str, Any]] = []
        for name, n_documents, live_bytes, size_bytes, n_segments in self._index.totals():
            fingerprint, codec = parse_space(name)
            spaces.append(
                {
                    "fingerprint": fingerprint,
                    "codec": codec.name,
                    "dim": codec.dim,
                    "n_documents": n_documents,
                    "size_bytes": size_bytes,
                    "dead_bytes": max(size_bytes - live_bytes - n_segments * 4096, 0),
                    "n_segments": n_segments,
                }
            )
        index_bytes = self._index.size_bytes()
        return {
            "path": str(self.path),
            "n_documents": sum(space["n_documents"] for space in spaces),
            "size_bytes": sum(space["size_bytes"] for space in spaces) + index_bytes,
            "index_bytes": index_bytes,
            "dead_bytes": sum(space["dead_bytes"] for space in spaces),
            "n_segments": sum(space["n_segments"] for space in spaces),
            "max_bytes": self.max_bytes,
            "ttl_s": self.ttl_s,
            "n_evicted": self._eviction.n_evicted,
            "n_damaged": self._n_damaged,
            "spaces": spaces,
        }

    def verify(self, *, progress: bool = False) -> VerifyReport:
        """Read every byte and compare it with its checksum, and the index with the segments. Changes no document.

        Args:
            progress: Show a bar on stderr, if that is a terminal.
        """
        with _as_store_errors(self.path):
            report = verify(self.path, self._index, progress=progress)
            if self._check_first and not report.problems and not self.read_only:
                with self._gate.held():
                    write_mark(self.path, checked=True)
                self._check_first = False
            return report

    def compact(self, *, min_live: float = 0.9, progress: bool = False) -> CompactReport:
        """Rewrite segments of which less than `min_live` is alive; leave out what is damaged or past its time to live.

        Others may read and write meanwhile. Segments that another process appends to are passed over.

        Args:
            min_live: Share of bytes, 0 to 1. With 1 every dead byte goes.
            progress: Show a bar on stderr, if that is a terminal.

        Raises:
            StoreError: The disk is full, or failed; nothing is lost.
        """
        with self._writing_alone():
            self._writing.seal_all()
            self._writing.recover()
            compaction = Compaction(self.path, self._index, self._gate, self._writing, self._segment_bytes)
            report = compaction.run(min_live=min_live, newer_than=self._newer_than(), progress=progress)
            self._delete_rows_of_dropped()
        self._mappings.keep({segment.id for segment in self._index.segments()})
        return report

    def publish(self, folder: str | os.PathLike[str], *, progress: bool = False) -> PublishReport:
        """Write what is here now to another folder, in the form that opens on a read-only file system.

        Args:
            folder: Must not be there yet, or be empty.
            progress: Show a bar on stderr, if that is a terminal.

        Raises:
            ValueError: The folder holds something.
            StoreError: The disk is full, or failed.
        """
        self._refuse_if_closed()
        target = folder_at(folder)
        with _as_store_errors(target):
            return publish(self.path, self._index, self._gate, target, self._newer_than(), progress=progress)

    def backup(self, folder: str | os.PathLike[str], *, progress: bool = False) -> BackupReport:
        """Copy the store as it is now to another folder, which can be used in its place; others may write meanwhile.

        Args:
            folder: Must not be there yet, or be empty. It appears when all of it is on the disk.
            progress: Show a bar on stderr, if that is a terminal.

        Returns:
            What was copied. All that was acknowledged before the call is in it.

        Raises:
            ValueError: The folder holds something, or lies within the store.
            StoreError: The disk is full, or failed, or another process copies to that folder.
        """
        self._refuse_if_closed()
        target = folder_at(folder)
        with _as_store_errors(target):
            return backup(self.path, self._index, self._gate, target, progress=progress)

    def close(self) -> None:
        """Seal what this object wrote and let go of all files. Fetched documents stay valid."""
        with self._write_lock:
            self._closed = True
            self._mappings.note_use()
            self._mappings.keep(set())
            self._finalizer()
            _OPEN.discard(self)

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopen, (self.path, self.max_bytes, self.ttl_s, self.check)

    # What follows is called by the spaces.

    def _get(self, space: _DiskSpace, keys: Sequence[bytes]) -> Fetched:
        self._refuse_if_closed()
        reading = Reading(self._mappings, space.name, space.codec, check=self.check, check_first=self._check_first)
        try:
            found, damage = self._fetch(space, keys, reading)
            if damage:
                self._count_damage(damage)
            self._tick()
        except (StoreError, OSError) as error:  # the folder is gone, or the index can't be read: an answer needs neither
            if self._closed:
                raise
            self._tell_unreadable(error)
            found, _ = reading.fetch(keys, [None] * len(keys))
        return found

    def _fetch(self, space: _DiskSpace, keys: Sequence[bytes], reading: Reading) -> tuple[Fetched, list[str]]:
        for _ in range(_TRIES):
            places = self._index.find(space.name, keys, self._newer_than())
            with suppress(FileNotFoundError):  # compacted or evicted since the index was asked
                return reading.fetch(keys, places)
        lost = {place for place in places if place is not None and not self._is_there(place)}
        found, damage = reading.fetch(keys, [None if place in lost else place for place in places])
        return found, [*damage, *(f"segment {unpack_place(place)[0]} is lost" for place in lost)]

    def _is_there(self, place: Place) -> bool:
        return path_of(self.path, unpack_place(place)[0]).exists()

    def _put(self, space: _DiskSpace, keys: Sequence[bytes], packed: PackedVectors) -> None:
        sizes = layout(space.codec.columns, packed.lengths, HEADER_BYTES)[1].tolist()
        kept = [i for i, size in enumerate(sizes) if self.max_bytes is None or size <= self.max_bytes - 2 * 4096]
        with self._writing_alone():
            for chunk in _chunks(kept, sizes, min(_CHUNK_BYTES, self._segment_bytes)):
                self._follow_index()
                records = pack_records(
                    [keys[i] for i in chunk],
                    packed.take(np.array(chunk, dtype=np.int64)),
                    sequence=self._index.sequence() + 1,
                    stored_at=int(time.time()),
                )
                self._writing.append(space.name, records)
                self._eviction.make_room(self._newer_than())

    def _delete(self, space: _DiskSpace, keys: Sequence[bytes]) -> int:
        n_deleted = 0
        with self._writing_alone():
            for start in range(0, len(keys), _AT_ONCE):
                part = list(dict.fromkeys(keys[start : start + _AT_ONCE]))
                self._follow_index()
                n_deleted += sum(place is not None for place in self._index.find(space.name, part, self._newer_than()))
                # More than those: a document past its time to live is there for whoever opens the store without one.
                there = self._index.deletable(space.name, part)
                if there:
                    sequence = self._index.sequence() + 1  # asked last: higher than that of any record that was found
                    marks = pack_marks(there, flag=TOMBSTONE, sequence=sequence, stored_at=int(time.time()))
                    self._writing.append(space.name, marks)
        return n_deleted

    # Keeping house

    def _follow_index(self) -> None:
        """Read the index that is there now. Segments of one that was made again may bear numbers of older ones."""
        if self._index.was_replaced():
            self._index.reopen()
            self._mappings.keep(set())

    def _newer_than(self) -> int:
        # Whole seconds are stored: a document lives as long as was said, and up to a second more.
        return -1 if self.ttl_s is None else math.floor(time.time() - self.ttl_s) - 1

    def _delete_rows_of_dropped(self) -> None:
        rows = "SELECT key FROM record WHERE space = ? LIMIT ?"
        for number in self._index.dropped_spaces():
            n_deleted = 1
            while n_deleted:
                with self._gate.held(), self._index.changing() as changes:
                    delete = f"DELETE FROM record WHERE space = ? AND key IN ({rows})"
                    n_deleted = changes.execute(delete, (number, number, _AT_ONCE)).rowcount
            with self._gate.held(), self._index.changing() as changes:
                changes.execute("DELETE FROM space WHERE id = ?", (number,))
        with self._gate.held():
            self._index.free_pages()

    def _tick(self) -> None:
        now = time.monotonic()
        if now < self._next_tick:
            return
        self._next_tick = now + TICK_S
        self._mappings.note_use()
        self._follow_index()
        self._mappings.keep({segment.id for segment in self._index.segments()})

    def _tell_unreadable(self, error: Exception) -> None:
        if not self._warned_of_index:
            self._warned_of_index = True
            warn_caller(f"the store {self.path} can't be read: {error}. Its documents count as missing; this is said once")

    def _count_damage(self, damage: list[str]) -> None:
        first = not self._n_damaged
        self._n_damaged += len(damage)
        if first:
            warn_caller(
                f"{self.path}: {damage[0]}; such documents count as missing, further ones are counted in stats()['n_damaged']. "
                f"late-rerank store verify {self.path} lists them, and says what mends the store"
            )

    @contextmanager
    def _writing_alone(self) -> Iterator[None]:
        with self._write_lock, _as_store_errors(self.path):
            self._refuse_if_closed()
            reason = unwritable(self.path)
            if reason:
                raise StoreError(f"{reason}. {HOW_TO_READ_ONLY.format(self.path)}")
            yield

    def _refuse_if_closed(self) -> None:
        if self._closed:
            raise StoreError(f"the store {self.path} was closed; open it again")

    def _before_fork(self) -> None:
        self._gate.before_fork(self._index.before_fork)

    def _after_fork_in_parent(self) -> None:
        self._index.after_fork_in_parent()
        self._gate.after_fork_in_parent()

    def _after_fork_in_child(self) -> None:
        self._write_lock = Lock()
        self._gate.after_fork_in_child()
        self._index.after_fork_in_child()
        self._mappings.after_fork()
        self._writing.after_fork()
        self._finalizer.detach()
        self._finalizer = weakref.finalize(self, _close, self._writing, self._index, self._gate, os.getpid())


class _DiskSpace(Space):
    def __init__(self, store: DiskStore, name: str, fingerprint: str, codec: CodecSpec) -> None:
        super().__init__(fingerprint, codec)
        self._store = store
        self.name = name

    def _put(self, keys: Sequence[bytes], packed: PackedVectors) -> None:
        self._store._put(self, keys, packed)  # noqa: SLF001 - a space is a part of its store

    def get(self, keys: Sequence[bytes]) -> Fetched:
        return self._store._get(self, keys)  # noqa: SLF001

    def delete(self, keys: Sequence[bytes]) -> int:
        return self._store._delete(self, keys)  # noqa: SLF001

    def __len__(self) -> int:
        return self._store._index.count(self.name)  # noqa: SLF001


_OPEN: weakref.WeakSet[DiskStore] = weakref.WeakSet()
_WATCHED: list[bool] = []


_FORKING: list[DiskStore] = []


def _forks_noticed() -> None:
    if not _WATCHED:
        _WATCHED.append(True)
        os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)


# A store's parts are its own; these see to it that each is left in order on both sides of a fork.


def _before_fork() -> None:
    _FORKING[:] = _OPEN
    for store in _FORKING:
        store._before_fork()  # noqa: SLF001


def _after_fork_in_parent() -> None:
    for store in _FORKING:
        store._after_fork_in_parent()  # noqa: SLF001
    _FORKING.clear()


def _after_fork_in_child() -> None:
    for store in _FORKING:
        store._after_fork_in_child()  # noqa: SLF001
    _FORKING.clear()


def _close(writing: Writing, opened: Index, gate: files.Gate, process: int) -> None:
    """Also when the store is collected, or the program ends without closing it."""
    if os.getpid() != process:
        return
    with suppress(StoreError, OSError):  # whatever isn't sealed now is sealed by the next writer
        writing.seal_all()
    try:
        with suppress(StoreError, OSError), gate.held():
            opened.close()
    finally:
        opened.close()  # without the gate where there is none: the folder is gone, or can't be written to
        gate.close()


def _tell_unwritable(path: Path) -> None:
    reason = unwritable(path)
    if reason:
        warn_caller(f"{reason}: it is read, but keeps no new document. {HOW_TO_READ_ONLY.format(path)}")


def _reopen(path: Path, max_bytes: int | None, ttl_s: float | None, check: bool) -> DiskStore:  # noqa: FBT001 - pickle's call
    return DiskStore(path, max_bytes=max_bytes, ttl_s=ttl_s, check=check)


def _chunks(positions: Sequence[int], sizes: Sequence[int], most_bytes: int) -> Iterator[list[int]]:
    """Positions in order, so many at once that their sizes stay below `most_bytes`, but at least one."""
    chunk: list[int] = []
    n_bytes = 0
    for position in positions:
        if chunk and n_bytes + sizes[position] > most_bytes:
            yield chunk
            chunk, n_bytes = [], 0
        chunk.append(position)
        n_bytes += sizes[position]
    if chunk:
        yield chunk


@contextmanager
def _as_store_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if isinstance(error, StoreError):
            raise
        raise StoreError(f"the store {path} can't be used: {error}") from error
