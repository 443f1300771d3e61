"""What users give -> Candidates and numbers, or an error that says what to give instead."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from numbers import Real
from typing import Any

import numpy as np

from late_rerank.pictures import Picture
from late_rerank.types import Candidate, Document, GivenVectors


def finite(value: object) -> float | None:
    """Read a number of any library as a Python float.

    Returns:
        None for NaN, infinity, a number that no float holds, a bool, and everything that is no real number: a str, a list.
    """
    if type(value) is float:
        return value if math.isfinite(value) else None
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (Real, Decimal)):
        return None
    try:
        number = float(value)
    except (OverflowError, ValueError):  # an int beyond all floats; a Decimal that signals
        return None
    return number if math.isfinite(number) else None


def finite_within(value: Any) -> Any:
    """JSON values, with None for NaN and infinity, which JSON doesn't have; lists and objects are copied."""
    if isinstance(value, Mapping):
        return {name: finite_within(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite_within(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def as_candidate(given: object, index: int, what: str) -> Candidate:
    """Make a Candidate of one item that a user gave.

    Raises:
        TypeError: If it is no str, Picture or Candidate; names `what` and `index`.
    """
    if isinstance(given, Candidate):
        return given
    if isinstance(given, str):
        return Candidate(given)
    if isinstance(given, Picture):
        return Candidate(image=given)
    if isinstance(given, GivenVectors):  # what a context compares is such a content
        return Candidate(token_vectors=given)
    got = f"{type(given).__name__}: {given!r:.60}"
    raise TypeError(f"{what}[{index}] must be a str, a Picture or a Candidate, got {got}{_instead_of_item(given, what)}")


def as_candidates(given: Iterable[Document], what: str) -> Iterator[Candidate]:
    """Make Candidates of the items that a user gave, one by one.

    Raises:
        TypeError: If one is no str, Picture or Candidate, named by `what` and its index; or `given` is one text, no list.
    """
    return (as_candidate(item, index, what) for index, item in enumerate(as_many(given, what)))


def as_many(given: Iterable[Document], what: str) -> Iterable[Document]:
    """Refuse a user's argument that is no list of items.

    A str is an Iterable of str, a mapping one of its keys, a table one of its columns' names, a file one of its lines.

    Raises:
        TypeError: If `given` is one of these, one Candidate, or nothing to iterate over; says what to give instead.
    """
    if type(given) in (list, tuple):
        return given
    instead = _instead_of_list(given)
    if instead is None:
        return given
    raise TypeError(f"{what} must be a list of str, Picture or Candidate, got {_named(given)}{instead}")


def _instead_of_list(given: object) -> str | None:
    """Say what to give instead of something that is no list; None where it may be one."""
    if isinstance(given, (str, bytes, bytearray, Picture, Candidate)):
        return "; wrap it in a list" if isinstance(given, (str, Picture, Candidate)) else "; decode it, and wrap it in a list"
    if isinstance(given, Mapping):
        return "; give its texts, list(mapping.values()), or Candidate(text, id=key) for each"
    columns = getattr(given, "column_names", None) or getattr(given, "columns", None)
    if columns is not None and not callable(columns):
        names = [name for name in map(str, columns) if name.isprintable()]
        name = "text" if "text" in names or not names else names[0]
        return f"; give one of its columns as a list of str, that of {name!r} for one, or a Candidate for each row"
    if hasattr(given, "readline"):
        return "; read it, and split it into documents"
    return None if isinstance(given, Iterable) or hasattr(given, "__getitem__") else ""


def _instead_of_item(given: object, what: str) -> str:
    """Say what to give instead of an item that is no text."""
    if isinstance(given, Mapping):
        return '; make a Candidate of it: Candidate(row["text"], id=row["id"], metadata=row)'
    if isinstance(given, (bytes, bytearray)):
        return "; decode it, or make it Candidate(image=...) if it is an image"
    if type(given).__module__.partition(".")[0] == "PIL":
        return "; make it Candidate(image=...)"
    if hasattr(given, "as_py"):
        return f"; give {what}.to_pylist()"
    return ""


def _named(given: object) -> str:
    if given is None:
        return "None"
    return f"one {type(given).__name__}" if isinstance(given, (str, Picture, Candidate)) else type(given).__name__
