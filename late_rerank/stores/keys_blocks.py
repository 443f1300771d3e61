"""Keys files of version 2: sorted rows in blocks that are read alone, and a fence that says which block. Bytes only, no file.

FORMAT.md specifies every byte. Who looks up 100 keys among millions reads 100 blocks, of 4 KiB each, all at once.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from late_rerank.errors import StoreFormatError
from late_rerank.types import I64

VERSION = 2
MAGIC = b"LRRKKEYS"
BLOCK_BYTES = 4096
ROWS_A_BLOCK = 102
# What may be read first: a header is hardly ever longer. `parse_header` says so if it is.
FIRST_BYTES = 4096

# Where one document lies. Keys are bytes, so they sort as they are.
ROW = np.dtype([("key", "V16"), ("offset", "<u8"), ("n_tokens", "<u8"), ("segment", "<u4"), ("flags", "<u4")])
BLOCK = np.dtype([("rows", ROW, (ROWS_A_BLOCK,)), ("number", "<u8"), ("n_rows", "<u4"), ("crc", "<u4")])
_CHECKED_UNTIL = BLOCK_BYTES - 4
# magic, checksum of the rest of the header, version, keys, bytes of this header, of its JSON, checksum of the tail, segments
FIELDS = struct.Struct("<8sIIQIIII")
CHECKED_FROM = 12
_MOST_HEADER_BYTES = 2**20

Raw = bytes | memoryview
Rows = NDArray[np.void]
U64 = NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class KeysHeader:
    """How a keys file is laid out: the header, then blocks, then the tail.

    Attributes:
        space: The space's name.
        n_keys: Rows in all blocks.
        n_segments: Segments that the rows name.
        size: Bytes of the header.
        tail_checksum: CRC-32 of the tail.
    """

    space: str
    n_keys: int
    n_segments: int
    size: int
    tail_checksum: int

    @property
    def n_blocks(self) -> int:
        """How many blocks there are. All but the last are full."""
        return -(-self.n_keys // ROWS_A_BLOCK)

    @property
    def tail(self) -> tuple[int, int]:
        """Where the fence and the list of segments begin and end in the file: (start, end) in bytes."""
        start = self.size + self.n_blocks * BLOCK_BYTES
        return start, start + 8 * self.n_blocks + 4 * self.n_segments

    @property
    def size_bytes(self) -> int:
        """The size of the whole file."""
        return self.tail[1]

    def span(self, block: int) -> tuple[int, int]:
        """Tell where a block begins and ends in the file: (start, end) in bytes."""
        start = self.size + block * BLOCK_BYTES
        return start, start + BLOCK_BYTES


class Asked(NamedTuple):
    """Which blocks may hold which keys: pair i says that key `key[i]` may lie in block `block[i]`.

    Attributes:
        key: (n_pairs,) int64, positions of asked keys. A key below all others has no pair; hardly any has two.
        block: (n_pairs,) int64, numbers of blocks.
    """

    key: I64
    block: I64

    def blocks(self) -> I64:
        """List the blocks to read, each once, in order."""
        return np.unique(self.block)


class Found(NamedTuple):
    """Rows of keys that were found.

    Attributes:
        key: (n_found,) int64, positions of asked keys, in order.
        rows: (n_found,) ROW.
        number: (n_found,) int64, which row of the file each is, from 0.
        damaged: Blocks that don't match their checksums. None of their keys is found.
    """

    key: I64
    rows: Rows
    number: I64
    damaged: list[int]


def header_size(raw: Raw, where: object) -> int:
    """Read how many bytes a keys file's header has, of its first 40 bytes or more: 4096, or more if its space's name is long.

    Raises:
        StoreFormatError: If it is no keys file.
    """
    if len(raw) < FIELDS.size or bytes(raw[:8]) != MAGIC:
        raise StoreFormatError(
            f"{where} is no keys file: it begins with {bytes(raw[:8])!r}; publish the store, or copy it, again"
        )
    size = int(FIELDS.unpack_from(memoryview(raw))[4])
    if not FIRST_BYTES <= size <= _MOST_HEADER_BYTES or size % FIRST_BYTES:
        raise StoreFormatError(
            f"{where} has a damaged header: it gives its size as {size}; publish the store, or copy it, again"
        )
    return size


def parse_header(raw: Raw, where: object) -> KeysHeader:
    """Read a header.

    Args:
        raw: The file's beginning, `header_size` bytes or more.
        where: The file's name, for messages.

    Raises:
        StoreFormatError: If it is no keys file of version 2, or its header is damaged.
    """
    size = header_size(raw, where)
    view = memoryview(raw)
    _, checksum, version, n_keys, _, text_size, tail_checksum, n_segments = FIELDS.unpack_from(view)
    if size > len(view) or zlib.crc32(view[CHECKED_FROM:size]) != checksum:
        raise StoreFormatError(
            f"{where} has a damaged header: its checksum doesn't match; publish the store, or copy it, again"
        )
    if version != VERSION:
        raise StoreFormatError(f"{where} is of version {version}; this late-rerank reads {VERSION}: install a later one")
    space = bytes(view[FIELDS.size : FIELDS.size + text_size]).decode()
    return KeysHeader(space, n_keys, n_segments, size, tail_checksum)


class Fence:
    """Which block holds which keys: the first 8 bytes of each block's first key. 78 KB for a million keys.

    Args:
        header: The file's.
        raw: The bytes `header.tail` of the file.
        where: The file's name, for messages.

    Attributes:
        header: The file's.
        segments: The segments that the rows name, in order.

    Raises:
        StoreFormatError: If the tail doesn't match its checksum.
    """

    def __init__(self, header: KeysHeader, raw: Raw, where: object) -> None:
        start, end = header.tail
        if len(raw) != end - start or zlib.crc32(memoryview(raw)) != header.tail_checksum:
            raise StoreFormatError(
                f"{where} has a damaged fence: its checksum doesn't match; publish the store, or copy it, again"
            )
        self.header = header
        self._firsts: U64 = np.frombuffer(raw, dtype="<u8", count=header.n_blocks)
        numbers = np.frombuffer(raw, dtype="<u4", offset=8 * header.n_blocks)
        self.segments: list[int] = numbers.tolist()

    def blocks_of(self, keys: Sequence[bytes]) -> Asked:
        """Tell which blocks may hold which keys.

        Args:
            keys: Of 16 bytes each.
        """
        firsts = halves(b"".join(keys))[:, 0]
        # Keys of equal first halves may begin in the block before the first one that begins with that half.
        low = np.maximum(np.searchsorted(self._firsts, firsts, side="left") - 1, 0)
        n_blocks = np.searchsorted(self._firsts, firsts, side="right") - low
        position = np.repeat(np.arange(len(keys)), n_blocks)
        within = np.arange(len(position)) - np.repeat(np.cumsum(n_blocks) - n_blocks, n_blocks)
        return Asked(position, low[position] + within)


def find_rows(keys: Sequence[bytes], asked: Asked, numbers: I64, raw: Raw, *, is_checked: bool = False) -> Found:
    """Find keys' rows in blocks that were read.

    Args:
        keys: As asked, of 16 bytes each.
        asked: What `Fence.blocks_of` said of them. Pairs whose blocks weren't read are passed over.
        numbers: (n_blocks,) int64, the blocks that were read, in order, each once: `asked.blocks()`.
        raw: Their bytes, 4096 each, one after the other.
        is_checked: Whether these blocks' checksums were compared before.
    """
    blocks: Rows = np.frombuffer(raw, dtype=BLOCK)
    damaged = [] if is_checked else _damaged(numbers, raw)
    slot = np.minimum(np.searchsorted(numbers, asked.block), max(len(numbers) - 1, 0))
    read = np.flatnonzero(np.isin(asked.block, numbers) & ~np.isin(asked.block, damaged))
    position, slot = asked.key[read], slot[read]
    wanted = halves(b"".join(keys))[position]
    numbers_in = halves_of(blocks)
    same = (numbers_in[slot, :, 0] == wanted[:, :1]) & (numbers_in[slot, :, 1] == wanted[:, 1:])
    same &= np.arange(ROWS_A_BLOCK) < blocks["n_rows"][slot][:, None]  # the last block ends with zeros, which may be a key
    is_here = same.any(axis=1)
    slot, within = slot[is_here], same.argmax(axis=1)[is_here]
    number = numbers[slot] * ROWS_A_BLOCK + within
    return Found(position[is_here], blocks["rows"][slot, within], number, damaged)


def rows_of(numbers: I64, raw: Raw) -> tuple[Rows, list[int]]:
    """Read all rows of blocks, in order. Returns them, and the blocks that don't match their checksums, which are left out."""
    blocks = np.frombuffer(raw, dtype=BLOCK)
    damaged = _damaged(numbers, raw)
    counts = np.where(np.isin(numbers, damaged), 0, blocks["n_rows"])
    rows: Rows = blocks["rows"][np.arange(ROWS_A_BLOCK) < counts[:, None]]
    return rows, damaged


def halves(keys: bytes) -> U64:
    """Read keys, one after the other, as (n, 2) numbers that sort as the keys do."""
    return np.frombuffer(keys, dtype=">u8").reshape(-1, 2).astype(np.uint64)


def halves_of(blocks: Rows) -> U64:
    """Read the keys of blocks as (n_blocks, 102, 2) numbers that sort as the keys do."""
    return halves(np.ascontiguousarray(blocks["rows"]["key"]).tobytes()).reshape(-1, ROWS_A_BLOCK, 2)


def _damaged(numbers: I64, raw: Raw) -> list[int]:
    """List the blocks that don't match their checksums, or are other blocks than they should be."""
    blocks = np.frombuffer(raw, dtype=BLOCK)
    checksums = list(map(zlib.crc32, checked_parts(memoryview(raw))))
    wrong = (blocks["crc"] != checksums) | (blocks["number"] != numbers) | (blocks["n_rows"] > ROWS_A_BLOCK)
    damaged: list[int] = np.asarray(numbers)[wrong].tolist()
    return damaged


def checked_parts(raw: memoryview) -> Iterator[memoryview]:
    """Give the part of each block that its checksum covers."""
    return (raw[start : start + _CHECKED_UNTIL] for start in range(0, len(raw), BLOCK_BYTES))
