"""Token vectors in a LanceDB table, read by ids. The only module that imports lancedb."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from functools import partial
from itertools import islice
from typing import Any

import numpy as np

from late_rerank.errors import IncompatibleError, StoreError, StoreFormatError, check_installed
from late_rerank.stores.base import Sample
from late_rerank.stores.existing.rows import Rows, whole_number
from late_rerank.stores.existing.store import ExistingVectorsStore

# Names in one filter: its text is parsed anew each time.
_NAMED_AT_ONCE = 1000
# How old a version of the table may be. Looking for a newer one takes a listing of its folder.
_LATEST_S = 5.0
# Types of ids that are whole numbers. LanceDB reads numbers of a filter as 64 bits with a sign.
_BITS = {"int8": 8, "int16": 16, "int32": 32, "int64": 64, "uint8": 9, "uint16": 17, "uint32": 33, "uint64": 64}

_TEXTS = ("string", "large_string", "string_view")


class LanceVectors(ExistingVectorsStore):
    """Reads token vectors from a LanceDB table: a column of lists of vectors, one list a document.

    Threads may share it. A forked child raises a StoreError, since LanceDB's threads stay with the parent.

    Args:
        uri: The database: a folder, or what `lancedb.connect` takes.
        table: The table's name.
        fingerprint: The fingerprint of the encoder that made the vectors.
        id: The column by which candidates name their rows: texts or whole numbers. Give it an index (BTREE) in a large table.
        vectors: The column of vectors: lists of vectors of float16, float32 or float64.
        text: The column of texts. If it is given, a Reranker compares one document's vectors with its own when it is made.
        dim: Components of one vector. None takes what the column says.
        row_of: Makes a row's name of a candidate's id. None takes the id as it is.

    Raises:
        MissingDependencyError: If lancedb isn't installed.
        StoreError: If there is no such database, table or column, or the column of ids has another type.
        IncompatibleError: If the column has vectors of another width than `dim`.
        ValueError: If the column doesn't say how wide its vectors are, and no `dim` is given.
    """

    def __init__(
        self,
        uri: str | os.PathLike[str],
        table: str,
        *,
        fingerprint: str,
        id: str = "id",  # noqa: A002 - the column's usual name
        vectors: str = "vector",
        text: str | None = None,
        dim: int | None = None,
        row_of: Callable[[Any], Any] | None = None,
    ) -> None:
        check_installed("LanceVectors", "lancedb", "lancedb")
        place = f"the LanceDB table {table!r} in {os.fspath(uri)}"
        where = _resolved(os.fspath(uri))
        told: dict[str, Any] = {
            "fingerprint": fingerprint,
            "id": id,
            "vectors": vectors,
            "text": text,
            "dim": dim,
            "row_of": row_of,
        }
        self._again = partial(LanceVectors, where, table, **told)
        self._id, self._vectors, self._text = id, vectors, text
        self._table = _opened(where, table, place)
        self._pid = os.getpid()
        fields = {field.name: field.type for field in self._table.schema}
        for column in filter(None, (id, vectors, text)):
            if column not in fields:
                raise StoreError(f"{place} has no column {column!r}; it has {', '.join(map(repr, fields))}")
        self._bits = _BITS.get(str(fields[id]), 0)
        if not self._bits and str(fields[id]) not in _TEXTS:
            raise StoreError(f"column {id!r} of {place} must be of texts or whole numbers to name rows by, got {fields[id]}")
        super().__init__(place, dim=_width(fields[vectors], dim, place, vectors), fingerprint=fingerprint, row_of=row_of)
        self.tell_apart("lance", where, table, id, vectors)

    def written(self, row: Any) -> str | None:
        """Write a row's name as the table has it."""
        return whole_number(row, self._bits) if self._bits else str(row)

    def fetch(self, names: Sequence[str]) -> Mapping[str, Rows]:
        """Read rows by their ids. LanceDB reads nothing else of them.

        Raises:
            StoreFormatError: If an id stands in two rows, or vectors have several widths.
            StoreError: If the table can't be read.
        """
        found: dict[str, Rows] = {}
        for table in self._selected(names, [self._id, self._vectors]):
            for name, rows in zip(table[self._id].to_pylist(), self._rows(table), strict=True):
                if rows is None:
                    continue
                if str(name) in found:
                    raise StoreFormatError(f"row {name!r:.60} stands twice in {self.place}: ids must name one row each")
                found[str(name)] = rows
        return found

    def present(self, names: Sequence[str]) -> set[str]:
        """Find out which rows are there; only ids are read."""
        return {str(name) for table in self._selected(names, [self._id]) for name in table[self._id].to_pylist()}

    def samples(self, n: int) -> list[Sample]:
        """Give up to `n` documents with their texts; none without a column of texts."""
        if self._text is None:
            return []
        there = f"{_column(self._text)} IS NOT NULL AND {_column(self._vectors)} IS NOT NULL"
        table = self._read(lambda: self._table.search().where(there).select(self._columns).limit(n).to_arrow())
        texts = zip(table[self._id].to_pylist(), table[self._text].to_pylist(), self._rows(table), strict=True)
        return [Sample(name, text, rows.astype(np.float32)) for name, text, rows in texts if rows is not None]

    def count(self) -> int:
        """Count the rows."""
        return int(self._read(self._table.count_rows))

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the arguments. Another process opens the table itself."""
        return self._again, ()

    @property
    def _columns(self) -> list[str]:
        return [column for column in (self._id, self._text, self._vectors) if column is not None]

    def _selected(self, names: Sequence[str], columns: list[str]) -> Iterator[Any]:
        """Read these columns of these rows, as Arrow tables."""
        rest = iter(names)
        while some := list(islice(rest, _NAMED_AT_ONCE)):
            literals = some if self._bits else ["'" + name.replace("'", "''") + "'" for name in some]
            chosen = f"{_column(self._id)} IN ({', '.join(literals)})"
            # Twice the number, so that an id that stands in two rows is noticed.
            read = self._table.search().where(chosen).select(columns).limit(2 * len(some))
            yield self._read(read.to_arrow)

    def _rows(self, table: Any) -> Iterator[Rows | None]:
        """Give each row's vectors; None for NULL."""
        column = table[self._vectors].combine_chunks()
        lists = column.chunk(0) if hasattr(column, "chunk") and column.num_chunks else column
        if not len(lists):
            return
        counts = lists.value_lengths().to_pylist()
        numbers = lists.flatten().flatten()
        values = numbers.to_numpy(zero_copy_only=False)
        n_vectors = sum(filter(None, counts))
        if len(values) != n_vectors * self.dim:
            told = f"{len(values):,} numbers in {n_vectors:,} vectors, expected {self.dim} each"
            raise StoreFormatError(f"column {self._vectors!r} of {self.place} has {told}")
        values = values.reshape(-1, self.dim)
        values = values if values.dtype in (np.float16, np.float32) else values.astype(np.float32)
        start = 0
        for count in counts:
            yield None if count is None else values[start : start + count]
            start += count or 0

    def _read(self, read: Callable[[], Any]) -> Any:
        self.refuse_if_closed()
        if os.getpid() != self._pid:
            raise StoreError(
                f"{self.place} was opened before this process was forked, and LanceDB's threads stayed with the parent: "
                'open it after the fork, or start processes by "spawn"'
            )
        try:
            return read()
        except (OSError, RuntimeError, ValueError) as error:
            raise StoreError(f"{self.place} can't be read: {error}") from error


def _resolved(uri: str) -> str:
    """Give a folder's whole path: another process, or this one later, may stand elsewhere, or a link may lead elsewhere."""
    return uri if "://" in uri else os.path.realpath(uri)


def _opened(uri: str, table: str, place: str) -> Any:
    import lancedb  # noqa: PLC0415 - 4 s, and 360 MB that others don't have

    try:
        database = lancedb.connect(uri, read_consistency_interval=timedelta(seconds=_LATEST_S))
        return database.open_table(table)
    except (OSError, RuntimeError, ValueError) as error:
        raise StoreError(f"{place} can't be opened: {error}") from error


def _column(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


def _width(kind: Any, dim: int | None, place: str, column: str) -> int:
    """Give the number of components of the column's vectors."""
    inner = getattr(kind, "value_type", None)
    numbers = getattr(inner, "value_type", None)
    if numbers is None or str(numbers) not in ("halffloat", "float", "double"):
        raise StoreError(f"column {column!r} of {place} must be lists of vectors of floats, got {kind}")
    told = getattr(inner, "list_size", None)
    if told is None and dim is None:
        raise ValueError(f"column {column!r} of {place} doesn't say how wide its vectors are, {kind}: give dim")
    if told is not None and dim not in (None, told):
        raise IncompatibleError(f"column {column!r} of {place} has vectors of {told} components, not of dim={dim}")
    return int(told or dim or 0)
