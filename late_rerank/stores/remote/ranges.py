"""Many ranges of several objects, read at once."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from late_rerank.errors import StoreError
from late_rerank.stores.remote.failures import TOO_SHORT, GoneError, RequestError
from late_rerank.stores.remote.library import native, reason, turns

# Ranges closer than this are read in one request: 64 KiB take less time than a request.
_COALESCE_BYTES = 2**16
# The library sends ten requests at once for one call; so ten calls of ten ranges each take as long as one.
_RANGES_A_CALL = 10

Wanted = Mapping[str, tuple[Sequence[int], Sequence[int]]]


@dataclass(frozen=True, slots=True)
class Read:
    """What came of ranges.

    Attributes:
        buffers: By object, a buffer for each asked range, or None where it couldn't be read.
        errors: What failed, a line for each call.
    """

    buffers: dict[str, list[Any]]
    errors: list[StoreError]

    @property
    def n_read(self) -> int:
        """How many ranges were read."""
        return sum(buffer is not None for buffers in self.buffers.values() for buffer in buffers)


async def read_ranges(store: Any, url: str, wanted: Wanted) -> Read:
    """Read ranges, as many as can be read.

    Args:
        store: The library's.
        url: Of the store, for messages.
        wanted: For each object where the ranges start, ascending, and where they end.
    """
    calls = [
        (name, starts[first : first + _RANGES_A_CALL], ends[first : first + _RANGES_A_CALL])
        for name, (starts, ends) in wanted.items()
        for first in range(0, len(starts), _RANGES_A_CALL)
    ]
    parts = await asyncio.gather(*(_call(store, url, *call) for call in calls))
    read = Read({name: [] for name in wanted}, [part for part in parts if isinstance(part, StoreError)])
    for (name, starts, _), part in zip(calls, parts, strict=True):
        read.buffers[name] += [None] * len(starts) if isinstance(part, StoreError) else part
    return read


async def _call(store: Any, url: str, name: str, starts: Sequence[int], ends: Sequence[int]) -> list[Any] | StoreError:
    library = native()
    try:
        async with turns().taken(len(starts)):
            got = await library.get_ranges_async(store, name, starts=starts, ends=ends, coalesce=_COALESCE_BYTES)
    except FileNotFoundError:
        return GoneError(url, name)
    except (library.exceptions.BaseError, OSError, ValueError) as error:
        return RequestError(url, f"reading: {reason(error)}")
    if [len(part) for part in got] != [end - start for start, end in zip(starts, ends, strict=True)]:
        return RequestError(url, f"reading {name}: {TOO_SHORT}")
    return list(got)
