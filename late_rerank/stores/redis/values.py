"""Values as Redis gave them -> fetched documents, read in place; what is no record of its key is none."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from late_rerank.stores.record import (
    HEADER_BYTES,
    SEAL,
    TOMBSTONE,
    TRUNCATED,
    Header,
    checked_header,
    layout,
    one_buffer_each,
    read_header,
)
from late_rerank.types import Bytes, CodecSpec, Fetched


def read_values(codec: CodecSpec, keys: Sequence[bytes], values: Sequence[bytes | None], *, check: bool) -> tuple[Fetched, int]:
    """What a space found.

    Args:
        codec: Of the space.
        keys: As asked for.
        values: One a key; None where there is none.
        check: Compare checksums too.

    Returns:
        The documents, over the memory of `values`, and how many values were damaged, which are missing.
    """
    headers = [_header(key, value, check=check) for key, value in zip(keys, values, strict=True)]
    fits = _fitting(codec, headers)
    documents: list[Bytes | None] = [
        np.frombuffer(value, dtype=np.uint8) if value is not None and fit else None
        for value, fit in zip(values, fits, strict=True)
    ]
    good = [header for header, fit in zip(headers, fits, strict=True) if header is not None and fit]
    lengths = [header.n_tokens for header in good]
    truncated = [bool(header.flags & TRUNCATED) for header in good]
    n_damaged = sum(value is not None for value in values) - len(good)
    return one_buffer_each(codec, documents, lengths, truncated, start=HEADER_BYTES), n_damaged


def _header(key: bytes, value: bytes | None, *, check: bool) -> Header | None:
    """The value's header, if the value is a record of that key; whether its size fits its tokens is not yet known."""
    if value is None:
        return None
    record = np.frombuffer(value, dtype=np.uint8)
    header = checked_header(record) if check else read_header(record)
    if header is None or header.key != key or header.size != len(value) or header.flags & (TOMBSTONE | SEAL):
        return None
    return header


def _fitting(codec: CodecSpec, headers: Sequence[Header | None]) -> list[bool]:
    """Whether each record is as long as its tokens say, computed at once: a kernel trusts lengths."""
    # A token takes at least a byte; more tokens than that would overflow below, and are damage.
    counts = [header.n_tokens if header and header.n_tokens <= header.size else -1 for header in headers]
    ends = layout(codec.columns, np.array(counts, dtype=np.int64), HEADER_BYTES)[1].tolist()
    return [
        header is not None and count >= 0 and end == header.size
        for header, count, end in zip(headers, counts, ends, strict=True)
    ]
