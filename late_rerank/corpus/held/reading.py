"""A file of token vectors and the texts that they are of -> Candidates with token vectors, one by one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray

from late_rerank.corpus.held.arrays import NpyRows, SafetensorsRows
from late_rerank.corpus.held.table import COLUMN, TableRows
from late_rerank.corpus.json_lines import parse_json_lines
from late_rerank.corpus.lines import lines_of
from late_rerank.corpus.parquet import ParquetRows
from late_rerank.corpus.ranges import FileRanges
from late_rerank.types import Candidate

_PARQUET = (".parquet", ".pq")


class Rows(Protocol):
    """A file of token vectors.

    Attributes:
        n_documents: How many documents it has.
        dim: Components of one vector; None if only the rows tell.
    """

    n_documents: int
    dim: int | None

    def __iter__(self) -> Iterator[NDArray[Any]]:
        """Give each document's (n_tokens, dim) float32 or float16."""


class HeldVectors:
    """The documents of a file of token vectors. Each iteration reads the files anew; memory doesn't grow with their size.

    Args:
        rows: The vectors.
        texts: The file of their texts, in the same order: JSON Lines or Parquet.
        place: The file of the vectors, for messages.

    Attributes:
        n_documents: How many documents there are.
        dim: Components of one vector; None if only the documents tell.
    """

    def __init__(self, rows: Rows, texts: Path, place: Path) -> None:
        self._rows, self._texts, self._place = rows, texts, place
        self.n_documents = rows.n_documents
        self.dim = rows.dim

    def check_counts(self) -> None:
        """Compare the number of texts with that of vectors. It reads the texts once: a text too few would shift all others.

        Raises:
            ValueError: If they differ, or the texts can't be read.
        """
        n_texts = sum(1 for _ in _documents(self._texts))
        if n_texts != self.n_documents:
            raise ValueError(
                f"{self._place} has vectors of {self.n_documents:,} documents, but {self._texts} has {n_texts:,} texts: give "
                "one text for each, in the same order"
            )

    def __iter__(self) -> Iterator[Candidate]:
        """Give the documents with their vectors.

        Raises:
            ValueError: If a document's vectors or text are wrong; names its number.
        """
        for number, (document, rows) in enumerate(zip(_documents(self._texts), self._rows, strict=True), start=1):
            yield _with_vectors(document, rows, f"{self._place}, document {number}")


def read_vectors(
    path: str | os.PathLike[str],
    *,
    texts: str | os.PathLike[str] | None = None,
    offsets: str | os.PathLike[str] | None = None,
    column: str = COLUMN,
) -> HeldVectors:
    """Open a file of token vectors.

    Args:
        path: A .npy file of the rows of all documents one after the other, float32 or float16. Or a safetensors file that has
            them as "values", and "offsets" beside them. Or a Parquet file with a column of lists of vectors.
        texts: The texts, in the same order: JSON Lines or Parquet, as for `late-rerank index`. A document's text is title + " "
            + text where both exist. None takes the Parquet file itself.
        offsets: A .npy file of (n_documents + 1,) whole numbers from 0 on: where each document's rows begin. None takes
            "offsets.npy" beside `path`.
        column: The Parquet file's column of vectors.

    Raises:
        ValueError: If a file is none of these, or texts are needed and not given.
        FileNotFoundError: If a file isn't there.
        MissingDependencyError: If a Parquet file is given and pyarrow isn't installed.
    """
    place = _file(path)
    if place.suffix in _PARQUET:
        return HeldVectors(TableRows(place, column), place if texts is None else _file(texts), place)
    if place.suffix not in (".npy", ".safetensors"):
        raise ValueError(f"{place} must be a .npy, .safetensors or .parquet file of token vectors")
    if texts is None:
        raise ValueError(f"{place} has no texts: give them in the same order, as JSON Lines or Parquet")
    if place.suffix == ".safetensors":
        return HeldVectors(SafetensorsRows(place), _file(texts), place)
    beside = place.with_name("offsets.npy") if offsets is None else _file(offsets)
    if not beside.is_file():
        raise FileNotFoundError(f"{beside} isn't there: it says where each document's rows in {place} begin; or name it")
    return HeldVectors(NpyRows(place, beside), _file(texts), place)


def _with_vectors(document: Candidate, rows: NDArray[Any], place: str) -> Candidate:
    try:
        return Candidate(document.text, id=document.id, metadata=document.metadata, token_vectors=rows)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{place}: {error}") from error


def _file(path: str | os.PathLike[str]) -> Path:
    file = Path(path).expanduser()
    if not file.is_file():
        raise FileNotFoundError(f"there is no file {file}")
    return file


def _documents(file: Path) -> Iterator[Candidate]:
    if file.suffix in _PARQUET:
        yield from ParquetRows(FileRanges(file), str(file)).documents()
        return
    with file.open("rb") as opened:
        yield from parse_json_lines(lines_of(opened, str(file)), str(file))
