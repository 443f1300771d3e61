"""Where a document stands in its file, as its metadata say: `path`, `start` and `end`; of a page or a cell, `page` or `cell`.

Metadata are the user's own. `start` and `end` may count characters, lines, seconds or pages, so each use checks them first.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from numbers import Integral
from typing import Any, NamedTuple, TypeAlias

from late_rerank.types import Candidate, RankedDocument

N_CHARACTERS = "late_rerank_n_characters"
"""Metadata name: how many characters of the text `start` and `end` count. A wrapper sets it if it put a title before them."""

Section: TypeAlias = tuple[str, int]
"""A part of a file whose offsets begin anew, and its number: ("page", 3) of a PDF file, ("cell", 3) of a notebook."""

_NAMES = ("path", "start", "end", N_CHARACTERS)
_SECTIONS = ("page", "cell")


class FileSpan(NamedTuple):
    """A span of a file, in characters.

    Attributes:
        path: The file.
        start: The first character.
        end: One past the last character.
        section: The part of the file in which characters are counted; None for the whole file.
    """

    path: str
    start: int
    end: int
    section: Section | None = None


def told_span(metadata: Mapping[str, Any]) -> tuple[str | None, int | None, int | None]:
    """Read path, start and end from metadata.

    Returns:
        None for the path if it is absent. None for start and end if one of them is absent, no whole number, or out of order.
    """
    path = None if metadata.get("path") is None else str(metadata["path"])
    start, end = _whole(metadata.get("start")), _whole(metadata.get("end"))
    if start is None or end is None or not 0 <= start <= end:
        return path, None, None
    return path, start, end


def told_section(metadata: Mapping[str, Any]) -> Section | None:
    """Read from metadata which page or cell of its file a document is from. None if they tell none, or no whole number."""
    found = ((name, _whole(metadata.get(name))) for name in _SECTIONS)
    return next(((name, number) for name, number in found if number is not None), None)


def counted_span(document: Candidate | RankedDocument) -> FileSpan | None:
    """Give a document's span in its file; None unless start and end count the characters of its text.

    Lines, seconds, pages and bytes give another length, and so does a text that was stripped after slicing.
    """
    path, start, end = told_span(document.metadata)
    if path is None or start is None or end is None:
        return None
    if end - start != document.metadata.get(N_CHARACTERS, len(document.text)):
        return None
    return FileSpan(path, start, end, told_section(document.metadata))


def miscounted_files(documents: Iterable[Candidate | RankedDocument]) -> set[str]:
    """Find the files with a document whose start and end don't count its characters: no span in such a file is trusted."""
    found = set()
    for document in documents:
        path, start, _ = told_span(document.metadata)
        if path is not None and start is not None and counted_span(document) is None:
            found.add(path)
    return found


def are_of_one_source(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Tell whether two pieces have the same metadata but for their spans, so that one piece's metadata hold for both.

    A file of the same path may be another tenant's, or another version. Names that begin with "_" are a store's own.
    """
    # Compared as text: arrays, data frames and NaN can't be compared by ==.
    left, right = (
        {name: repr(value) for name, value in metadata.items() if name not in _NAMES and not str(name).startswith("_")}
        for metadata in (one, other)
    )
    return left == right


def _whole(value: Any) -> int | None:
    # NumPy's integers are Integral too; True and False aren't meant.
    return None if isinstance(value, bool) or not isinstance(value, Integral) else int(value)
