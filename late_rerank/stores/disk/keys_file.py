"""Keys files: where each document of a published space lies, sorted by key. Opens all versions, and reads version 1."""

from __future__ import annotations

import mmap
import os
import struct
import zlib
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from late_rerank.errors import StoreFormatError
from late_rerank.stores.disk.block_keys import BlockKeys
from late_rerank.stores.disk.places import Place, pack_place
from late_rerank.stores.keys_blocks import MAGIC, ROW, VERSION, Found, Rows, halves
from late_rerank.types import Bytes

_COLUMNS_VERSION = 1
# magic, checksum of the rest of the header, version, keys, bytes of this header, bytes of its JSON, checksum of the columns, 0
_FIELDS = struct.Struct("<8sIIQIIII")
_VERSION_AT = 12
_CHECKED_FROM = 12
_PAGE = 4096
# A key's first and last 8 bytes as numbers, so that they sort as the keys do.
_COLUMNS = {"first": "<u8", "last": "<u8", "offset": "<u8", "n_tokens": "<u8", "segment": "<u4", "flags": "<u4"}
_MOST = 2**62
_PLACE = ("segment", "offset", "n_tokens", "flags")
_ROWS_AT_ONCE = 2**16


def open_keys(path: Path) -> BlockKeys | ColumnKeys:
    """Open a keys file of any version.

    Raises:
        StoreFormatError: If it is no keys file, is damaged, or is of a later version.
    """
    with path.open("rb") as file:
        beginning = file.read(_FIELDS.size)
    if os.stat(path).st_size < _PAGE:  # noqa: PTH116 - as the file's own size is asked
        raise StoreFormatError(f"{path} is shorter than a keys file's header; publish the store, or copy it, again")
    version = int.from_bytes(beginning[_VERSION_AT : _VERSION_AT + 4], "little")
    if beginning.startswith(MAGIC) and version not in (_COLUMNS_VERSION, VERSION):
        raise StoreFormatError(
            f"{path} is damaged, or of version {version}; this late-rerank reads {_COLUMNS_VERSION} and {VERSION}: publish the "
            "store, or copy it, again; or install a later one"
        )
    return ColumnKeys(path) if version == _COLUMNS_VERSION else BlockKeys(path)


class ColumnKeys:
    """A keys file of version 1, mapped into memory: each column whole, sorted by key.

    Attributes:
        space: The space's name.
        n: Its documents.
        size_bytes: The size of the whole file.

    Raises:
        StoreFormatError: If it is no keys file, or has a damaged header.
    """

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            self._raw: Bytes = np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), dtype=np.uint8)
        magic, checksum, _, self.n, size, text_size, self._body_checksum, _ = _FIELDS.unpack_from(self._raw.data)
        if magic != MAGIC or zlib.crc32(self._raw[_CHECKED_FROM:size].data) != checksum:
            raise StoreFormatError(f"{path} is no keys file, or its header is damaged; publish the store, or copy it, again")
        self.space = self._raw[_FIELDS.size : _FIELDS.size + text_size].tobytes().decode()
        self.size_bytes = len(self._raw)
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

    @cached_property
    def segments(self) -> list[int]:
        """The segments that its documents lie in, ascending."""
        numbers: list[int] = np.unique(self._columns["segment"]).tolist()
        return numbers

    def find(self, keys: Sequence[bytes]) -> tuple[list[Place | None], list[str]]:
        """Find where each key's document lies, None where it isn't here. No line of damage: only `problems` reads all bytes."""
        numbers = [self._number(first, last) for first, last in self._asked(keys)]
        return [None if number is None else self._place(number) for number in numbers], []

    def locate(self, keys: Sequence[bytes]) -> Found:
        """Find the rows of keys."""
        numbers = [self._number(first, last) for first, last in self._asked(keys)]
        here = np.array([i for i, number in enumerate(numbers) if number is not None], dtype=np.int64)
        known = np.array([number for number in numbers if number is not None], dtype=np.int64)
        return Found(here, self._rows(known), known, [])

    def problems(self) -> Iterator[str]:
        """Tell whether the columns don't match their checksum."""
        if zlib.crc32(self._body.data) != self._body_checksum:
            yield "the checksum doesn't match"

    def parts(self) -> Iterator[Rows]:
        """Give all rows, sorted by key, some thousands at a time."""
        for start in range(0, self.n, _ROWS_AT_ONCE):
            yield self._rows(np.arange(start, min(start + _ROWS_AT_ONCE, self.n)))

    def _asked(self, keys: Sequence[bytes]) -> Iterator[tuple[int, int]]:
        return ((first, last) for first, last in halves(b"".join(keys)).tolist())

    def _number(self, first: int, last: int) -> int | None:
        firsts, lasts = self._columns["first"], self._columns["last"]
        row = int(np.searchsorted(firsts, np.uint64(first)))
        while row < self.n and firsts[row] == first:  # equal first halves: one pair of keys in 2**64
            if lasts[row] == last:
                return row
            row += 1
        return None

    def _place(self, row: int) -> Place:
        # A damaged offset is beyond every file, and must not be beyond what a place can say.
        return pack_place(*(min(int(self._columns[name][row]), _MOST) for name in _PLACE))

    def _rows(self, numbers: NDArray[np.int64]) -> Rows:
        rows = np.zeros(len(numbers), dtype=ROW)
        key = np.stack([self._columns["first"][numbers], self._columns["last"][numbers]], axis=1).astype(">u8")
        rows["key"] = np.frombuffer(key.tobytes(), dtype="V16")
        for name in _PLACE:
            rows[name] = self._columns[name][numbers]
        return rows
