"""Keys of runs, looked up where they lie: a header and a fence for each run are read once, then single blocks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from late_rerank.errors import StoreError, StoreFormatError
from late_rerank.stores.keys_blocks import (
    BLOCK_BYTES,
    FIRST_BYTES,
    ROW,
    ROWS_A_BLOCK,
    Asked,
    Fence,
    Rows,
    find_rows,
    parse_header,
    rows_of,
)
from late_rerank.stores.record import TOMBSTONE
from late_rerank.stores.remote.objects import Objects
from late_rerank.stores.remote.ranges import Wanted
from late_rerank.stores.remote.runs import Run
from late_rerank.types import I64

# Keys of few documents are read whole when they are opened: then finding a document takes no request of its own. So many bytes
# in all, since a store may have many small runs.
_WHOLE_BYTES = 512 * 1024
_BLOCKS_AT_ONCE = 1024


@dataclass(frozen=True, slots=True)
class RunKeys:
    """The keys of one run.

    Attributes:
        run: The run.
        fence: Which block holds which keys.
        blocks: The blocks' bytes, if all of them were read.
    """

    run: Run
    fence: Fence
    blocks: memoryview | None = None


@dataclass(slots=True)
class Places:
    """Where documents lie.

    Attributes:
        run: (n_keys,) int64, the position of each key's run; -1 where the document isn't here.
        rows: (n_keys,) ROW; zeros where the document isn't here.
        errors: What failed; keys that may lie in unread blocks count as missing.
        n_damaged: Blocks that don't match their checksums.
        n_read: Blocks that the service gave.
        n_unread: Keys that may lie in blocks that couldn't be read.
    """

    run: I64
    rows: Rows
    errors: list[StoreError] = field(default_factory=list)
    n_damaged: int = 0
    n_read: int = 0
    n_unread: int = 0


def open_keys(objects: Objects, runs: Sequence[Run]) -> list[RunKeys]:
    """Read what is needed of each run's keys to look documents up: 82 KB for a million keys, in one round trip.

    Raises:
        GoneError: If one isn't there any more.
        StoreConnectionError: If the service can't be reached.
        StoreFormatError: If one is damaged.
    """
    wanted, left = {}, _WHOLE_BYTES
    for run in runs:
        is_whole = run.keys_bytes <= left
        left -= run.keys_bytes if is_whole else 0
        wanted[run.keys] = _first_ranges(run, is_whole=is_whole)
    parts = objects.ranges_of(wanted)
    return [_opened(objects, run, wanted[run.keys][0], parts[run.keys]) for run in runs]


def _first_ranges(run: Run, *, is_whole: bool) -> tuple[list[int], list[int]]:
    """Guess where header and tail lie; the guess is wrong only if the space's name is very long."""
    if is_whole:
        return [0], [run.keys_bytes]
    n_blocks = -(-(run.n_documents + run.n_deleted) // ROWS_A_BLOCK)
    return [0, FIRST_BYTES + n_blocks * BLOCK_BYTES], [FIRST_BYTES, run.keys_bytes]


def _opened(objects: Objects, run: Run, starts: Sequence[int], parts: Sequence[Any]) -> RunKeys:
    where = f"{objects.url}/{run.keys}"
    first = memoryview(parts[0])
    try:
        header = parse_header(first, where)
    except StoreFormatError:
        if len(parts) == 1:
            raise
        header = parse_header(objects.ranges(run.keys, [0], [starts[1]])[0], where)
    if header.space != run.space or header.size_bytes != run.keys_bytes:
        raise StoreFormatError(f"{where} isn't as the manifest says: it has other keys, or another space's")
    start, end = header.tail
    if len(parts) == 1:
        return RunKeys(run, Fence(header, first[start:end], where), first[header.size : start])
    tail = parts[1] if starts[1] == start else objects.ranges(run.keys, [start], [end])[0]
    return RunKeys(run, Fence(header, memoryview(tail), where))


def find(objects: Objects, runs: Sequence[RunKeys], keys: Sequence[bytes]) -> Places:
    """Find where documents lie, in one round trip for all runs. The first run that has a key counts.

    Args:
        objects: Of the store.
        runs: Of one space, newest first.
        keys: As asked.
    """
    places = Places(np.full(len(keys), -1, dtype=np.int64), np.zeros(len(keys), dtype=ROW))
    asked = [known.fence.blocks_of(keys) for known in runs]
    read = objects.fetch(_blocks_to_read(runs, asked))
    places.errors += read.errors
    places.n_read = read.n_read
    is_unread = np.zeros(len(keys), dtype=np.bool_)
    is_open = np.ones(len(keys), dtype=np.bool_)
    for position, (known, pairs) in enumerate(zip(runs, asked, strict=True)):
        numbers = pairs.blocks()
        raw, numbers = _bytes_of(known, numbers, read.buffers.get(known.run.keys, []))
        found = find_rows(keys, pairs, numbers, raw)
        places.n_damaged += len(found.damaged)
        here = is_open[found.key]
        places.run[found.key[here]] = position
        places.rows[found.key[here]] = found.rows[here]
        is_open[found.key] = False
        # A block that can't be read may hold a newer document, or a tombstone, so that older runs mustn't answer.
        unread = ~np.isin(pairs.block, numbers)
        is_unread[pairs.key[unread]] |= is_open[pairs.key[unread]]
        is_open[pairs.key[unread | np.isin(pairs.block, found.damaged)]] = False
    places.run[(places.rows["flags"] & TOMBSTONE) != 0] = -1
    places.n_unread = int(is_unread.sum())
    return places


def _blocks_to_read(runs: Sequence[RunKeys], asked: Sequence[Asked]) -> Wanted:
    wanted = {}
    for known, pairs in zip(runs, asked, strict=True):
        numbers = pairs.blocks()
        if known.blocks is None and len(numbers):
            starts = known.fence.header.size + numbers * BLOCK_BYTES
            wanted[known.run.keys] = (starts.tolist(), (starts + BLOCK_BYTES).tolist())
    return wanted


def _bytes_of(known: RunKeys, numbers: I64, buffers: Sequence[Any]) -> tuple[bytes, I64]:
    """Join the blocks that were read. Returns them, and their numbers."""
    if known.blocks is not None:
        whole = np.frombuffer(known.blocks, dtype=np.uint8).reshape(-1, BLOCK_BYTES)
        return whole[numbers].tobytes(), numbers
    is_read: NDArray[np.bool_] = np.array([buffer is not None for buffer in buffers], dtype=np.bool_)
    return b"".join(memoryview(buffer) for buffer in buffers if buffer is not None), numbers[is_read]


def every_row(objects: Objects, known: RunKeys) -> Iterator[Rows]:
    """Give all rows of a run, sorted by key, some megabytes at a time.

    Raises:
        StoreFormatError: If a block is damaged.
        StoreError: If it can't be read.
    """
    header = known.fence.header
    for first in range(0, header.n_blocks, _BLOCKS_AT_ONCE):
        numbers = np.arange(first, min(first + _BLOCKS_AT_ONCE, header.n_blocks), dtype=np.int64)
        start, end = header.span(first)[0], header.span(int(numbers[-1]))[1]
        raw = memoryview(objects.ranges(known.run.keys, [start], [end])[0])
        rows, damaged = rows_of(numbers, raw)
        if damaged:
            raise StoreFormatError(
                f"{objects.url}/{known.run.keys} is damaged in block {damaged[0]}; publish again what it held"
            )
        yield rows
