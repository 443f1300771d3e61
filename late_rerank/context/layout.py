"""Chosen documents -> parts in the order in which they are read, and the text that they make."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Integral
from typing import Any, Literal

import numpy as np

from late_rerank.encode.places import Span
from late_rerank.types import F32, Candidate, RankedDocument

Order = Literal["relevance", "edges", "source"]
ORDERS = ("relevance", "edges", "source")
SEPARATOR = "\n\n"
# Pieces of a file are split at white space: a line end or an empty line. More may be a word: " no ".
_LARGEST_GAP = 3
# Two pieces of fewer characters may have as many as their lines or seconds by chance.
_FEWEST_CHARACTERS = 16
# A wrapper says here how many characters of a text the places count, where it put something before them, as a title.
N_CHARACTERS = "late_rerank_n_characters"

_PLACE = ("path", "start", "end", N_CHARACTERS)

Place = tuple[str, int, int]


@dataclass
class Passage:
    """A piece of text on its way into the context.

    Attributes:
        document: Whose text it is; of several, the best ranked one.
        text: As it will stand there.
        matches: (n_query_tokens,) float32, the best matches in it.
        spans: What of the document's text it shows; None for all of it, or where pieces were merged.
        path: The file it comes from, if known.
        start: Where it begins there, as its metadata say; None where unknown.
        end: Where it ends there.
        is_counted: Whether start and end are known to count the characters of the text.
        merged: Further documents whose text is in it.
    """

    document: RankedDocument
    text: str
    matches: F32
    spans: Sequence[Span] | None = None
    path: str | None = None
    start: int | None = None
    end: int | None = None
    is_counted: bool = False
    merged: list[RankedDocument] = field(default_factory=list)


def passage_of(document: RankedDocument, matches: F32, text: str | None = None, spans: Sequence[Span] | None = None) -> Passage:
    """A document's passage, with its place in its file where metadata says that.

    Args:
        document: Whose.
        matches: The best matches in what is shown.
        text: What is shown of it; None for all.
        spans: Where that stands in the document's text.
    """
    path, start, end = place_of(document.metadata)
    if spans is not None and start is not None and end is not None:
        # Places count the characters of the text, or what is shown of it can't be told.
        known = end - start == len(document.text)
        start, end = (start + spans[0][0], start + spans[-1][1]) if known else (None, None)
    is_counted = spans is None and counted_place(document.metadata, document.text) is not None
    return Passage(document, document.text if text is None else text, matches, spans, path, start, end, is_counted)


def place_of(metadata: Mapping[str, Any]) -> tuple[str | None, int | None, int | None]:
    """Path, start and end as metadata say them; None for what they don't say, or say wrong."""
    path, start, end = (metadata.get(name) for name in ("path", "start", "end"))
    for place in (start, end):
        if isinstance(place, bool) or not isinstance(place, Integral):
            return None if path is None else str(path), None, None
    start, end = int(start), int(end)  # type: ignore[arg-type] # NumPy's, for one
    if not 0 <= start <= end:
        start = end = None
    return None if path is None else str(path), start, end


def counted_place(metadata: Mapping[str, Any], text: str) -> Place | None:
    """Path, start and end, if they count the characters of the text.

    Lines, seconds, pages, bytes and a text that was stripped after slicing give another length.
    """
    path, start, end = place_of(metadata)
    if path is None or start is None or end is None or end - start != metadata.get(N_CHARACTERS, len(text)):
        return None
    return path, start, end


def are_of_one_source(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two pieces have the same metadata but for their places, so that one's stand for both.

    A file of the same path may be another tenant's or another version. Names that begin with "_" are a store's own.
    """
    # As text, since arrays, frames and numbers that are none can't be compared by ==.
    left, right = (
        {name: repr(value) for name, value in metadata.items() if name not in _PLACE and not str(name).startswith("_")}
        for metadata in (one, other)
    )
    return left == right


def miscounted(pieces: Iterable[Candidate | RankedDocument]) -> set[str]:
    """Files with a piece whose place doesn't count its characters: then no place there can be trusted to."""
    found = set()
    for piece in pieces:
        path, start, _ = place_of(piece.metadata)
        if path is not None and start is not None and counted_place(piece.metadata, piece.text) is None:
            found.add(path)
    return found


def merged(passages: Iterable[Passage], known: Iterable[RankedDocument] = ()) -> list[Passage]:
    """Neighbouring pieces of one file as one passage, where its best ranked piece stood.

    Args:
        passages: To join.
        known: All pieces that are known: between two that are joined none of them may stand.
    """
    by_place: dict[str, list[Passage]] = {}
    alone = []
    for passage in passages:
        if passage.path is None or not passage.is_counted:
            alone.append(passage)
        else:
            by_place.setdefault(passage.path, []).append(passage)
    others = list(known) if any(len(pieces) > 1 for pieces in by_place.values()) else []
    doubted = miscounted(others)
    between: dict[str, list[tuple[int, int]]] = {}
    for path, start, end in filter(None, (counted_place(document.metadata, document.text) for document in others)):
        between.setdefault(path, []).append((start, end))
    for path, pieces in by_place.items():
        joined = [[piece] for piece in pieces] if path in doubted else [pieces]
        alone += [passage for group in joined for passage in _in_a_row(group, between.get(path, ()))]
    return sorted(alone, key=lambda passage: passage.document.rank)


def _in_a_row(pieces: Sequence[Passage], between: Sequence[tuple[int, int]]) -> list[Passage]:
    """Pieces of one file, joined where they are neighbours."""
    pieces = sorted(pieces, key=lambda piece: (piece.start, piece.end))
    found = pieces[:1]
    for piece in pieces[1:]:
        if are_neighbours(found[-1], piece) and not _parted(found[-1], piece, between):
            found[-1] = _joined(found[-1], piece)
        else:
            found.append(piece)
    return found


def ordered(passages: Sequence[Passage], order: Order) -> list[Passage]:
    """Passages, given by rank, as they are to be read.

    "edges" puts the best first, the second best last, and so on towards the middle, which models read worst (Liu et al. 2023,
    "Lost in the Middle"). "source" keeps each file's pieces together in their order, files by their best rank.
    """
    if order == "edges":
        return [*passages[::2], *reversed(passages[1::2])]
    if order == "source":
        first: dict[str | None, int] = {}
        for passage in passages:
            first.setdefault(passage.path, passage.document.rank)
        return sorted(
            passages,
            key=lambda passage: (
                (passage.document.rank, 0) if passage.path is None else (first[passage.path], passage.start or 0)
            ),
        )
    return list(passages)


def block(number: int, text: str) -> str:
    """A passage as it stands in the text."""
    return f"[{number}] {text}"


def text_of(passages: Sequence[Passage]) -> str:
    """The whole context."""
    return SEPARATOR.join(block(number, passage.text) for number, passage in enumerate(passages, start=1))


def are_neighbours(left: Passage, right: Passage) -> bool:
    """Whether two pieces of one file follow each other, or overlap in the same text, so that they can be joined."""
    if left.start is None or left.end is None or right.start is None or not (left.is_counted and right.is_counted):
        return False
    if len(left.text) + len(right.text) < _FEWEST_CHARACTERS or not are_of_one_source(
        left.document.metadata, right.document.metadata
    ):
        return False
    gap = right.start - left.end
    if gap >= 0:
        return gap <= _LARGEST_GAP
    common = left.text[right.start - left.start :][: len(right.text)]
    return left.end - left.start == len(left.text) and right.text.startswith(common)


def _parted(left: Passage, right: Passage, pieces: Sequence[tuple[int, int]]) -> bool:
    """Whether a piece stands between two, that would be left out without a word."""
    if left.end is None or right.start is None:
        return False
    return any(left.end <= start < end <= right.start for start, end in pieces)


def _joined(left: Passage, right: Passage) -> Passage:
    """Two pieces as one; where they overlap the common part stands once."""
    if left.start is None or left.end is None or right.start is None or right.end is None:
        raise ValueError("only pieces with places can be joined")
    gap = right.start - left.end
    text = left.text + (right.text[-gap:] if gap <= 0 else ("\n" if gap > 1 else " ") + right.text)
    best, other = (left, right) if left.document.rank < right.document.rank else (right, left)
    parts = [document for document in (*left.merged, *right.merged) if document is not best.document]
    known = {id(document) for document in (best.document, *parts)}
    if id(other.document) not in known:  # else it was brought as a neighbour
        parts.append(other.document)
    matches = np.maximum(left.matches, right.matches)
    return Passage(best.document, text, matches, None, left.path, left.start, max(left.end, right.end), True, parts)  # noqa: FBT003
