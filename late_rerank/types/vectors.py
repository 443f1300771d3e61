"""Token vectors, as floats and packed: TokenVectors, QueryVectors, CodecSpec, PackedVectors, Fetched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from late_rerank.types.arrays import F32, I64, Bytes


@dataclass(frozen=True, slots=True)
class TokenVectors:
    """The token vectors of several texts, end to end: ragged, so there is no padding and no mask.

    Attributes:
        values: (n_tokens, dim) float32, L2-normalised by every encoder of ours.
        offsets: (n_texts + 1,) int64, from 0 to n_tokens; text i owns rows offsets[i] to offsets[i + 1].
        truncated: (n_texts,) bool, whether tokens of text i were cut. All False where left out.

    Raises:
        ValueError: If shapes or dtypes are not these, or offsets decrease or don't span the rows.
    """

    values: F32
    offsets: I64
    truncated: NDArray[np.bool_] = field(default_factory=lambda: np.empty(0, dtype=np.bool_))

    def __post_init__(self) -> None:
        values, offsets = self.values, self.offsets
        if values.ndim != 2 or values.dtype != np.float32:
            raise ValueError(f"values must be (n_tokens, dim) float32, got shape {values.shape} {values.dtype}")
        if offsets.ndim != 1 or offsets.dtype != np.int64 or len(offsets) == 0:
            raise ValueError(f"offsets must be (n_texts + 1,) int64, got shape {offsets.shape} {offsets.dtype}")
        if offsets[0] != 0 or offsets[-1] != len(values) or (np.diff(offsets) < 0).any():
            raise ValueError(f"offsets must rise from 0 to {len(values)} (the rows of values), got {offsets[:8]}...")
        if len(self.truncated) == 0:
            object.__setattr__(self, "truncated", np.zeros(len(offsets) - 1, dtype=np.bool_))
        if self.truncated.shape != (len(offsets) - 1,) or self.truncated.dtype != np.bool_:
            raise ValueError(f"truncated must be ({len(offsets) - 1},) bool, got shape {self.truncated.shape}")

    @classmethod
    def from_arrays(cls, arrays: Sequence[F32], dim: int, truncated: Sequence[bool] | None = None) -> TokenVectors:
        """Join one (n_tokens, dim) array a text. `dim` says the width when there are none."""
        offsets = np.zeros(len(arrays) + 1, dtype=np.int64)
        np.cumsum([len(array) for array in arrays], out=offsets[1:])
        values = np.concatenate(arrays, dtype=np.float32) if arrays else np.empty((0, dim), dtype=np.float32)
        return cls(values, offsets, np.array(truncated or (), dtype=np.bool_))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def dim(self) -> int:
        """Components of one token vector."""
        return int(self.values.shape[1])

    @property
    def lengths(self) -> I64:
        """(n_texts,) int64, in tokens."""
        return np.diff(self.offsets)

    def rows(self, index: int) -> F32:
        """Give the rows of text `index`, (n_tokens, dim) float32, a view."""
        return self.values[self.offsets[index] : self.offsets[index + 1]]

    def one(self, index: int) -> TokenVectors:
        """Give text `index` alone, a view."""
        if len(self) == 1 and index == 0:
            return self
        rows = self.rows(index)
        return TokenVectors(rows, np.array([0, len(rows)], dtype=np.int64), self.truncated[index : index + 1])


@dataclass(frozen=True, slots=True)
class QueryVectors:
    """The token vectors of one query, with what they were made of: they can be used again for it.

    Attributes:
        query: The query.
        fingerprint: Of the encoder that made them.
        vectors: One text.
    """

    query: str
    fingerprint: str
    vectors: TokenVectors


@dataclass(frozen=True)
class CodecSpec:
    """How a codec lays out its bytes: all that a store keeps of it, and all that JSON needs to find it again.

    Attributes:
        name: The codec's registered name.
        dim: Components of one token vector before packing.
        columns: Bytes per token of each column, in the order in which a stored document holds them.
        config: What else the bytes depend on (a seed, say). JSON values only.
    """

    name: str
    dim: int
    columns: Mapping[str, int]
    config: Mapping[str, Any] = field(default_factory=dict)

    @property
    def bytes_per_token(self) -> int:
        """Over all columns, without alignment."""
        return sum(self.columns.values())


@dataclass(frozen=True, slots=True)
class PackedVectors:
    """Packed documents where they lie: in a codec's output, a store's arena or a mapped file. Nothing is copied.

    Attributes:
        codec: How to read the bytes.
        buffers: 1-d uint8 arrays, kept alive by this object.
        buffer: (n_documents,) int32, which buffer holds document i.
        starts: For each column of the codec, (n_documents,) int64: byte offset in that buffer. A column of document i
            is lengths[i] * codec.columns[column] bytes, contiguous.
        lengths: (n_documents,) int64, in tokens.
        truncated: (n_documents,) bool.
    """

    codec: CodecSpec
    buffers: tuple[Bytes, ...]
    buffer: NDArray[np.int32]
    starts: Mapping[str, I64]
    lengths: I64
    truncated: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def n_tokens(self) -> int:
        """Over all documents."""
        return int(self.lengths.sum())

    @property
    def size_bytes(self) -> int:
        """Bytes of the documents' columns, without alignment."""
        return self.n_tokens * self.codec.bytes_per_token

    def column(self, name: str, index: int) -> Bytes:
        """One column of document `index`: (lengths[index] * bytes per token,) uint8, a view."""
        buffer: Bytes = self.buffers[self.buffer[index]]
        start = self.starts[name][index]
        return buffer[start : start + self.lengths[index] * self.codec.columns[name]]

    def take(self, positions: I64 | slice) -> PackedVectors:
        """Give the documents at `positions`, in that order, over the same buffers."""
        starts = {name: column[positions] for name, column in self.starts.items()}
        lengths, truncated = self.lengths[positions], self.truncated[positions]
        return PackedVectors(self.codec, self.buffers, self.buffer[positions], starts, lengths, truncated)

    def first(self, n_tokens: int) -> PackedVectors:
        """Give the first tokens of each document, over the same buffers.

        Args:
            n_tokens: At most so many of each document.
        """
        return replace(self, lengths=np.minimum(self.lengths, n_tokens), truncated=self.truncated | (self.lengths > n_tokens))

    def runs(self, documents: I64, first: I64, lengths: I64) -> PackedVectors:
        """Make runs of tokens documents of their own, over the same buffers.

        Args:
            documents: (n_runs,) int64, whose tokens.
            first: (n_runs,) int64, each run's first token in its document.
            lengths: (n_runs,) int64, in tokens; a run lies within its document.
        """
        starts = {name: self.starts[name][documents] + first * width for name, width in self.codec.columns.items()}
        return PackedVectors(self.codec, self.buffers, self.buffer[documents], starts, lengths, self.truncated[documents])


@dataclass(frozen=True, slots=True)
class Fetched:
    """What a space held of the keys that it was asked for.

    Attributes:
        found: The documents it held, in the order of the keys.
        positions: (len(found),) int64, ascending: which of the asked keys each one is.
        missing: int64, ascending: positions of the asked keys that it did not hold.
    """

    found: PackedVectors
    positions: I64
    missing: I64
