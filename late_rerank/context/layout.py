"""Chosen documents -> parts in the order in which they are read, and the text that they make."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Integral
from typing import Any, Literal

import numpy as np

from late_rerank.places import Span
from late_rerank.types import F32, RankedDocument

Order = Literal["relevance", "edges", "source"]
ORDERS = ("relevance", "edges", "source")
SEPARATOR = "\n\n"
# Pieces of a file are split at white space; more than an empty line or two between them is another piece left out.
_LARGEST_GAP = 8


@dataclass
class Passage:
    """A piece of text on its way into the context.

    Attributes:
        document: Whose text it is; of several, the best ranked one.
        text: As it will stand there.
        matches: (n_query_tokens,) float32, the best matches in it.
        spans: What of the document's text it shows; None for all of it, or where pieces were merged.
        path: The file it comes from, if known.
        start: Where it begins there, in characters; None where unknown.
        end: Where it ends there.
        merged: Further documents whose text is in it.
    """

    document: RankedDocument
    text: str
    matches: F32
    spans: Sequence[Span] | None = None
    path: str | None = None
    start: int | None = None
    end: int | None = None
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
    return Passage(document, document.text if text is None else text, matches, spans, path, start, end)


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


def merged(passages: Iterable[Passage], known_pieces: Iterable[Mapping[str, Any]] = ()) -> list[Passage]:
    """Neighbouring pieces of one file as one passage, where its best ranked piece stood.

    Args:
        passages: To join.
        known_pieces: Metadata of all pieces that are known: between two that are joined none of them may stand.
    """
    by_place: dict[str, list[Passage]] = {}
    alone = []
    for passage in passages:
        if passage.path is None or passage.start is None or passage.spans is not None:
            alone.append(passage)
        else:
            by_place.setdefault(passage.path, []).append(passage)
    known: dict[str | None, list[tuple[int, int]]] = {}
    if any(len(pieces) > 1 for pieces in by_place.values()):
        for path, start, end in map(place_of, known_pieces):
            if path in by_place and start is not None and end is not None:
                known.setdefault(path, []).append((start, end))
    for pieces in by_place.values():
        pieces.sort(key=lambda piece: (piece.start, piece.end))
        whole = pieces[0]
        for piece in pieces[1:]:
            if are_neighbours(whole, piece) and not _parted(whole, piece, known.get(whole.path, ())):
                whole = _joined(whole, piece)
            else:
                alone.append(whole)
                whole = piece
        alone.append(whole)
    return sorted(alone, key=lambda passage: passage.document.rank)


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
    """Whether two pieces of one file follow each other, or overlap, so that they can be joined."""
    if left.end is None or right.start is None or right.end is None:
        return False
    gap = right.start - left.end
    # What overlaps is cut by places: only where they count the characters of both texts.
    counted = all(
        each.start is not None and each.end is not None and each.end - each.start == len(each.text) for each in (left, right)
    )
    return 0 <= gap <= _LARGEST_GAP or (gap < 0 and counted)


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
    return Passage(best.document, text, matches, None, left.path, left.start, max(left.end, right.end), parts)
