"""int4 and binary: vectors are rotated, then packed into few bits a component, with a scale for each token."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from late_rerank.codecs.base import Codec
from late_rerank.codecs.centre import CENTRE, Centre, balanced
from late_rerank.codecs.rotation import N_ROUNDS, rotation
from late_rerank.errors import IncompatibleError
from late_rerank.types import F32, Bytes, CodecSpec

# Sums of a rotation of up to 65,536 such components stay finite.
_LARGEST = 1e30

# Rows packed at once. This bounds the temporary arrays, which are several times as large as the codes.
_CHUNK = 1024


class RotatedCodec(Codec):
    """Rotates each vector, rounds its components to small odd integers, and scales them. Dot products are unbiased.

    A token v with integers c has the scale v.v / v.c. Then (scale c).v = v.v, so a token's match with itself is exact. Other
    products are unbiased. The scale v.c / c.c would give the nearest vector, but it would shrink every product, binary's by a
    third. MaxSim of MiniLM vectors would be .13 a query token too low. With v.v / v.c it is .02 too high.

    Source: Gao and Long 2024 (RaBitQ), equation 12, for the estimator.
    """

    bits: ClassVar[int]
    SEED = 0

    def spec(self, dim: int) -> CodecSpec:
        config = {"rotation": "signs-hadamard-permutation", "n_rounds": N_ROUNDS, "seed": self.SEED}
        return CodecSpec(self.name, dim, {"codes": -(-dim * self.bits // 8), "scales": 4}, config)

    def rotate(self, values: F32) -> F32:
        return rotation(self.SEED, values.shape[1]).rotate(values)

    def rotate_back(self, values: F32) -> F32:
        return rotation(self.SEED, values.shape[1]).rotate_back(values)

    def encode_columns(self, values: F32) -> Mapping[str, NDArray[np.generic]]:
        """As in Codec.

        Raises:
            ValueError: If a component is so large that the rotation's sums overflow. Normalised vectors are far from it.
        """
        if values.size and not np.abs(values).max() <= _LARGEST:
            raise ValueError(f"{self.name} takes components up to {_LARGEST:g}; normalise the token vectors")
        spec = self.spec(values.shape[1])
        codes = np.empty((len(values), spec.columns["codes"]), dtype=np.uint8)
        scales = np.empty(len(values), dtype=np.float32)
        for chunk in _chunks(len(values)):
            rows = self.rotate(values[chunk] if self.centre is None else values[chunk] - self.centre)
            integers = self._integers(rows)
            codes[chunk] = self._pack(integers)
            # In double: NumPy sums float32 in another order on other processors, and the bytes must be the same everywhere.
            wide = rows.astype(np.float64)
            square, product = (wide * wide).sum(axis=1), (wide * integers).sum(axis=1)
            scales[chunk] = np.divide(square, product, out=np.zeros_like(square), where=product > 0)
        return {"codes": codes, "scales": scales}

    def unpack(self, columns: Mapping[str, Bytes], dim: int) -> tuple[NDArray[Any], F32 | None]:
        codes = columns["codes"].reshape(-1, self.spec(dim).columns["codes"])
        return self._unpack(codes, dim), columns["scales"].view(np.float32)

    @abstractmethod
    def _integers(self, rows: F32) -> NDArray[np.int8]:
        """Round each component to an odd integer of its sign: (n_tokens, dim)."""

    @abstractmethod
    def _pack(self, integers: NDArray[np.int8]) -> Bytes:
        """Pack integers (n_tokens, dim) into bytes (n_tokens, bytes per token)."""

    @abstractmethod
    def _unpack(self, codes: Bytes, dim: int) -> NDArray[np.int8]:
        """Undo `_pack`."""


class Int4Codec(RotatedCodec):
    """Sixteen levels a component: -15, -13, ... 15 times the token's scale. An eighth of float32's bytes.

    Let half be dim / 2, rounded up. Byte i of a token holds component i in its low four bits, and component i + half in its
    high four bits. If dim is odd, the high four bits of the last byte are 0. The four bits hold (level + 15) / 2.
    """

    name = "int4"
    bits = 4

    def _integers(self, rows: F32) -> NDArray[np.int8]:
        step = np.abs(rows).max(axis=1, initial=0.0, keepdims=True) / np.float32(8)
        levels = np.clip(np.floor(rows / np.where(step > 0, step, np.float32(1))), -8, 7)
        integers: NDArray[np.int8] = (2 * levels + 1).astype(np.int8)
        return integers

    def _pack(self, integers: NDArray[np.int8]) -> Bytes:
        half = -(-integers.shape[1] // 2)
        nibbles = ((integers + 15) >> 1).astype(np.uint8)
        packed: Bytes = nibbles[:, :half].copy()
        packed[:, : integers.shape[1] - half] |= nibbles[:, half:] << 4
        return packed

    def _unpack(self, codes: Bytes, dim: int) -> NDArray[np.int8]:
        nibbles = np.concatenate([codes & 15, codes >> 4], axis=1)[:, :dim]
        integers: NDArray[np.int8] = 2 * nibbles.astype(np.int8) - np.int8(15)
        return integers


class BinaryCodec(RotatedCodec):
    """The sign of each component. A thirtieth of float32's bytes.

    For large stores, or to choose documents to score again. Bit i % 8 (from the lowest) of byte i / 8 is set if component i
    isn't negative. Bits beyond dim are 0.

    Args:
        centre: (dim,) numbers, the mean of a model's token vectors. Give it if the vectors share a large part: without a centre
            all signs would tell that part alone. A token is then packed as its difference to the centre. None packs tokens as
            they are.

    Raises:
        ValueError: If the centre isn't one vector of finite numbers up to 65,504.
    """

    name = "binary"
    bits = 1
    _centre: Centre | None = None

    def __init__(self, centre: ArrayLike | None = None) -> None:
        if centre is not None:
            self._centre = Centre.of(centre, self.SEED)
            self.centre = self._centre.values

    def spec(self, dim: int) -> CodecSpec:
        """As in Codec.

        Raises:
            IncompatibleError: If the centre has another number of components.
        """
        plain = super().spec(dim)
        if self._centre is None:
            return plain
        if dim != len(self._centre.values):
            raise IncompatibleError(f"the centre has {len(self._centre.values)} components, the token vectors have {dim}")
        return replace(plain, config={**plain.config, CENTRE: self._centre.text})

    def _integers(self, rows: F32) -> NDArray[np.int8]:
        signs: NDArray[np.int8] = np.where(rows < 0, np.int8(-1), np.int8(1))
        return signs if self._centre is None else balanced(signs, rows, self._centre.direction)

    def _pack(self, integers: NDArray[np.int8]) -> Bytes:
        return np.packbits(integers > 0, axis=1, bitorder="little")

    def _unpack(self, codes: Bytes, dim: int) -> NDArray[np.int8]:
        bits = np.unpackbits(codes, axis=1, count=dim, bitorder="little")
        integers: NDArray[np.int8] = 2 * bits.astype(np.int8) - np.int8(1)
        return integers


def _chunks(n_rows: int) -> Iterator[slice]:
    return (slice(start, start + _CHUNK) for start in range(0, n_rows, _CHUNK))
