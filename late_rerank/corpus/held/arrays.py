"""Arrays in files -> each document's rows: values one after the other, and the offsets at which documents begin."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from late_rerank.types import I64

# Rows in memory at once where a file isn't mapped: 6 MB of float32 at dim 384.
_ROWS = 4096
# Offsets in memory at once: fifty million documents have 400 MB of them, and Python's objects take four times that.
_OFFSETS = 16_384
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
        held = _mapped(offsets)
        _check_kind(held.shape, str(held.dtype), str(offsets), is_whole=held.dtype.kind in "iu")
        self._offsets = Offsets(lambda first, stop: held[first:stop], len(held))
        self._offsets.check(len(self._values), str(offsets))
        self.n_documents = self._offsets.n_documents
        self.dim: int | None = int(self._values.shape[1])

    def __iter__(self) -> Iterator[NDArray[Any]]:
        """Give each document's rows, as views of the file."""
        for _, offsets in self._offsets.pieces():
            for start, end in pairwise(offsets.tolist()):
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
                offsets, place = held.get_slice("offsets"), f'"offsets" in {file}'
                length = offsets.get_shape()
                _check_kind(tuple(length), offsets.get_dtype(), place, is_whole=offsets.get_dtype()[0] in "IU")
                found = Offsets(lambda first, stop: offsets[first:stop], length[0])
                found.check(shape[0], place)
        except SafetensorError as error:
            raise ValueError(f"{file} is no safetensors file: {error}") from error
        self._dtype = _FLOATS[dtype]
        self.n_documents = found.n_documents
        self.dim: int | None = int(shape[1])

    def __iter__(self) -> Iterator[NDArray[Any]]:
        """Give each document's rows."""
        with safe_open(self._file, framework="numpy") as held:
            values, offsets = held.get_slice("values"), held.get_slice("offsets")
            for _, piece in Offsets(lambda first, stop: offsets[first:stop], self.n_documents + 1).pieces():
                yield from self._documents(values, piece)

    def _documents(self, values: Any, offsets: I64) -> Iterator[NDArray[Any]]:
        first = 0
        while first < len(offsets) - 1:
            start = int(offsets[first])
            last = max(int(np.searchsorted(offsets, start + _ROWS, side="right")) - 1, first + 1)
            stop = int(offsets[last])
            # No slice may be empty there.
            rows = values[start:stop] if stop > start else np.empty((0, self.dim or 0), dtype=self._dtype)
            for begin, end in pairwise((offsets[first : last + 1] - start).tolist()):
                yield rows[begin:end]
            first = last


class Offsets:
    """Where each document's rows begin, and where the last one's end. Read in pieces, so that memory doesn't grow.

    Args:
        read: Gives the offsets from a first one to before a last one, as whole numbers.
        n: How many there are, at least 1.

    Attributes:
        n_documents: One less.
    """

    def __init__(self, read: Callable[[int, int], NDArray[Any]], n: int) -> None:
        self._read = read
        self.n_documents = n - 1

    def pieces(self) -> Iterator[tuple[int, I64]]:
        """Give the number of a first document, and the offsets of some thousand documents from there on, with their end."""
        for first in range(0, self.n_documents, _OFFSETS):
            stop = min(first + _OFFSETS, self.n_documents) + 1
            yield first, self._read(first, stop).astype(np.int64)

    def check(self, n_tokens: int, place: str) -> None:
        """Refuse offsets that don't rise from 0 to the number of rows.

        Raises:
            ValueError: If they don't.
        """
        begin, end = (int(self._read(i, i + 1)[0]) for i in (0, self.n_documents))
        if begin or end != n_tokens:
            raise ValueError(
                f"{place} must rise from 0 to {n_tokens:,}, the number of rows, got {begin:,} to {end:,}: they say where each "
                "document's rows begin, and where the last one's end"
            )
        for first, offsets in self.pieces():
            falls = np.flatnonzero(np.diff(offsets) < 0)
            if len(falls):
                i = int(falls[0])
                raise ValueError(
                    f"{place} must rise from 0 to {n_tokens:,}, the number of rows, but document {first + i + 1:,} begins at "
                    f"{offsets[i]:,} and ends at {offsets[i + 1]:,}"
                )


def _check_kind(shape: tuple[int, ...], dtype: str, place: str, *, is_whole: bool) -> None:
    if len(shape) != 1 or not shape[0] or not is_whole:
        raise ValueError(f"{place} must be (n_documents + 1,) whole numbers, got shape {shape} {dtype}")


def _mapped(file: Path) -> NDArray[Any]:
    try:
        held = np.load(file, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise ValueError(f"{file} is no .npy file: {error}") from error
    if not isinstance(held, np.ndarray):  # an archive, .npz, by another name
        raise ValueError(f"{file} must hold one array, got {type(held).__name__}")
    return held
