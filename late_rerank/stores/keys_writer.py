"""Writes keys files of version 2: rows in, sorted or not; blocks and a fence out, in memory that hardly grows with the rows."""

from __future__ import annotations

import struct
import zlib
from typing import BinaryIO

import numpy as np

from late_rerank.stores.keys_blocks import (
    BLOCK,
    CHECKED_FROM,
    FIELDS,
    FIRST_BYTES,
    MAGIC,
    ROW,
    ROWS_A_BLOCK,
    U64,
    VERSION,
    KeysHeader,
    Rows,
    checked_parts,
    halves,
    halves_of,
)

# Rows packed at once: some megabytes.
_ROWS_AT_ONCE = 2**14


class KeysWriter:
    """Writes a keys file in one pass. What it keeps in memory is the fence: 0.08 bytes a key.

    Args:
        file: Writable, and able to seek to where it is now.
        space: The space's name.
    """

    def __init__(self, file: BinaryIO, space: str) -> None:
        self._file = file
        self._text = space.encode()
        self._start = file.tell()
        self._size = -(-(FIELDS.size + len(self._text)) // FIRST_BYTES) * FIRST_BYTES
        self._rest: Rows = np.empty(0, dtype=ROW)
        self._last: bytes | None = None
        self._firsts: list[U64] = []
        self._segments: set[int] = set()
        self._n_blocks = self._n_keys = 0
        file.write(bytes(self._size))

    def add(self, rows: Rows) -> None:
        """Add rows, (n,) ROW.

        Raises:
            ValueError: If a key isn't above the key before it.
        """
        for start in range(0, len(rows), _ROWS_AT_ONCE):
            self._add(rows[start : start + _ROWS_AT_ONCE])

    def _add(self, rows: Rows) -> None:
        self._refuse_unsorted(rows)
        self._segments.update(np.unique(rows["segment"]).tolist())
        self._n_keys += len(rows)
        joined = np.concatenate([self._rest, rows])
        whole = len(joined) // ROWS_A_BLOCK * ROWS_A_BLOCK
        self._write(joined[:whole])
        self._rest = joined[whole:].copy()

    def finish(self) -> KeysHeader:
        """Write what is left, and the header."""
        self._write(self._rest)
        segments = np.array(sorted(self._segments), dtype="<u4")
        tail = b"".join([*(part.astype("<u8").tobytes() for part in self._firsts), segments.tobytes()])
        self._file.write(tail)
        raw = bytearray(self._size)
        checksum = zlib.crc32(tail)
        values = (self._n_keys, self._size, len(self._text), checksum, len(segments))
        FIELDS.pack_into(raw, 0, MAGIC, 0, VERSION, *values)
        raw[FIELDS.size : FIELDS.size + len(self._text)] = self._text
        struct.pack_into("<I", raw, 8, zlib.crc32(raw[CHECKED_FROM:]))
        end = self._file.tell()
        self._file.seek(self._start)
        self._file.write(raw)
        self._file.seek(end)
        return KeysHeader(self._text.decode(), self._n_keys, len(segments), self._size, checksum)

    def _refuse_unsorted(self, rows: Rows) -> None:
        before = b"" if self._last is None else self._last
        numbers = halves(before + np.ascontiguousarray(rows["key"]).tobytes())
        first, last = numbers.T
        above = (first[1:] > first[:-1]) | ((first[1:] == first[:-1]) & (last[1:] > last[:-1]))
        if not above.all():
            raise ValueError("rows must come sorted by key, each key once; sort them with sort_rows first")
        self._last = rows["key"][-1].tobytes()

    def _write(self, rows: Rows) -> None:
        n_blocks = -(-len(rows) // ROWS_A_BLOCK)
        blocks = np.zeros(n_blocks, dtype=BLOCK)
        blocks["number"] = np.arange(self._n_blocks, self._n_blocks + n_blocks)
        blocks["n_rows"] = np.minimum(len(rows) - np.arange(n_blocks) * ROWS_A_BLOCK, ROWS_A_BLOCK)
        padded = np.zeros(n_blocks * ROWS_A_BLOCK, dtype=ROW)
        padded[: len(rows)] = rows
        blocks["rows"] = padded.reshape(n_blocks, ROWS_A_BLOCK)
        raw = memoryview(blocks.tobytes())
        blocks["crc"] = list(map(zlib.crc32, checked_parts(raw)))
        self._file.write(blocks.tobytes())
        self._firsts.append(halves_of(blocks)[:, 0, 0])
        self._n_blocks += n_blocks


def sort_rows(rows: Rows) -> Rows:
    """Sort rows, (n,) ROW, by key. Rows of one key keep their order."""
    numbers = halves(np.ascontiguousarray(rows["key"]).tobytes())
    return rows[np.lexsort((numbers[:, 1], numbers[:, 0]))]
