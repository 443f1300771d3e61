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
    """The token vectors of several texts, one text after the other. There is no padding and no mask.

    Attributes:
        values: (n_tokens, dim) float32. Every encoder of ours L2-normalises the rows.
        offsets: (n_texts + 1,) int64, from 0 to n_tokens. Text i owns the rows offsets[i] to offsets[i + 1].
        truncated: (n_texts,) bool: whether tokens of text i were cut. If it is left out, all are False.
        unknown: (n_texts,) bool: whether the tokenizer doesn't know some token of text i. If it is left out, all are False.
            Encoders tell it of queries alone.

    Raises:
        ValueError: If a shape or dtype is wrong. Also if the offsets decrease or don't span the rows.
    """

    values: F32
    offsets: I64
    truncated: NDArray[np.bool_] = field(default_factory=lambda: np.empty(0, dtype=np.bool_))
    unknown: NDArray[np.bool_] = field(default_factory=lambda: np.empty(0, dtype=np.bool_))

    def __post_init__(self) -> None:
        values, offsets = self.values, self.offsets
        if values.ndim != 2 or values.dtype != np.float32:
            raise ValueError(f"values must be (n_tokens, dim) float32, got shape {values.shape} {values.dtype}")
        if offsets.ndim != 1 or offsets.dtype != np.int64 or len(offsets) == 0:
            raise ValueError(f"offsets must be (n_texts + 1,) int64, got shape {offsets.shape} {offsets.dtype}")
        if offsets[0] != 0 or offsets[-1] != len(values) or (np.diff(offsets) < 0).any():
            raise ValueError(f"offsets must rise from 0 to {len(values)} (the rows of values), got {offsets[:8]}...")
        self._fill("truncated", self.truncated)
        self._fill("unknown", self.unknown)

    def _fill(self, name: str, marks: NDArray[np.bool_]) -> None:
        n_texts = len(self.offsets) - 1
        if len(marks) == 0:
            object.__setattr__(self, name, np.zeros(n_texts, dtype=np.bool_))
        elif marks.shape != (n_texts,) or marks.dtype != np.bool_:
            raise ValueError(f"{name} must be ({n_texts},) bool, got shape {marks.shape}")

    @classmethod
    def from_arrays(
        cls,
        arrays: Sequence[F32],
        dim: int,
        truncated: Sequence[bool] | None = None,
        unknown: Sequence[bool] | None = None,
    ) -> TokenVectors:
        """Join (n_tokens, dim) arrays, one for each text. `dim` gives the width if there are no arrays."""
        offsets = np.zeros(len(arrays) + 1, dtype=np.int64)
        np.cumsum([len(array) for array in arrays], out=offsets[1:])
        values = np.concatenate(arrays, dtype=np.float32) if arrays else np.empty((0, dim), dtype=np.float32)
        return cls(values, offsets, np.array(truncated or (), dtype=np.bool_), np.array(unknown or (), dtype=np.bool_))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def dim(self) -> int:
        """The number of components of one token vector."""
        return int(self.values.shape[1])

    @property
    def lengths(self) -> I64:
        """The tokens of each text: (n_texts,) int64."""
        return np.diff(self.offsets)

    def rows(self, index: int) -> F32:
        """Give the rows of text `index` as a view: (n_tokens, dim) float32."""
        return self.values[self.offsets[index] : self.offsets[index + 1]]

    def one(self, index: int) -> TokenVectors:
        """Give text `index` alone, as a view."""
        if len(self) == 1 and index == 0:
            return self
        rows = self.rows(index)
        marks = (self.truncated[index : index + 1], self.unknown[index : index + 1])
        return TokenVectors(rows, np.array([0, len(rows)], dtype=np.int64), *marks)


@dataclass(frozen=True, slots=True)
class QueryVectors:
    """The token vectors of one query, with the query and a digest of what made them. They can be used again for that query.

    Attributes:
        query: The query.
        fingerprint: The fingerprint of the encoder that made them, or of the query encoder that made them in its place.
        vectors: The token vectors of one text, the query.
    """

    query: str
    fingerprint: str
    vectors: TokenVectors


@dataclass(frozen=True)
class CodecSpec:
    """How a codec lays out its bytes. It is all that a store keeps of a codec.

    The spec is enough to find the codec again, also after JSON.

    Attributes:
        name: The codec's registered name.
        dim: Components of one token vector before packing.
        columns: Bytes per token of each column, in the order in which a stored document holds the columns.
        config: Anything else that the bytes depend on, such as a seed. JSON values only.
    """

    name: str
    dim: int
    columns: Mapping[str, int]
    config: Mapping[str, Any] = field(default_factory=dict)

    @property
    def bytes_per_token(self) -> int:
        """Bytes of one token in all columns, without alignment."""
        return sum(self.columns.values())


@dataclass(frozen=True, slots=True)
class PackedVectors:
    """Packed documents in place: in a codec's output, a store's memory or a mapped file. No bytes are copied.

    Attributes:
        codec: How to read the bytes.
        buffers: 1-d uint8 arrays. This object keeps them alive.
        buffer: (n_documents,) int32: which buffer holds document i.
        starts: For each column of the codec, (n_documents,) int64: the byte offset in that buffer. A column of document i is
            lengths[i] * codec.columns[column] bytes in a row.
        lengths: (n_documents,) int64: the tokens of each document.
        truncated: (n_documents,) bool: whether tokens of document i were cut.
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
        """The tokens of all documents."""
        return int(self.lengths.sum())

    @property
    def size_bytes(self) -> int:
        """The bytes of all documents' columns, without alignment."""
        return self.n_tokens * self.codec.bytes_per_token

    def column(self, name: str, index: int) -> Bytes:
        """Give one column of document `index` as a view: (lengths[index] * bytes per token,) uint8."""
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
            n_tokens: The most tokens of each document.
        """
        return replace(self, lengths=np.minimum(self.lengths, n_tokens), truncated=self.truncated | (self.lengths > n_tokens))

    def runs(self, documents: I64, first: I64, lengths: I64) -> PackedVectors:
        """Make each run of tokens a document of its own, over the same buffers.

        Args:
            documents: (n_runs,) int64: the document of each run.
            first: (n_runs,) int64: each run's first token in its document.
            lengths: (n_runs,) int64: the tokens of each run. A run lies within its document.
        """
        starts = {name: self.starts[name][documents] + first * width for name, width in self.codec.columns.items()}
        return PackedVectors(self.codec, self.buffers, self.buffer[documents], starts, lengths, self.truncated[documents])


@dataclass(frozen=True, slots=True)
class Fetched:
    """The answer of a space to the keys that it was asked for.

    Attributes:
        found: The documents that the space held, in the order of the keys.
        positions: (len(found),) int64, ascending: the position of each found document among the asked keys.
        missing: int64, ascending: the positions of the asked keys that the space didn't hold.
    """

    found: PackedVectors
    positions: I64
    missing: I64
