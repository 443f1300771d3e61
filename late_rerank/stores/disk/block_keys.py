"""A keys file of version 2 on a disk: the fence in memory, and of the blocks only those that hold asked keys."""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from late_rerank.errors import StoreFormatError
from late_rerank.stores.disk.places import Place
from late_rerank.stores.keys_blocks import BLOCK_BYTES, Fence, Found, Rows, find_rows, parse_header, rows_of
from late_rerank.types import I64, Bytes

# Blocks read at once where all are read: 4 MB.
_BLOCKS_AT_ONCE = 1024
# A damaged offset is beyond every file, and must not be beyond what a place can say.
_MOST = 2**62
_PAGE = mmap.PAGESIZE


class BlockKeys:
    """A keys file of version 2, mapped into memory.

    Attributes:
        space: The space's name.
        n: Its documents.
        size_bytes: The size of the whole file.
        segments: The segments that its documents lie in.

    Raises:
        StoreFormatError: If it is no keys file, or its header, its fence or its size is damaged.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with path.open("rb") as file:
            self._mmap = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            raw: Bytes = np.frombuffer(self._mmap, dtype=np.uint8)
            self._header = header = parse_header(raw.data, path)
            if len(raw) != header.size_bytes:
                raise StoreFormatError(
                    f"{path} must have {header.size_bytes} bytes for {header.n_keys} keys, but has {len(raw)}: publish it again"
                )
            if hasattr(mmap, "MADV_RANDOM"):
                self._mmap.madvise(mmap.MADV_RANDOM)  # or a block that is touched brings 31 neighbours
            start, end = header.tail
            file.seek(start)
            self._fence = Fence(header, file.read(end - start), path)  # by the mapping it would take a trip to the disk a page
        self._blocks = raw[header.size : start].reshape(-1, BLOCK_BYTES)
        self._is_checked: NDArray[np.bool_] = np.zeros(header.n_blocks, dtype=np.bool_)
        self.space = header.space
        self.n = header.n_keys
        self.size_bytes = header.size_bytes
        self.segments = self._fence.segments

    def find(self, keys: Sequence[bytes]) -> tuple[list[Place | None], list[str]]:
        """Find where each key's document lies, None where it isn't here.

        Returns:
            The places, and a line for each damaged block: none of its documents is found.
        """
        found = self.locate(keys)
        columns = [np.minimum(found.rows[name].astype(np.uint64), _MOST) for name in ("segment", "offset", "n_tokens", "flags")]
        joined = np.stack(columns, axis=1).astype(np.int64).tobytes()
        places: list[Place | None] = [None] * len(keys)
        for i, position in enumerate(found.key.tolist()):
            places[position] = joined[32 * i : 32 * i + 32]
        return places, [f"block {block} of {self._path.name} is damaged" for block in found.damaged]

    def locate(self, keys: Sequence[bytes]) -> Found:
        """Find the rows of keys."""
        asked = self._fence.blocks_of(keys)
        numbers = asked.blocks()
        new = numbers[~self._is_checked[numbers]]
        self._prefetch(new)
        raw = self._blocks[numbers]
        found = find_rows(keys, asked, numbers, raw.reshape(-1).data, is_checked=not len(new))
        if not found.damaged:
            self._is_checked[new] = True
        return found

    def problems(self) -> Iterator[str]:
        """Tell what is damaged in the blocks; header and fence were checked when the file was opened."""
        for numbers, raw in self._all_blocks():
            for block in rows_of(numbers, raw)[1]:
                yield f"the checksum of block {block} doesn't match"

    def parts(self) -> Iterator[Rows]:
        """Give the rows of all undamaged blocks, sorted by key, some thousands at a time."""
        for numbers, raw in self._all_blocks():
            yield rows_of(numbers, raw)[0]

    def _all_blocks(self) -> Iterator[tuple[I64, bytes]]:
        with self._path.open("rb") as file:  # not by the mapping, which is told not to read ahead
            file.seek(self._header.size)
            for first in range(0, self._header.n_blocks, _BLOCKS_AT_ONCE):
                numbers = np.arange(first, min(first + _BLOCKS_AT_ONCE, self._header.n_blocks))
                yield numbers, file.read(len(numbers) * BLOCK_BYTES)

    def _prefetch(self, numbers: I64) -> None:
        """Have blocks read, all at once: touched one by one, each costs a trip to the disk."""
        if hasattr(mmap, "MADV_WILLNEED"):
            starts = self._header.size + numbers * BLOCK_BYTES
            for page in np.unique(starts // _PAGE).tolist():  # some machines' pages hold 4 or 16 blocks
                self._mmap.madvise(mmap.MADV_WILLNEED, page * _PAGE, min(_PAGE, len(self._mmap) - page * _PAGE))
