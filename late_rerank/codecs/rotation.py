"""One fixed orthogonal rotation of token vectors. It spreads a few large components over all components.

Codes of few bits a component need it. Some components of a transformer's vectors are ten times as large as others; with one
scale for all components, the small ones would be rounded away.

Stored bytes depend on the rotation, so it is defined here to the last bit: no library's random stream, no QR.
For seed s, round r and component i:

    h(s, what, r, i) = mix(s * 2**48 + what * 2**40 + r * 2**32 + i)   in 64 bits; `mix` is SplitMix64's finaliser
    sign             = -1 if the lowest bit of h(s, 0, r, i) is set, else 1
    permutation      = the components sorted by h(s, 1, r, i), ties by i
    blocks           = the powers of two that sum to dim, largest first: 384 = 256 + 128

A round multiplies by the signs, takes each block's Hadamard transform divided by the square root of its size, and moves
component permutation[i] to i. Three rounds mix every component with every other. Each step is orthogonal, so its transpose
undoes it, and dot products stay the same: a codec rotates documents once, a kernel rotates the query.

Source: Ailon and Chazelle 2009 (fast Johnson-Lindenstrauss transform), for signs before Hadamard transforms.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from late_rerank.types import F32

N_ROUNDS = 3

# Rows rotated at once: they stay in the second-level cache at dim 1024.
_CHUNK = 256


@dataclass(frozen=True, slots=True)
class Rotation:
    """The rotation of one seed and dim. Arrays are read-only.

    Attributes:
        signs: (N_ROUNDS, dim) float32, 1 or -1.
        permutation: (N_ROUNDS, dim) int32; component i comes from permutation[i].
        blocks: int32, powers of two that sum to dim, falling.
    """

    signs: F32
    permutation: NDArray[np.int32]
    blocks: NDArray[np.int32]

    @property
    def dim(self) -> int:
        """Components of a vector."""
        return int(self.signs.shape[1])

    def rotate(self, values: F32) -> F32:
        """Rotate rows.

        The arithmetic is elementwise, so a row's result depends neither on its neighbours nor on a BLAS.

        Args:
            values: (n, dim) float32.

        Returns:
            (n, dim) float32, new.
        """
        rotated = np.empty_like(values)
        for start in range(0, len(values), _CHUNK):
            rows = values[start : start + _CHUNK]
            for signs, permutation in zip(self.signs, self.permutation, strict=True):
                rows = self._transform(rows * signs)[:, permutation]
            rotated[start : start + _CHUNK] = rows
        return rotated

    def rotate_back(self, values: F32) -> F32:
        """Undo `rotate`, up to rounding."""
        original = np.empty_like(values)
        for start in range(0, len(values), _CHUNK):
            rows = values[start : start + _CHUNK]
            for signs, permutation in zip(self.signs[::-1], self.permutation[::-1], strict=True):
                before = np.empty_like(rows)
                before[:, permutation] = rows
                rows = self._transform(before) * signs
            original[start : start + _CHUNK] = rows
        return original

    def _transform(self, rows: F32) -> F32:
        """Take the Hadamard transform of each block, in place: `rows` is the caller's own copy."""
        first = 0
        for size in self.blocks.tolist():
            half = 1
            while half < size:
                pairs = rows[:, first : first + size].reshape(len(rows), size // (2 * half), 2, half)
                low, high = pairs[:, :, 0] + pairs[:, :, 1], pairs[:, :, 0] - pairs[:, :, 1]
                pairs[:, :, 0], pairs[:, :, 1] = low, high
                half *= 2
            rows[:, first : first + size] *= np.float32(1) / np.sqrt(np.float32(size))
            first += size
        return rows


@lru_cache(maxsize=64)
def rotation(seed: int, dim: int) -> Rotation:
    """Make the rotation of this seed (0 to 65,535) for vectors of `dim` components."""
    rounds = range(N_ROUNDS)
    signs = np.array([1 - 2 * (_hash(seed, 0, r, dim) & np.uint64(1)).astype(np.int8) for r in rounds], dtype=np.float32)
    permutation = np.array([np.argsort(_hash(seed, 1, r, dim), kind="stable") for r in rounds], dtype=np.int32)
    blocks = np.array([1 << bit for bit in reversed(range(dim.bit_length())) if dim >> bit & 1], dtype=np.int32)
    for array in (signs, permutation, blocks):
        array.setflags(write=False)  # shared by all threads
    return Rotation(signs, permutation, blocks)


def _hash(seed: int, what: int, r: int, dim: int) -> NDArray[np.uint64]:
    """Compute `h` of the module's docstring for components 0 to dim - 1. Source: SplitMix64 (Steele, Lea and Flood 2014)."""
    x = np.uint64(seed * 2**48 + what * 2**40 + r * 2**32) + np.arange(dim, dtype=np.uint64)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: NDArray[np.uint64] = x ^ (x >> np.uint64(31))
    return mixed
