"""What a query's arguments must be, before any work is done."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

from late_rerank.text.words import is_blank
from late_rerank.types import Document

Given = TypeVar("Given")


def as_list(given: Iterable[Given], what: str, kind: str) -> list[Given]:
    """List the items of an argument that has one entry a query. A generator will do.

    Raises:
        TypeError: If it is one str, a mapping, or nothing to iterate over.
    """
    if isinstance(given, (str, bytes, Mapping)) or not isinstance(given, Iterable):
        instead = "; use rerank for one query" if isinstance(given, str) else ""
        raise TypeError(f"{what} must be a list of {kind}, got {_named(given)}{instead}")
    return list(given)


def check_queries(queries: Sequence[str], candidate_lists: Sequence[Iterable[Document]]) -> None:
    """Check that no query is blank, and that there is a list of candidates for each.

    Raises:
        ValueError: If a query is blank, or the two lists differ in length.
        TypeError: If a query is no str.
    """
    if len(queries) != len(candidate_lists):
        raise ValueError(f"got {len(queries)} queries but {len(candidate_lists)} lists of candidates")
    for i, query in enumerate(queries):
        if not isinstance(query, str):
            raise TypeError(f"query {i} must be a str, got {type(query).__name__}: {query!r:.60}")
        if is_blank(query):
            raise ValueError(f"query {i} is {query!r}: a query needs at least one word")


def _named(given: object) -> str:
    return "one str" if isinstance(given, str) else f"{type(given).__name__}: {given!r:.60}"
