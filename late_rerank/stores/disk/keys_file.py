"""A keys file: where each document of a published space lies, sorted by key, in place of a database."""

from __future__ import annotations

import mmap
import os
import struct
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from late_rerank.errors import StoreFormatError
from late_rerank.stores.disk.places import Place, pack_place
from late_rerank.types import Bytes

VERSION = 1
_MAGIC = b"LRRKKEYS"
# magic, checksum of the rest of the header, version, keys, bytes of this header, bytes of its JSON, checksum of the columns, 0
_FIELDS = struct.Struct("<8sIIQIIII")
_CHECKED_FROM = 12
_PAGE = 4096
# A key's first and last 8 bytes as numbers, so that they sort as the keys do.
_COLUMNS = {"first": "<u8", "last": "<u8", "offset": "<u8", "n_tokens": "<u8", "segment": "<u4", "flags": "<u4"}
_MOST = 2**62
_PLACE = ("segment", "offset", "n_tokens", "flags")

# A key, then as _PLACE says.
Found = tuple[bytes, int, int, int, int]


def pack_keys(space: str, rows: Sequence[Found]) -> bytes:
    """Make a keys file: where each document of a space lies, sorted by key."""
    numbers = np.frombuffer(b"".join(row[0] for row in rows), dtype=">u8").reshape(-1, 2)
    places = np.array([row[1:] for row in rows], dtype=np.int64).reshape(-1, 4)
    order = np.lexsort((numbers[:, 1], numbers[:, 0]))
    values = dict(zip(("first", "last", "segment", "offset", "n_tokens", "flags"), [*numbers.T, *places.T], strict=True))
    body = b"".join(values[name][order].astype(kind).tobytes() for name, kind in _COLUMNS.items())
    text = space.encode()
    size = -(-(_FIELDS.size + len(text)) // _PAGE) * _PAGE
    header = bytearray(size)
    _FIELDS.pack_into(header, 0, _MAGIC, 0, VERSION, len(rows), size, len(text), zlib.crc32(body), 0)
    header[_FIELDS.size : _FIELDS.size + len(text)] = text
    struct.pack_into("<I", header, 8, zlib.crc32(header[_CHECKED_FROM:]))
    return bytes(header) + body


class Keys:
    """A keys file mapped into memory.

    Raises:
        StoreFormatError: If it is no keys file, has a damaged header, or is of a later version.
    """

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_size < _PAGE:
                raise StoreFormatError(f"{path} is shorter than a keys file's header; publish the store, or copy it, again")
            self._raw: Bytes = np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), dtype=np.uint8)
        magic, checksum, version, self.n, size, text_size, self._body_checksum, _ = _FIELDS.unpack_from(self._raw.data)
        if magic != _MAGIC or zlib.crc32(self._raw[_CHECKED_FROM:size].data) != checksum:
            raise StoreFormatError(f"{path} is no keys file, or its header is damaged; publish the store, or copy it, again")
        if version != VERSION:
            raise StoreFormatError(f"{path} is of version {version}; this late-rerank reads {VERSION}: install a later one")
        self.space = self._raw[_FIELDS.size : _FIELDS.size + text_size].tobytes().decode()
        self._body = self._raw[size:]
        if len(self._body) != self.n * sum(np.dtype(kind).itemsize for kind in _COLUMNS.values()):
            raise StoreFormatError(
                f"{path} must hold {self.n} keys, but has {len(self._body)} bytes for them: publish it again"
            )
        self._columns: dict[str, NDArray[Any]] = {}
        start = 0
        for name, kind in _COLUMNS.items():
            end = start + self.n * np.dtype(kind).itemsize
            self._columns[name] = self._body[start:end].view(kind)
            start = end

    def find(self, keys: Sequence[bytes]) -> list[Place | None]:
        """Find where each key's document lies, None where it isn't here."""
        wanted = np.frombuffer(b"".join(keys), dtype=">u8").reshape(-1, 2).astype(np.uint64)
        rows = np.searchsorted(self._columns["first"], wanted[:, 0]).tolist()
        return [self._place(row, first, last) for row, (first, last) in zip(rows, wanted.tolist(), strict=True)]

    def _place(self, row: int, first: int, last: int) -> Place | None:
        while row < self.n and self._columns["first"][row] == first:  # equal first halves: one pair of keys in 2**64
            if self._columns["last"][row] == last:
                # A damaged offset is beyond every file, and must not be beyond what a place can say.
                return pack_place(*(min(int(self._columns[name][row]), _MOST) for name in _PLACE))
            row += 1
        return None

    @property
    def size_bytes(self) -> int:
        """The size of the whole file."""
        return len(self._raw)

    def segments(self) -> list[int]:
        """List the segments that its documents lie in."""
        numbers: list[int] = np.unique(self._columns["segment"]).tolist()
        return numbers

    def rows(self) -> Iterator[Found]:
        """Give every row, sorted by key."""
        raw = np.stack([self._columns["first"], self._columns["last"]], axis=1).astype(">u8").tobytes()
        places = zip(*(self._columns[name].tolist() for name in _PLACE), strict=True)
        for i, (segment, offset, n_tokens, flags) in enumerate(places):
            yield raw[16 * i : 16 * i + 16], segment, offset, n_tokens, flags

    def is_whole(self) -> bool:
        """Whether the columns match their checksum."""
        return bool(zlib.crc32(self._body.data) == self._body_checksum)
