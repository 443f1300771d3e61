"""What a database gives -> float rows, checked: a document is (n_tokens, dim) float32 or float16."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from late_rerank.errors import StoreFormatError
from late_rerank.types import TokenVectors

Rows: TypeAlias = NDArray[Any]
"""One document's token vectors, (n_tokens, dim) float32 or float16."""

# An array of Postgres, sent in binary: its number of dimensions, whether it has NULLs, the type of its elements; then the
# length and the first index of each dimension; then the elements, each after its length. All are of 4 bytes, the highest first.
_HEAD_WORDS, _WORDS_A_DIMENSION = 3, 2
_FLOAT4 = 700

_WHOLE = re.compile(r"[+-]?[0-9]{1,19}")


def from_bytes(value: bytes | memoryview, dtype: np.dtype[Any], dim: int, name: str) -> Rows:
    """Read rows that lie one after the other in bytes, lowest byte first.

    Raises:
        StoreFormatError: If the bytes aren't whole rows.
    """
    width = dtype.itemsize * dim
    if len(value) % width:
        raise StoreFormatError(
            f"row {name!r:.60} has {len(value):,} bytes, which aren't whole vectors of {dim} components of {dtype}, "
            f"{width} bytes each: check dim and dtype"
        )
    return np.frombuffer(value, dtype=dtype.newbyteorder("<")).reshape(-1, dim)


def from_sent_array(value: bytes | memoryview, dim: int, name: str) -> Rows:
    """Read rows from an array of Postgres, real[] of any shape, as `array_send` gives it.

    Raises:
        StoreFormatError: If it isn't an array of real numbers in whole rows.
    """
    words = np.frombuffer(value, dtype=">u4")
    n_dimensions, has_nulls, kind = (int(word) for word in words[:_HEAD_WORDS])
    body = words[_HEAD_WORDS + _WORDS_A_DIMENSION * n_dimensions :]
    if kind != _FLOAT4 or has_nulls:
        raise StoreFormatError(f"row {name!r:.60} must be an array of real numbers without NULL, got elements of type {kind}")
    numbers = body.reshape(-1, 2)[:, 1].astype("<u4").view(np.float32)
    inner = int(words[_HEAD_WORDS + _WORDS_A_DIMENSION * (n_dimensions - 1)]) if n_dimensions > 1 else dim
    if inner != dim or len(numbers) % dim:
        raise StoreFormatError(
            f"row {name!r:.60} has {len(numbers):,} numbers in rows of {inner}, which aren't whole vectors of {dim} components"
        )
    return numbers.reshape(-1, dim)


def whole_number(row: Any, bits: int) -> str | None:
    """Write a row's name as a column of whole numbers of so many bits gives it. None if it holds no such number."""
    name = str(row).strip()
    if not _WHOLE.fullmatch(name) or not -(1 << (bits - 1)) <= int(name) < 1 << (bits - 1):
        return None
    return str(int(name))


def joined(fetched: Mapping[str, Rows], dim: int, place: str) -> TokenVectors:
    """Join documents, in order.

    Raises:
        StoreFormatError: If a row holds vectors of another width, or NaN or infinity; names it.
    """
    for name, rows in fetched.items():
        if rows.ndim != 2 or rows.shape[1] != dim:
            raise StoreFormatError(f"row {name!r:.60} of {place} has the shape {rows.shape}, expected (n_tokens, {dim})")
    vectors = TokenVectors.from_arrays(list(fetched.values()), dim)
    with np.errstate(invalid="ignore", over="ignore"):
        # A sum is finite only if every component is: one pass, no temporary, and ten times as fast as in float64.
        if np.isfinite(vectors.values.sum(dtype=np.float32)):
            return vectors
    for name, rows in fetched.items():
        if not np.isfinite(rows).all():
            raise StoreFormatError(f"row {name!r:.60} of {place} holds NaN or infinity: mend it where the table is filled")
    return vectors  # of large components, whose sum alone is beyond float32
