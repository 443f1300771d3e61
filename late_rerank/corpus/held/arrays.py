"""Arrays in files -> each document's rows: values one after the other, and the offsets at which documents begin."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from late_rerank.types import I64

# Rows in memory at once where a file isn't mapped: 6 MB of float32 at dim 384.
_ROWS = 4096
_FLOATS = {"F32": np.float32, "F16": np.float16}


class NpyRows:
    """Documents in two .npy files. The values are mapped, not read.

    Args:
        values: (n_tokens, dim) float32 or float16.
        offsets: (n_documents + 1,) whole numbers.

    Raises:
        ValueError: If a file holds anything else.
    """

    def __init__(self, values: Path, offsets: Path) -> None:
        self._values = _mapped(values)
        if self._values.ndim != 2 or self._values.dtype not in (np.float32, np.float16):
            got = f"shape {self._values.shape} {self._values.dtype}"
            raise ValueError(f"{values} must be (n_tokens, dim) float32 or float16, got {got}")
        self._offsets = checked_offsets(_mapped(offsets), len(self._values), str(offsets))
        self.n_documents = len(self._offsets) - 1
        self.dim: int | None = int(self._values.shape[1])

    def __iter__(self) -> Iterator[NDArray[Any]]:
        """Give each document's rows, as views of the file."""
        for start, end in pairwise(self._offsets.tolist()):
            yield self._values[start:end]


class SafetensorsRows:
    """Documents in one safetensors file: "values" and "offsets", as in NpyRows. Some thousand rows are read at a time.

    Raises:
        ValueError: If the file is none, or lacks one of the two.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        try:
            with safe_open(file, framework="numpy") as held:
                names = sorted(held.keys())
                if not {"values", "offsets"} <= set(names):
                    raise ValueError(f'{file} must hold "values" and "offsets", got {", ".join(map(repr, names)) or "nothing"}')
                values = held.get_slice("values")
                shape, dtype = values.get_shape(), values.get_dtype()
                if len(shape) != 2 or dtype not in _FLOATS:
                    raise ValueError(f'"values" in {file} must be (n_tokens, dim) F32 or F16, got shape {shape} {dtype}')
                self._offsets = checked_offsets(held.get_tensor("offsets"), shape[0], f'"offsets" in {file}')
        except SafetensorError as error:
            raise ValueError(f"{file} is no safetensors file: {error}") from error
        self._dtype = _FLOATS[dtype]
        self.n_documents = len(self._offsets) - 1
        self.dim: int | None = int(shape[1])

    def __iter__(self) -> Iterator[NDArray[Any]]:
        """Give each document's rows."""
        with safe_open(self._file, framework="numpy") as held:
            values = held.get_slice("values")
            first = 0
            while first < self.n_documents:
                start = int(self._offsets[first])
                last = max(int(np.searchsorted(self._offsets, start + _ROWS, side="right")) - 1, first + 1)
                stop = int(self._offsets[last])
                # No slice may be empty there.
                rows = values[start:stop] if stop > start else np.empty((0, self.dim or 0), dtype=self._dtype)
                for begin, end in pairwise((self._offsets[first : last + 1] - start).tolist()):
                    yield rows[begin:end]
                first = last


def checked_offsets(given: NDArray[Any], n_tokens: int, place: str) -> I64:
    """Check offsets.

    Raises:
        ValueError: If they aren't whole numbers that rise from 0 to the number of rows.
    """
    if given.ndim != 1 or given.dtype.kind not in "iu" or not len(given):
        raise ValueError(f"{place} must be (n_documents + 1,) whole numbers, got shape {given.shape} {given.dtype}")
    offsets = given.astype(np.int64)
    if offsets[0] != 0 or offsets[-1] != n_tokens or (np.diff(offsets) < 0).any():
        raise ValueError(
            f"{place} must rise from 0 to {n_tokens:,}, the number of rows, got {offsets[0]:,} to {offsets[-1]:,}: they say "
            "where each document's rows begin, and where the last one's end"
        )
    return offsets


def _mapped(file: Path) -> NDArray[Any]:
    try:
        held = np.load(file, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise ValueError(f"{file} is no .npy file: {error}") from error
    if not isinstance(held, np.ndarray):  # an archive, .npz, by another name
        raise ValueError(f"{file} must hold one array, got {type(held).__name__}")
    return held
