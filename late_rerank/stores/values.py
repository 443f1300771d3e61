"""Documents in parts that a server takes at once; its values -> fetched documents, read in place, damaged ones missing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from late_rerank.stores.record import (
    HEADER_BYTES,
    MAGIC,
    SEAL,
    TOMBSTONE,
    TRUNCATED,
    checked_header,
    layout,
    one_buffer_each,
    read_headers,
)
from late_rerank.types import Bytes, CodecSpec, Fetched, PackedVectors


def read_values(codec: CodecSpec, keys: Sequence[bytes], values: Sequence[bytes | None], *, check: bool) -> tuple[Fetched, int]:
    """Make a space's Fetched of a server's values.

    Args:
        codec: Of the space.
        keys: As asked for.
        values: One a key; None where there is none.
        check: Compare checksums too.

    Returns:
        The documents, over the memory of `values`, and how many values were damaged, which are missing.
    """
    there = [i for i, value in enumerate(values) if value is not None]
    found = [value for value in values if value is not None]
    headers = read_headers([value[:HEADER_BYTES].ljust(HEADER_BYTES, b"\0") for value in found])
    whole = _whole(codec, [keys[i] for i in there], found, headers)
    if check:
        whole &= np.array([checked_header(np.frombuffer(value, np.uint8)) is not None for value in found], dtype=np.bool_)
    documents: list[Bytes | None] = [None] * len(values)
    for i, value, good in zip(there, found, whole.tolist(), strict=True):
        if good:
            documents[i] = np.frombuffer(value, dtype=np.uint8)
    headers = headers[whole]
    truncated = (headers["flags"] & TRUNCATED != 0).tolist()
    fetched = one_buffer_each(codec, documents, headers["n_tokens"].tolist(), truncated, start=HEADER_BYTES)
    return fetched, len(found) - len(headers)


def parts_of(packed: PackedVectors, most_bytes: int, most_documents: int | None = None) -> Iterator[slice]:
    """Cut documents into slices of some megabytes: a put of a thousand long documents must not double its memory."""
    sizes = layout(packed.codec.columns, packed.lengths, HEADER_BYTES)[1].tolist()
    start = size = 0
    for i, more in enumerate(sizes):
        if i > start and (size + more > most_bytes or i - start == most_documents):
            yield slice(start, i)
            start, size = i, 0
        size += more
    if sizes:
        yield slice(start, len(sizes))


def _whole(codec: CodecSpec, keys: Sequence[bytes], values: Sequence[bytes], headers: NDArray[np.void]) -> NDArray[np.bool_]:
    """Whether each value is a record of that key and as long as its tokens say: a kernel trusts lengths."""
    size, n_tokens = headers["size"].astype(np.int64), headers["n_tokens"].astype(np.int64)
    # A token takes at least a byte. More tokens than bytes would overflow below, and are damage.
    possible = (n_tokens >= 0) & (n_tokens <= size)
    ends = layout(codec.columns, np.where(possible, n_tokens, 0), HEADER_BYTES)[1]
    lengths = np.array([len(value) for value in values], dtype=np.int64)
    named = np.array([found == key for found, key in zip(headers["key"].tolist(), keys, strict=True)], dtype=np.bool_)
    document = (headers["magic"] == MAGIC) & (headers["flags"] & (TOMBSTONE | SEAL) == 0)
    whole: NDArray[np.bool_] = possible & (size == lengths) & (size == ends) & document & named
    return whole
