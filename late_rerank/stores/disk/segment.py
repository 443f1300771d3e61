"""One segment file: its header, appending to it, mapping it, walking through its records."""

from __future__ import annotations

import mmap
import os
import struct
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from late_rerank.errors import StoreFormatError
from late_rerank.stores.disk import files
from late_rerank.stores.disk.file_mapping import map_file
from late_rerank.stores.record import ALIGNMENT, MAGIC, SEAL, Header, Records, checked_header, pack_marks
from late_rerank.types import I64, Bytes

VERSION = 1
_SEGMENT_MAGIC = b"LRRKSEGM"
_HEADER_MULTIPLE = 4096
# magic, checksum of all that follows, version, segment id, bytes of this header, bytes of the JSON after it
_FIELDS = struct.Struct("<8sIIQII")
_CHECKED_FROM = 12
_PAGE = mmap.PAGESIZE


@dataclass(frozen=True, slots=True)
class SegmentHeader:
    """A segment's header: its number, its space as JSON, and the header's own size."""

    id: int
    space: str
    size: int


def path_of(folder: Path, segment_id: int) -> Path:
    """Return the path of a store's segment."""
    return folder / "segments" / f"{segment_id:010}.seg"


def number_of(path: Path) -> int | None:
    """Read the number in a segment file's name; None if it isn't named like one: copies that users make aren't."""
    text = path.name.removesuffix(".seg")
    is_number = text.isascii() and text.isdecimal() and len(text) < 19  # SQLite's numbers end there
    return int(text) if is_number and path.name == path_of(path.parent.parent, int(text)).name else None


def pack_header(segment_id: int, space: str) -> bytes:
    """Make a segment's header, a multiple of 4096 bytes."""
    text = space.encode()
    size = -(-(_FIELDS.size + len(text)) // _HEADER_MULTIPLE) * _HEADER_MULTIPLE
    raw = bytearray(size)
    _FIELDS.pack_into(raw, 0, _SEGMENT_MAGIC, 0, VERSION, segment_id, size, len(text))
    raw[_FIELDS.size : _FIELDS.size + len(text)] = text
    struct.pack_into("<I", raw, 8, zlib.crc32(raw[_CHECKED_FROM:]))
    return bytes(raw)


def read_header(buffer: Bytes, path: Path) -> SegmentHeader:
    """Read a segment's header.

    Raises:
        StoreFormatError: If the file is no segment, its header is damaged, or it is of a later version; names the file.
    """
    raw = buffer[:_HEADER_MULTIPLE].tobytes()
    if len(raw) < _HEADER_MULTIPLE or not raw.startswith(_SEGMENT_MAGIC):
        raise StoreFormatError(f"{path} is no segment of a late-rerank store: it begins with {raw[:8]!r}")
    _, checksum, version, segment_id, size, text_size = _FIELDS.unpack_from(raw)
    if size % _HEADER_MULTIPLE or size > len(buffer) or zlib.crc32(buffer[_CHECKED_FROM:size].data) != checksum:
        raise StoreFormatError(f"{path} has a damaged header: its checksum doesn't match")
    if version != VERSION:
        raise StoreFormatError(f"{path} is of format version {version}; this late-rerank reads {VERSION}: install a later one")
    return SegmentHeader(segment_id, buffer[_FIELDS.size : _FIELDS.size + text_size].tobytes().decode(), size)


def walk(buffer: Bytes, start: int, end: int) -> Iterator[tuple[int, Header | None]]:
    """Give (offset, header) of every undamaged record; (offset, None) where damage begins. A seal is the last.

    After damage the walk goes on at the next 64-byte boundary where an undamaged record starts: lengths can't be trusted there.
    """
    offset, damaged = start, False
    while offset < end:
        header = checked_header(buffer[:end], offset)
        if header is None:
            if not damaged:
                yield offset, None
            damaged = True
            offset = _next_magic(buffer, offset + ALIGNMENT, end)
            continue
        yield offset, header
        if header.flags & SEAL:
            return
        damaged = False
        offset += header.size


def _next_magic(buffer: Bytes, offset: int, end: int) -> int:
    """Find the next 64-byte boundary on which a record may start; `end` if there is none."""
    step = 2**20
    while offset < end:
        words = buffer[offset : min(offset + step, end) & -ALIGNMENT].reshape(-1, ALIGNMENT)[:, :4]
        starts = np.flatnonzero((words == np.frombuffer(MAGIC, np.uint8)).all(axis=1))
        if len(starts):
            return offset + int(starts[0]) * ALIGNMENT
        offset += max(len(words), 1) * ALIGNMENT
    return end


class SegmentWriter:
    """The segment that one writer appends to. While it is open its file is locked; the lock dies with the process.

    It holds a file object, not a descriptor. If Ctrl-C drops the object before anybody closes it, it closes itself and frees
    the lock.

    Attributes:
        id: The segment's.
        space_id: The index's number of its space.
        size: Committed bytes; whatever lies after them doesn't count.
    """

    def __init__(self, path: Path, segment_id: int, space_id: int, size: int, file: FileIO) -> None:
        self.path = path
        self.id = segment_id
        self.space_id = space_id
        self.size = size
        self._file = file

    @classmethod
    def create(cls, folder: Path, segment_id: int, space_id: int, space: str) -> SegmentWriter:
        """Make a new segment file, with a durable header.

        Raises:
            OSError: If the disk is full, or failed; nothing is left behind.
        """
        path = path_of(folder, segment_id)
        file = FileIO(path, "x+")
        try:
            files.try_lock(file.fileno())
            header = pack_header(segment_id, space)
            files.write_at(file.fileno(), memoryview(header), 0)
            files.sync(file.fileno())
            files.sync_folder(path.parent)
        except BaseException:
            file.close()
            with suppress(OSError):
                path.unlink()
            raise
        return cls(path, segment_id, space_id, len(header), file)

    @classmethod
    def resume(cls, folder: Path, segment_id: int, space_id: int, size: int) -> SegmentWriter | None:
        """Go on where a segment was sealed; None if another writer has it or its file is gone."""
        path = path_of(folder, segment_id)
        try:
            file = FileIO(path, "r+")
        except FileNotFoundError:
            return None
        # A file shorter than the index says is damaged: appending would leave a hole.
        if not files.try_lock(file.fileno()) or os.fstat(file.fileno()).st_size < size:
            file.close()
            return None
        return cls(path, segment_id, space_id, size, file)

    def append(self, records: Records) -> None:
        """Write records after the committed ones, durably. Whoever commits them raises `size`.

        Raises:
            OSError: If the disk is full, or failed: close this writer, its file's tail is unknown.
        """
        files.write_at(self._file.fileno(), records.bytes.data, self.size)
        files.sync(self._file.fileno())

    def seal(self) -> None:
        """Mark where the committed records end, for readers without an index.

        Records beyond, which were never committed, become zeros first. Nothing is truncated: a file that shrinks
        under a reader's mapping kills the reader.
        """
        mark = pack_marks([bytes(16)], flag=SEAL, sequence=0, stored_at=0)
        fd = self._file.fileno()
        files.zero_from(fd, self.size)
        files.write_at(fd, mark.bytes.data, self.size)
        files.sync(fd)

    def close(self) -> None:
        """Let go of file and lock."""
        self._file.close()


class MappedSegment:
    """A segment file mapped into memory, read-only. The arrays made from it keep it alive, also when its file is gone.

    Attributes:
        bytes: (n_bytes,) uint8, the whole file as long as it was when it was mapped.
        header: The segment's.
    """

    def __init__(self, path: Path) -> None:
        fd = os.open(path, os.O_RDONLY)
        try:
            size = os.fstat(fd).st_size
            if size < _HEADER_MULTIPLE:
                raise StoreFormatError(f"{path} has {size} bytes, less than a segment's header")
            self._mapping = map_file(fd, size)
        finally:
            os.close(fd)
        self.bytes: Bytes = np.asarray(self._mapping, dtype=np.uint8)
        self.header = read_header(self.bytes, path)
        self._touched = np.zeros(size // _PAGE + 1, dtype=np.bool_)  # by page
        # By where a record may begin: 16 MB for 1 GiB, of which the system gives what is used.
        self._known: NDArray[np.bool_] = np.zeros(size // ALIGNMENT + 1, dtype=np.bool_)

    def outside(self, starts: I64, ends: I64) -> NDArray[np.bool_]:
        """Tell which ranges can't be records: they begin where none may, or end beyond the file."""
        unaligned = (starts & (ALIGNMENT - 1)) != 0
        outside: NDArray[np.bool_] = unaligned | (starts < self.header.size) | (ends <= starts) | (ends > len(self.bytes))
        return outside

    def unknown(self, starts: I64) -> NDArray[np.bool_]:
        """Tell which records this process hasn't compared with the index yet; a start may lie beyond the end."""
        slots = np.minimum(starts // ALIGNMENT, len(self._known) - 1)
        unknown: NDArray[np.bool_] = ~self._known[slots]
        return unknown

    def note_known(self, starts: I64) -> None:
        """Note that these records are as the index says."""
        self._known[starts // ALIGNMENT] = True

    def prefetch(self, starts: I64, ends: I64) -> None:
        """Have the pages of documents read, all at once, if this process hasn't asked for them yet.

        Touched one by one each costs a trip to the disk: 33 ms for 100 documents instead of 3.
        """
        first, last = starts // _PAGE, (ends - 1) // _PAGE
        # Neighbours share a document's first and last page. One of three or more has its second page for itself.
        second = np.minimum(first + 1, last)
        touched = self._touched[first] & self._touched[last] & self._touched[second]
        if touched.all():
            return
        for pages in (first, second, last):
            self._touched[pages] = True
        if hasattr(mmap, "MADV_WILLNEED"):
            begin, end = first[~touched] * _PAGE, np.minimum((last[~touched] + 1) * _PAGE, len(self.bytes))
            for start, n_bytes in zip(begin.tolist(), (end - begin).tolist(), strict=True):
                self._mapping.madvise(mmap.MADV_WILLNEED, start, n_bytes)
