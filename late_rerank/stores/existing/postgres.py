"""Token vectors in a Postgres table: bytes of floats, or arrays of real numbers, read by ids."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Literal
from uuid import UUID

import numpy as np

from late_rerank.errors import StoreConnectionError, StoreError, check_installed
from late_rerank.stores.base import Sample
from late_rerank.stores.checks import check_on_error, check_seconds
from late_rerank.stores.existing.rows import Rows, from_bytes, from_sent_array, whole_number
from late_rerank.stores.existing.store import ExistingVectorsStore
from late_rerank.stores.postgres.address import checked_url, shown_url
from late_rerank.stores.postgres.statements import Parameter, Row, Statement, integer_of, text
from late_rerank.stores.trouble import Failed, OnError, Trouble

# Rows of one statement: bounds the memory that an answer takes on top of its vectors.
_FETCHED_AT_ONCE = 256
_NAMED_AT_ONCE = 10_000
# From so many rows on, a count is the planner's estimate: counting 50 million takes half a minute.
_COUNTED = 100_000
_TEXT_ARRAY, _TEXT = 1009, 25

_COLUMNS = (
    # Of a domain, the type that it is made of. The table as the search path finds it.
    "SELECT attname::text, format_type(coalesce(nullif(typbasetype, 0), atttypid), NULL), "
    "current_database()::text, nspname::text, relname::text "
    "FROM pg_attribute JOIN pg_type ON pg_type.oid = atttypid JOIN pg_class ON pg_class.oid = attrelid "
    "JOIN pg_namespace ON pg_namespace.oid = relnamespace "
    "WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped"
)
_ARRAYS = ("real[]", "double precision[]")
_NUMBERS = {"smallint": 16, "integer": 32, "bigint": 64}
# Types of ids, and what names are cast to: `character` would cut them to one letter.
_CASTS = {"text": "text", "character varying": "text", "character": "bpchar", "uuid": "uuid"} | {
    kind: kind for kind in _NUMBERS
}
# Where a URL that names no host leads.
_ENVIRONMENT = ("PGSERVICE", "PGHOST", "PGHOSTADDR", "PGPORT")


class PostgresVectors(ExistingVectorsStore):
    """Reads token vectors from a Postgres table: a column of bytes of floats, or of arrays of real numbers, one a document.

    Bytes are read ten times as fast as arrays. Threads and forked processes may share it. If the server doesn't answer, rows
    count as missing, with one warning, and are encoded.

    Args:
        url: "postgresql://user:password@host:port/database".
        table: The table or view; "schema.table" if it isn't in the search path.
        dim: Components of one vector.
        fingerprint: The fingerprint of the encoder that made the vectors.
        id: The column by which candidates name their rows: of a type of texts or whole numbers, or uuid. It needs an index.
        vectors: The column of vectors. bytea holds a document's vectors one after the other, the lowest byte of a number first.
            real[] or double precision[] holds them flat, or as rows.
        dtype: What bytes are: "float16" or "float32".
        text: The column of texts. If it is given, a Reranker compares one document's vectors with its own when it is made.
        row_of: Makes a row's name of a candidate's id. None takes the id as it is.
        on_error: What a server that doesn't answer means: "miss", or "raise" a StoreConnectionError.
        timeout_s: Seconds to wait for the server, each time.

    Raises:
        MissingDependencyError: If psycopg isn't installed.
        StoreConnectionError: If the server can't be asked about the table.
        StoreError: If there is no such table or column, or the column of ids or of vectors has another type.
        ValueError: If the URL, `dtype`, `on_error` or `timeout_s` is none.
    """

    def __init__(  # noqa: PLR0913 - where things lie in a table
        self,
        url: str,
        table: str,
        *,
        dim: int,
        fingerprint: str,
        id: str = "id",  # noqa: A002 - the column's usual name
        vectors: str = "vectors",
        dtype: Literal["float16", "float32"] = "float16",
        text: str | None = None,
        row_of: Callable[[Any], Any] | None = None,
        on_error: OnError = "miss",
        timeout_s: float = 10.0,
    ) -> None:
        checked_url(url)
        if dtype not in ("float16", "float32"):
            raise ValueError(f'dtype must be "float16" or "float32", got {dtype!r:.60}')
        check_on_error(on_error)
        check_seconds("timeout_s", timeout_s)
        check_installed("PostgresVectors", "postgres", "psycopg")
        from late_rerank.stores.postgres.server import Limits, Server  # noqa: PLC0415 - psycopg is an extra

        super().__init__(f"the table {table} at {shown_url(url)}", dim=dim, fingerprint=fingerprint, row_of=row_of)
        more: dict[str, Any] = {"text": text, "row_of": row_of, "on_error": on_error, "timeout_s": timeout_s}
        told: dict[str, Any] = {"dim": dim, "fingerprint": fingerprint, "id": id, "vectors": vectors, "dtype": dtype}
        self._again = partial(PostgresVectors, url, table, **told, **more)
        self._dtype = np.dtype(dtype)
        limits = Limits(timeout_s=timeout_s, write_timeout_s=timeout_s, retries=1, pause_s=1.0, max_connections=10)
        self._server = Server(url, "Postgres", limits)
        self._trouble = Trouble("Postgres", shown_url(url), on_error, store="PostgresVectors")
        self._table = ".".join(map(_quoted, table.split(".", 1)))
        try:
            kinds = self._kinds(url, (id, vectors, dtype))
            self._check(kinds, id, vectors, text)
        except BaseException:
            self._server.close()
            raise
        self._kind, self._is_array = kinds[id], kinds[vectors] in _ARRAYS
        self._id = _quoted(id)
        self._vectors = f"array_send({_quoted(vectors)}::real[])" if self._is_array else _quoted(vectors)
        self._there = f"{_quoted(vectors)} IS NOT NULL"
        self._text = None if text is None else _quoted(text)

    def written(self, row: Any) -> str | None:
        """Write a row's name as the column has it."""
        name = str(row)
        if self._kind in _NUMBERS:
            return whole_number(row, _NUMBERS[self._kind])
        if self._kind == "uuid":
            try:
                return str(UUID(name))
            except ValueError:
                return None
        if self._kind == "character":  # whose blanks at the end don't count
            name = name.rstrip(" ")
        return None if "\0" in name else name  # Postgres has no such text

    def fetch(self, names: Sequence[str]) -> Mapping[str, Rows]:
        """Read rows by their ids.

        Raises:
            StoreFormatError: If a row's bytes aren't whole vectors, or an array isn't.
            StoreError: If an id stands in two rows.
        """
        found: dict[str, Rows] = {}
        for name, value in self._selected(f"{self._id}::text, {self._vectors}", names, _FETCHED_AT_ONCE):
            key = (name or b"").decode()
            if key in found:
                raise StoreError(f"row {key!r:.60} stands twice in {self.place}: ids must name one row each")
            found[key] = self._read(value or b"", key)
        return found

    def present(self, names: Sequence[str]) -> set[str]:
        """Find out which rows are there; only ids are read."""
        return {(row[0] or b"").decode() for row in self._selected(f"{self._id}::text", names, _NAMED_AT_ONCE)}

    def samples(self, n: int) -> list[Sample]:
        """Give up to `n` documents with their texts; none without a column of texts."""
        if self._text is None:
            return []
        rows = self._asked(
            f"SELECT {self._id}::text, {self._text}::text, {self._vectors} FROM {self._table} "
            f"WHERE {self._text} IS NOT NULL AND {self._there} LIMIT {int(n)}"
        )
        named = [((name or b"").decode(), (said or b"").decode(), value or b"") for name, said, value in rows]
        return [Sample(name, said, self._read(value, name).astype(np.float32)) for name, said, value in named]

    def count(self) -> int:
        """Count the rows; from 100,000 on it is the planner's estimate. 0 if the server doesn't answer."""
        about = self._number(f"SELECT reltuples::bigint FROM pg_class WHERE oid = to_regclass('{_literal(self._table)}')")
        return about if about > _COUNTED else self._number(f"SELECT count(*) FROM {self._table} WHERE {self._there}")

    def size_bytes(self) -> int:
        """Count the bytes of the table with its indexes. 0 if the server doesn't answer."""
        return self._number(f"SELECT pg_total_relation_size(to_regclass('{_literal(self._table)}'))")

    def stats(self) -> dict[str, Any]:
        """Give what other stores of this kind give, and counts of failures."""
        return {**super().stats(), **self._trouble.counts()}

    def close(self) -> None:
        """Close the sessions with the server."""
        super().close()
        self._server.close()

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the arguments. Another process opens sessions of its own."""
        return self._again, ()

    def _kinds(self, url: str, read: Sequence[str]) -> dict[str, str]:
        """Give the table's columns and their types, and tell it from other tables.

        Raises:
            StoreConnectionError: If the server can't be asked.
            StoreError: If there is no such table.
        """
        answer = self._server.ask(Statement(_COLUMNS, [text(self._table)]))
        if isinstance(answer, Failed):
            raise StoreConnectionError(answer.text)
        if not answer.rows:
            raise StoreError(f"there is no {self.place}, or its role may not see it; name it as schema.table")
        rows = [[(value or b"").decode() for value in row] for row in answer.rows]
        environment = () if checked_url(url).netloc.rpartition("@")[2] else [os.environ.get(name, "") for name in _ENVIRONMENT]
        self.tell_apart("postgres", shown_url(url), *environment, *rows[0][2:], *read)
        return {row[0]: row[1] for row in rows}

    def _check(self, kinds: Mapping[str, str], id: str, vectors: str, text: str | None) -> None:  # noqa: A002 - as above
        """Refuse columns that aren't there, or can't be read.

        Raises:
            StoreError: If there is such a one.
        """
        for column in filter(None, (id, vectors, text)):
            if column not in kinds:
                raise StoreError(f"{self.place} has no column {column!r}; it has {', '.join(map(repr, kinds))}")
        if kinds[id] not in _CASTS:
            raise StoreError(
                f"column {id!r} of {self.place} must be of texts, whole numbers or uuid to name rows by, got {kinds[id]}; "
                "let a view give it as text"
            )
        if kinds[vectors] not in (*_ARRAYS, "bytea"):
            raise StoreError(
                f"column {vectors!r} of {self.place} must be bytea, real[] or double precision[], got {kinds[vectors]}"
            )

    def _selected(self, columns: str, names: Sequence[str], at_once: int) -> list[Row]:
        """Read these columns of these rows; none of those that the server doesn't give."""
        # `(SELECT $1)`: given as such, the array is planned name by name.
        chosen = f"{self._id} = ANY((SELECT $1::text[])::{_CASTS[self._kind]}[]) AND {self._there}"
        rows: list[Row] = []
        for start in range(0, len(names), at_once):
            some = names[start : start + at_once]
            rows += self._asked(f"SELECT {columns} FROM {self._table} WHERE {chosen}", [_texts(some)], n_asked=len(some))
        return rows

    def _asked(self, sql: str, parameters: Sequence[Parameter] = (), *, n_asked: int = 0) -> Sequence[Row]:
        self.refuse_if_closed()
        answer = self._server.ask(Statement(sql, parameters))
        if isinstance(answer, Failed):
            self._trouble.met([answer], n_unreachable=n_asked)
            return []
        return answer.rows

    def _number(self, sql: str) -> int:
        rows = self._asked(sql)
        return integer_of(rows[0][0]) if rows else 0

    def _read(self, value: bytes, name: str) -> Rows:
        return from_sent_array(value, self.dim, name) if self._is_array else from_bytes(value, self._dtype, self.dim, name)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _literal(name: str) -> str:
    return name.replace("'", "''")


def _texts(values: Sequence[str]) -> Parameter:
    """Give a text[]: one dimension, no NULL, the type of its items; then each item after its length."""
    parts = [struct.pack("!iiIii", 1 if values else 0, 0, _TEXT, len(values), 1)]
    for value in values:
        raw = value.encode()
        parts += (struct.pack("!i", len(raw)), raw)
    return Parameter(_TEXT_ARRAY, b"".join(parts))
