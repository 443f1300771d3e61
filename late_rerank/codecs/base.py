"""The base class of codecs. Its law is `late_rerank.testing.CodecTests`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from late_rerank.errors import IncompatibleError
from late_rerank.types import F32, Bytes, CodecSpec, PackedVectors, TokenVectors


class Codec(ABC):
    """Packs token vectors into fewer bytes. Each document is packed on its own: no training, no shared tables.

    Attributes:
        name: The registered name. Every store keeps it. Bytes of one name and config never change their meaning.
        centre: (dim,) float32. A vector is the sum of the centre and what `unpack` gives. Most codecs have no centre: None.
    """

    name: ClassVar[str]
    centre: F32 | None = None

    @abstractmethod
    def spec(self, dim: int) -> CodecSpec:
        """Say how vectors of `dim` components are laid out. Equal specs mean that bytes can be exchanged."""

    @abstractmethod
    def encode_columns(self, values: F32) -> Mapping[str, NDArray[np.generic]]:
        """Pack rows.

        Args:
            values: (n_tokens, dim) float32.

        Returns:
            For each column of the spec an array of n_tokens rows. Any dtype; C-contiguous.
        """

    @abstractmethod
    def unpack(self, columns: Mapping[str, Bytes], dim: int) -> tuple[NDArray[Any], F32 | None]:
        """Unpack rows as far as kernels need them: to numbers that are neither scaled nor rotated back.

        Args:
            columns: For each column of the spec its bytes, 1-d uint8.
            dim: Components of one token vector.

        Returns:
            (n_tokens, dim) numbers, and the (n_tokens,) float32 scales of the rows. The scales are None if the rows need no
            scale. The rows are rotated if the codec rotates. They are differences to the centre if the codec has one.
        """

    def rotate(self, values: F32) -> F32:
        """Rotate vectors (n, dim) float32, so that a query matches rows of `unpack`. Most codecs don't rotate."""
        return values

    def rotate_back(self, values: F32) -> F32:
        """Undo `rotate`."""
        return values

    def encode(self, vectors: TokenVectors) -> PackedVectors:
        """Pack documents into one new buffer, column after column.

        Returns:
            The same documents in the same order. They share no memory with `vectors`.
        """
        spec = self.spec(vectors.dim)
        columns = self.encode_columns(vectors.values)
        starts, size = {}, 0
        for name, width in spec.columns.items():
            starts[name] = size + vectors.offsets[:-1] * width
            size = align(size + len(vectors.values) * width)
        buffer = np.empty(size, dtype=np.uint8)
        for name, width in spec.columns.items():
            start = size if len(vectors) == 0 else starts[name][0]
            packed = np.ascontiguousarray(columns[name]).reshape(-1).view(np.uint8)
            buffer[start : start + len(vectors.values) * width] = packed
        which = np.zeros(len(vectors), dtype=np.int32)
        return PackedVectors(spec, (buffer,), which, starts, vectors.lengths, vectors.truncated.copy())

    def decode(self, packed: PackedVectors) -> TokenVectors:
        """Unpack documents.

        Returns:
            The same documents in the same order, within the codec's stated error.

        Raises:
            IncompatibleError: If another codec wrote `packed`.
        """
        spec = packed.codec
        if spec != self.spec(spec.dim):
            raise IncompatibleError(f"{self.name} can't decode vectors packed as {spec}")
        columns = {
            name: np.concatenate([packed.column(name, i) for i in range(len(packed))] or [np.empty(0, np.uint8)])
            for name in spec.columns
        }
        offsets = np.zeros(len(packed) + 1, dtype=np.int64)
        np.cumsum(packed.lengths, out=offsets[1:])
        rows, scales = self.unpack(columns, spec.dim)
        values = rows.astype(np.float32, copy=False)
        values = self.rotate_back(values if scales is None else values * scales[:, None])
        if self.centre is not None:
            values += self.centre
        return TokenVectors(values, offsets, packed.truncated.copy())


def align(size: int) -> int:
    """Round up to 64 bytes, a cache line and the widest register, so that a column can be viewed as any dtype."""
    return -(-size // 64) * 64
