"""Places -> documents, by ranges of segments. Every record is compared with its checksum, its key and its row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from late_rerank.errors import StoreError
from late_rerank.stores.record import HEADER_BYTES, TRUNCATED, checked_header, layout, one_buffer_each
from late_rerank.stores.remote.keys import Places, RunKeys
from late_rerank.stores.remote.objects import Objects
from late_rerank.types import Bytes, CodecSpec, Fetched


@dataclass(frozen=True, slots=True)
class Answer:
    """Documents, and what went wrong.

    Attributes:
        fetched: The documents; what failed is missing.
        errors: What failed.
        n_damaged: Documents and blocks of keys that don't match their checksums.
        n_read: Ranges that the service gave.
        n_unread: Documents that may be there, and couldn't be read.
    """

    fetched: Fetched
    errors: list[StoreError]
    n_damaged: int
    n_read: int
    n_unread: int


def nothing(codec: CodecSpec, n_keys: int) -> Fetched:
    """Give the answer in which all are missing."""
    return one_buffer_each(codec, [None] * n_keys, [], [])


def read(objects: Objects, runs: Sequence[RunKeys], codec: CodecSpec, keys: Sequence[bytes], places: Places) -> Answer:
    """Read documents where their places say, many at once."""
    here = np.flatnonzero(places.run >= 0)
    rows = places.rows[here]
    sizes = layout(codec.columns, rows["n_tokens"].astype(np.int64), HEADER_BYTES)[1]
    ends = rows["offset"].astype(np.int64) + sizes
    names = [runs[run].run.segments.get(number, "") for run, number in zip(places.run[here], rows["segment"], strict=True)]
    wanted: dict[str, tuple[list[int], list[int]]] = {}
    order: dict[str, list[int]] = {}
    for i in np.argsort(rows["offset"], kind="stable").tolist():
        starts_of, ends_of = wanted.setdefault(names[i], ([], []))
        starts_of.append(int(rows["offset"][i]))
        ends_of.append(int(ends[i]))
        order.setdefault(names[i], []).append(i)
    wanted.pop("", None)  # keys that name a segment which the run hasn't: damaged
    got = objects.fetch(wanted)
    documents: list[Bytes | None] = [None] * len(keys)
    n_damaged = places.n_damaged + len(order.get("", []))
    n_unread = places.n_unread
    for name, buffers in got.buffers.items():
        for i, buffer in zip(order[name], buffers, strict=True):
            position = int(here[i])
            documents[position] = _checked(buffer, keys[position], rows[i])
            n_damaged += buffer is not None and documents[position] is None
            n_unread += buffer is None
    left = [i for i, position in enumerate(here.tolist()) if documents[position] is not None]
    truncated = (rows["flags"][left] & TRUNCATED) != 0
    fetched = one_buffer_each(codec, documents, rows["n_tokens"][left].tolist(), truncated.tolist(), HEADER_BYTES)
    return Answer(fetched, [*places.errors, *got.errors], n_damaged, places.n_read + got.n_read, n_unread)


def _checked(buffer: Any, key: bytes, row: Any) -> Bytes | None:
    """Give the record, if it is whole, undamaged, and the one that its row says."""
    if buffer is None:
        return None
    record = np.frombuffer(buffer, dtype=np.uint8)
    header = checked_header(record)
    if header is None or (header.key, header.size) != (key, len(record)):
        return None
    return record if (header.n_tokens, header.flags) == (int(row["n_tokens"]), int(row["flags"])) else None
