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

# What of a row's match with its signs may be lost to flips. At dim 128 rows lose .4 %, at most 2 %. The bound is for rows
# of few components, where one sign is much of the row.
_MOST_LOST = 0.25
# At dim 384 rows need 4, at most 18.
_MOST_FLIPS = 64
# The last flip is chosen among so many. With the next one alone, the rest would be five times as large, and of the best ten by
# float32 4 % fewer would be among binary's at dim 96.
_TRIED = 16
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
    """Flip a few signs of each row, so that the packed row matches the direction as the row does.

    A query of such a model has most of its length in the centre's direction, so the signs' error in this one direction would be
    larger than what tells documents apart. A packed row is c (r.r) / (r.c), for a row r and signs c. It matches the direction u
    as r does if c.w = 0, for w = (r.r) u - (r.u) r. Signs are flipped that bring c.w to 0 for the least loss of r.c: 4 of 384.

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
    gains, losses = 2 * np.maximum(parts * np.sign(off), 0.0), 2 * np.abs(wide)
    order = _cheapest(losses, gains)
    gains, allowed = np.take_along_axis(gains, order, axis=1), _MOST_LOST / 2 * losses.sum(axis=1, keepdims=True)
    chosen = _chosen(gains, np.take_along_axis(losses, order, axis=1), np.abs(off), allowed)
    flips = np.zeros(signs.shape, dtype=np.bool_)
    np.put_along_axis(flips, order, chosen & (np.abs(off) > _ROUNDING * square), axis=1)
    return np.where(flips, -signs, signs)


def _cheapest(losses: F64, gains: F64) -> I64:
    """Find the components of least loss for their gain, at most `_MOST_FLIPS`, best first; of equal ones the first."""
    with np.errstate(divide="ignore", invalid="ignore"):
        price = np.where(gains > 0, losses / gains, np.inf)
    n = min(_MOST_FLIPS, price.shape[1])
    # Sorting all 384 would take six times as long.
    some = np.sort(np.argpartition(price, n - 1, axis=1)[:, :n], axis=1)
    order = np.argsort(np.take_along_axis(price, some, axis=1), axis=1, kind="stable")
    found: I64 = np.take_along_axis(some, order, axis=1)
    return found


def _chosen(gains: F64, losses: F64, off: F64, allowed: F64) -> NDArray[np.bool_]:
    """Choose flips whose gains sum to what a row is off: the cheapest as long as they fit, then the one that fits the rest.

    Args:
        gains: (n_tokens, n) of each flip, the cheapest flip first.
        losses: (n_tokens, n) of each flip.
        off: (n_tokens, 1), the sum to reach.
        allowed: (n_tokens, 1), the most that all flips may lose.
    """
    fits = (gains > 0) & (np.cumsum(gains, axis=1) <= off) & (np.cumsum(losses, axis=1) <= allowed)
    rest, left = off - (gains * fits).sum(axis=1, keepdims=True), allowed - (losses * fits).sum(axis=1, keepdims=True)
    behind = np.arange(gains.shape[1]) - fits.sum(axis=1, keepdims=True)
    may_be_last = (behind >= 0) & (behind < _TRIED) & (losses <= left)
    missed = np.where(may_be_last, np.abs(rest - gains), rest)
    is_last = np.arange(gains.shape[1]) == np.argmin(missed, axis=1)[:, None]
    chosen: NDArray[np.bool_] = fits | (is_last & (missed < rest))
    return chosen


def _unreadable(text: str, dim: int, why: str) -> StoreFormatError:
    return StoreFormatError(
        f"the centre of packed vectors must be base64 of {dim} finite numbers in float16, got {text!r:.60}: {why}. Their bytes "
        "can't be read; drop them from the store and index the documents again"
    )
