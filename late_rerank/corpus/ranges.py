"""A part of a file of lines -> the lines that begin in it, wherever the file is."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

from late_rerank.corpus.lines import check_length

# One request to object storage; little beside a batch of token vectors.
_BLOCK_BYTES = 4 * 2**20
# The last line of a range mostly ends soon.
_BEYOND_BYTES = 64 * 2**10


class Ranges(Protocol):
    """A file that is read by ranges of bytes: on this machine, or in object storage.

    Attributes:
        size_bytes: The file's length.
    """

    size_bytes: int

    def read(self, start: int, end: int) -> bytes:
        """Give the bytes from `start` up to `end`, which is at most `size_bytes`.

        Raises:
            OSError: If they can't be read.
        """


class FileRanges:
    """The ranges of a file on this machine. Its methods may be called by several threads.

    Args:
        path: The file.

    Raises:
        OSError: If there is no such file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.size_bytes = path.stat().st_size

    def read(self, start: int, end: int) -> bytes:
        with self._path.open("rb") as file:
            file.seek(start)
            return file.read(end - start)


class RangesFile(io.RawIOBase):
    """Ranges as a file that can be read and sought, for libraries that want one."""

    def __init__(self, ranges: Ranges) -> None:
        super().__init__()
        self._ranges = ranges
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._ranges.size_bytes}[whence]
        return self._at

    def readinto(self, buffer: Any) -> int:
        end = min(self._at + len(buffer), self._ranges.size_bytes)
        if end <= self._at:
            return 0
        held = self._ranges.read(self._at, end)
        buffer[: len(held)] = held
        self._at += len(held)
        return len(held)


def lines_between(ranges: Ranges, start: int, end: int, *, block_bytes: int = _BLOCK_BYTES) -> Iterator[bytes]:
    r"""Give the lines that begin from byte `start` up to `end`, each with its line end. The last one may reach beyond `end`.

    The lines of ranges that join are the file's lines, each once, as iterating over the file gives them.

    Args:
        ranges: The file.
        start: The first byte of the range.
        end: The byte behind the range.
        block_bytes: Bytes that are read at once, at least 1.

    Raises:
        OSError: If the file can't be read.
        ValueError: If a line is too long, as `check_length` says.
    """
    end = min(end, ranges.size_bytes)
    if start >= end:
        return
    # A line begins at `start` if the byte before it ends one.
    at = max(start - 1, 0)
    lines = _lines(ranges, at, end, block_bytes)
    if start:
        at += len(next(lines, b""))
    for line in lines:
        if at >= end:
            return
        at += len(line)
        yield line


def count_lines(ranges: Ranges, end: int) -> int:
    """Count the lines that begin before byte `end`. Reads the file up to there.

    Raises:
        OSError: If the file can't be read.
    """
    if not end:
        return 0
    blocks = ((at, min(at + _BLOCK_BYTES, end - 1)) for at in range(0, end - 1, _BLOCK_BYTES))
    return 1 + sum(ranges.read(*block).count(b"\n") for block in blocks)


def _lines(ranges: Ranges, start: int, end: int, block_bytes: int) -> Iterator[bytes]:
    """Give the lines from `start` to the end of the file. Few bytes behind `end` are read if the caller stops there."""
    held: list[bytes] = []  # of a line that goes on in the next block: joined once, since a line may have many blocks
    at = start
    while at < ranges.size_bytes:
        most = min(block_bytes, end - at) if at < end else min(block_bytes, _BEYOND_BYTES)
        block = ranges.read(at, min(at + most, ranges.size_bytes))
        if not block:
            raise OSError(f"the file ends at byte {at:,}, but had {ranges.size_bytes:,}: it has changed")
        at += len(block)
        *whole, rest = block.split(b"\n")
        for part in whole:
            yield b"".join([*held, part, b"\n"])
            held = []
        held.append(rest)
        check_length(sum(map(len, held)), f"a line that begins before byte {at:,}")
    if last := b"".join(held):
        yield last
