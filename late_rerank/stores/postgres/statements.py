"""Statements with their parameters, and answers, in Postgres's binary form."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

# Postgres's numbers of types.
_INT4, _FLOAT8, _TEXT, _BYTEA, _BYTEA_ARRAY = 23, 701, 25, 17, 1001

Row = tuple["bytes | None", ...]


@dataclass(frozen=True, slots=True)
class Parameter:
    """A value for a place in a statement.

    Attributes:
        type: Postgres's number of its type.
        raw: The value in binary; None for NULL.
    """

    type: int
    raw: bytes | None


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement of SQL.

    Attributes:
        sql: With $1, $2, ... where parameters go.
        parameters: In that order.
    """

    sql: str
    parameters: Sequence[Parameter] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server gave to a statement.

    Attributes:
        rows: Values in binary.
        n_changed: How many rows it wrote or deleted.
    """

    rows: Sequence[Row]
    n_changed: int


def integer(value: int) -> Parameter:
    """Give an int4."""
    return Parameter(_INT4, struct.pack("!i", value))


def seconds(value: float | None) -> Parameter:
    """Give a float8, or NULL."""
    return Parameter(_FLOAT8, None if value is None else struct.pack("!d", value))


def text(value: str) -> Parameter:
    """Give a text."""
    return Parameter(_TEXT, value.encode())


def binary(value: bytes) -> Parameter:
    """Give a bytea."""
    return Parameter(_BYTEA, value)


def binaries(values: Sequence[bytes | memoryview]) -> Parameter:
    """Give a bytea[]: its dimensions, that it has no NULL, the type of its items; then each item after its length."""
    parts: list[bytes | memoryview] = [struct.pack("!iiIii", 1 if values else 0, 0, _BYTEA, len(values), 1)]
    if not values:
        parts = [struct.pack("!iiI", 0, 0, _BYTEA)]
    for value in values:
        parts += (struct.pack("!i", len(value)), value)
    return Parameter(_BYTEA_ARRAY, b"".join(parts))


def integer_of(raw: bytes | None) -> int:
    """Read an int2, int4 or int8; NULL is 0."""
    return int.from_bytes(raw or b"", "big", signed=True)


def number(raw: bytes | None) -> int | None:
    """Read an int2, int4 or int8; None for NULL."""
    return None if raw is None else integer_of(raw)
