"""Token vectors that a caller holds already, and gives instead of a text to encode."""

from __future__ import annotations

from itertools import count
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from late_rerank.pictures import Picture
from late_rerank.types.arrays import Bytes

# A kernel reads these two as they are.
FLOATS = {"float32": np.dtype(np.float32), "float16": np.dtype(np.float16)}

# A float16 without its sign is NaN or infinite from here on.
_NOT_FINITE_16 = 0x7C00

# Keys of given vectors never leave the process, so they only have to differ from each other and from digests of contents.
_KEYS = count()
_KEY = b"givenrow"


class GivenVectors:
    """The token vectors of one document, as its owner holds them. They are scored as they are, without encoder and store.

    The array isn't copied, if it is contiguous: don't change it while it is in use. `np.asarray` gives it back, read-only.

    Args:
        values: (n_tokens, dim) float32 or float16, in the order of the text, by the model that ranks. L2-normalise the rows, as
            the model does: else scores and relevance have another scale than those of encoded documents.

    Attributes:
        values: As given, read-only.

    Raises:
        TypeError: If `values` is no NumPy array of float32 or float16.
        ValueError: If it hasn't two dimensions, has no components, holds NaN or infinity, or hides entries behind a mask.
    """

    __slots__ = ("_key", "values")

    def __init__(self, values: NDArray[Any]) -> None:
        if not isinstance(values, np.ndarray) or values.dtype not in FLOATS.values():
            got = f"an array of {values.dtype}" if isinstance(values, np.ndarray) else type(values).__name__
            raise TypeError(
                f"token_vectors must be a NumPy array of float32 or float16, got {got}; give np.asarray(rows, dtype=np.float32)"
            )
        if np.ma.is_masked(values):
            raise ValueError(
                "token_vectors are a masked array that hides entries, and no score can be computed from these: "
                "leave the masked rows out, and give a plain array"
            )
        values = np.asarray(values)  # of subclasses, such as np.matrix, the numbers alone
        if values.ndim != 2 or not values.shape[1]:
            raise ValueError(f"token_vectors must be (n_tokens, dim), one row a token, got shape {values.shape}")
        if not _is_finite(values):
            row = int(np.flatnonzero(~np.isfinite(values).all(axis=1))[0])
            raise ValueError(f"token_vectors hold NaN or infinity in row {row}; no score can be computed from that")
        kept = np.require(values, requirements=["C", "A"]).view()
        kept.flags.writeable = False
        self.values: NDArray[Any] = kept
        self._key = _KEY + next(_KEYS).to_bytes(8, "little")

    @property
    def shape(self) -> tuple[int, int]:
        """(n_tokens, dim)."""
        return self.values.shape[0], self.values.shape[1]

    @property
    def dtype(self) -> np.dtype[Any]:
        """float32 or float16."""
        return self.values.dtype

    @property
    def dim(self) -> int:
        """The number of components of one token vector."""
        return int(self.values.shape[1])

    @property
    def buffer(self) -> Bytes:
        """The bytes of all rows, 1-d uint8, over the same memory."""
        return self.values.reshape(-1).view(np.uint8)

    def key(self) -> bytes:
        """Give the key by which this process knows the document, 16 bytes. No store ever sees it."""
        return self._key

    def __len__(self) -> int:
        return len(self.values)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:  # noqa: FBT001 - NumPy's own signature
        """Give the rows, for `np.asarray`."""
        wanted = self.values if dtype is None else self.values.astype(dtype, copy=False)
        return wanted.copy() if copy and wanted is self.values else wanted

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, GivenVectors):
            return NotImplemented
        return self is other or (self.dtype == other.dtype and bool(np.array_equal(self.values, other.values)))

    def __hash__(self) -> int:
        return hash((self.shape, self.dtype.name, *self.values[:1, :4].ravel().tolist()))

    def __repr__(self) -> str:
        return f"GivenVectors({self.shape[0]} tokens, {self.shape[1]} components, {self.dtype.name})"

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the rows. The copy in another process has a key of its own."""
        return GivenVectors, (self.values,)

    def __copy__(self) -> GivenVectors:
        """Give itself: given vectors never change."""
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> GivenVectors:
        return self


def _is_finite(values: NDArray[Any]) -> bool:
    if values.dtype == np.float16:  # its sums overflow; NumPy computes float16 ten times more slowly than integers
        magnitudes = np.ascontiguousarray(values).view(np.uint16) & np.uint16(0x7FFF)
        return not values.size or int(magnitudes.max()) < _NOT_FINITE_16
    # A sum is finite only if every component is: one pass, no temporary. In float64 large components don't overflow.
    with np.errstate(invalid="ignore"):
        return bool(np.isfinite(values.sum(dtype=np.float64)))


Encodable: TypeAlias = str | Picture
"""What an encoder encodes of a document: its text, or its picture."""

Content: TypeAlias = Encodable | GivenVectors
"""What is compared of a document: its text or its picture, which are encoded, or token vectors that came with it."""
