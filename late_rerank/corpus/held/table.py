"""A Parquet column of lists of vectors -> each document's rows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from late_rerank.corpus.parquet import ParquetRows
from late_rerank.corpus.ranges import FileRanges

COLUMN = "token_vectors"
# Documents in memory at once: 24 MB of float32 at 180 tokens of 128 components.
_DOCUMENTS = 256
_FLOATS = ("halffloat", "float", "double")


class TableRows:
    """Documents in a column of a Parquet file: lists of vectors of floats.

    Args:
        file: The file.
        column: The column's name.

    Raises:
        ValueError: If the file has no such column, or it holds anything else.
    """

    def __init__(self, file: Path, column: str) -> None:
        self._file, self._column = file, column
        rows = self._opened()
        kinds = rows.kinds
        if column not in kinds:
            raise ValueError(f"{file} has no column {column!r}; it has {', '.join(map(repr, kinds))}")
        inner = getattr(kinds[column], "value_type", None)
        numbers = getattr(inner, "value_type", None)
        if str(numbers) not in _FLOATS:
            raise ValueError(f"column {column!r} of {file} must be lists of vectors of floats, got {kinds[column]}")
        self.n_documents = rows.n_rows
        self.dim: int | None = getattr(inner, "list_size", None)
        self._width = self.dim

    def __iter__(self) -> Iterator[NDArray[Any]]:
        """Give each document's rows.

        Raises:
            ValueError: If a row is NULL, or has vectors of several widths; names the row. Also if no row has a vector, and the
                column doesn't say how wide they are.
        """
        number = 0
        for column in self._opened().column(self._column, _DOCUMENTS):
            for rows in column:
                number += 1
                yield self._rows(rows, number)

    def _rows(self, scalar: Any, number: int) -> NDArray[Any]:
        if not scalar.is_valid:
            raise ValueError(f"{self._file}, row {number}: column {self._column!r} is empty; leave the row out")
        vectors = scalar.values
        widths = set(vectors.value_lengths().to_pylist())
        if len(widths) > 1 or None in widths:
            raise ValueError(f"{self._file}, row {number}: the vectors have several widths, {sorted(map(str, widths))}")
        values: NDArray[Any] = vectors.flatten().to_numpy(zero_copy_only=False)
        values = values if values.dtype in (np.float16, np.float32) else values.astype(np.float32)
        return values.reshape(len(vectors), widths.pop() if widths else self._known_width())

    def _known_width(self) -> int:
        """Give the width of a document without vectors: the column's, or that of the first document that has some."""
        if self._width is None:
            chunks = self._opened().column(self._column, _DOCUMENTS)
            filled = (rows.values[0] for column in chunks for rows in column if rows.is_valid and len(rows.values))
            self._width = next((len(vector) for vector in filled if vector.is_valid), 0)
        if not self._width:
            raise ValueError(f"no document of {self._file} has a vector in column {self._column!r}: their width is unknown")
        return self._width

    def _opened(self) -> ParquetRows:
        return ParquetRows(FileRanges(self._file), str(self._file), needs_text=False)
