"""The centre of a codec: a vector that token vectors share, taken off before packing, so that the few bits tell the rest."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from late_rerank.codecs.rotation import rotation
from late_rerank.errors import StoreFormatError
from late_rerank.types import F32, I64

F64 = NDArray[np.float64]

CENTRE = "centre"
"""The centre's name in a spec's config."""

# What of a row's match with its signs may be lost to flips. At dim 128 rows lose .2 % of it, at most 2 %. The bound is for rows of
# few components, where one sign is much of the row.
_MOST_LOST = 0.25
# At dim 384 rows need 4, at most 18.
_MOST_FLIPS = 64
# A smaller share of a row's square is float32's rounding.
_ROUNDING = 1e-4


@dataclass(frozen=True, slots=True)
class Centre:
    """A centre, rounded to float16, so that a spec holds exactly what is used.

    Attributes:
        values: (dim,) float32, read-only.
        text: The values in base64, as little-endian float16.
        direction: (dim,) float64, read-only: the centre's direction, rotated as codecs rotate; zeros for a centre of zeros.
    """

    values: F32
    text: str
    direction: F64

    @classmethod
    def of(cls, given: ArrayLike, seed: int) -> Centre:
        """Round a centre and rotate its direction.

        Args:
            given: (dim,) numbers.
            seed: Of the rotation.

        Raises:
            ValueError: If it isn't one vector of at least one component, or a component is NaN or beyond float16's range.
        """
        wide = np.asarray(given, dtype=np.float32)
        if wide.ndim != 1 or not len(wide):
            raise ValueError(f"a centre must be one vector (dim,), got shape {wide.shape}")
        with np.errstate(over="ignore"):
            rounded = wide.astype("<f2")
        values = rounded.astype(np.float32)
        if not np.isfinite(values).all():
            raise ValueError("a centre must hold finite numbers up to 65,504: it is the mean of token vectors")
        length = np.linalg.norm(values.astype(np.float64))
        unit = (values / length if length > 0 else np.zeros(len(values))).astype(np.float32)
        direction = rotation(seed, len(values)).rotate(unit[None])[0].astype(np.float64)
        for array in (values, direction):
            array.setflags(write=False)  # shared by all threads
        return cls(values, base64.b64encode(rounded.tobytes()).decode("ascii"), direction)

    @classmethod
    def read(cls, text: str, dim: int, seed: int) -> Centre:
        """Read the centre that a spec holds.

        Raises:
            StoreFormatError: If it isn't the text of a centre of `dim` components.
        """
        try:
            centre = cls.of(np.frombuffer(base64.b64decode(text, validate=True), dtype="<f2"), seed)
        except (binascii.Error, ValueError) as error:
            raise _unreadable(text, dim, str(error)) from error
        if len(centre.values) != dim:
            raise _unreadable(text, dim, f"it has {len(centre.values)} components")
        return centre


def balanced(signs: NDArray[np.int8], rows: F32, direction: F64) -> NDArray[np.int8]:
    """Flip a few signs of each row, so that the packed row matches the direction exactly as the row does.

    A query of such a model has most of its length in the centre's direction, so the signs' error in this one direction would be
    four times as large as what tells documents apart. A packed row is c (r.r) / (r.c), for a row r and signs c. It matches the
    direction u as r does if c.w = 0, for w = (r.r) u - (r.u) r. Signs are flipped one after the other, first those that bring
    c.w nearest to 0 for the least loss of r.c: 4 of 384.

    Args:
        signs: (n_tokens, dim), 1 or -1.
        rows: (n_tokens, dim) float32, rotated.
        direction: (dim,) of length 1, rotated; or zeros, which change nothing.
    """
    # Elementwise and in double: a row's bytes must depend neither on its neighbours nor on a BLAS.
    wide = rows.astype(np.float64)
    square, along = (wide * wide).sum(axis=1, keepdims=True), (wide * direction).sum(axis=1, keepdims=True)
    parts = signs * (square * direction - along * wide)
    off = parts.sum(axis=1, keepdims=True)
    gains = np.maximum(parts * np.sign(off), 0.0)
    order = _cheapest(np.abs(wide), gains)
    left = np.abs(off) - 2 * np.cumsum(np.take_along_axis(gains, order, axis=1), axis=1)
    lost = 2 * np.cumsum(np.abs(np.take_along_axis(wide, order, axis=1)), axis=1)
    left[lost > _MOST_LOST * np.abs(wide).sum(axis=1, keepdims=True)] = np.inf
    left = np.abs(np.concatenate([off, left], axis=1))
    n_flips = np.where(left[:, 0] > _ROUNDING * square[:, 0], np.argmin(left, axis=1), 0)
    flips = np.zeros(signs.shape, dtype=np.bool_)
    np.put_along_axis(flips, order, np.arange(order.shape[1]) < n_flips[:, None], axis=1)
    return np.where(flips, -signs, signs)


def _cheapest(losses: F64, gains: F64) -> I64:
    """Find the components of least loss for their gain, of at most `_MOST_FLIPS`, best first; of equal ones the first."""
    with np.errstate(divide="ignore", invalid="ignore"):
        price = np.where(gains > 0, losses / gains, np.inf)
    n = min(_MOST_FLIPS, price.shape[1])
    # Sorting all 384 would take six times as long.
    some = np.sort(np.argpartition(price, n - 1, axis=1)[:, :n], axis=1)
    order = np.argsort(np.take_along_axis(price, some, axis=1), axis=1, kind="stable")
    found: I64 = np.take_along_axis(some, order, axis=1)
    return found


def _unreadable(text: str, dim: int, why: str) -> StoreFormatError:
    return StoreFormatError(
        f"the centre of packed vectors must be base64 of {dim} finite numbers in float16, got {text!r:.60}: {why}. Their bytes "
        "can't be read; drop them from the store and index the documents again"
    )
