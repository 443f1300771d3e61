"""Chosen documents -> passages in reading order, and the text that they make."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from late_rerank.context.file_spans import Section, are_of_one_source, counted_span, miscounted_files, told_section, told_span
from late_rerank.context.images import IMAGE_MARK
from late_rerank.encode.places import Span
from late_rerank.pictures import Picture
from late_rerank.types import F32, RankedDocument

Order = Literal["relevance", "edges", "source"]
ORDERS = ("relevance", "edges", "source")
SEPARATOR = "\n\n"
# Pieces of a file are split at white space: a line end or an empty line. A larger gap may hold a word: " no ".
_LARGEST_GAP = 3
# Two shorter pieces may have as many characters as their lines or seconds by chance.
_FEWEST_CHARACTERS = 16


@dataclass(frozen=True)
class Passage:
    """A piece of text on its way into the context.

    Attributes:
        position: The document's position among the ranked ones.
        document: The document whose text it is; of several, the best ranked.
        text: The text as the context shows it.
        matches: (n_query_tokens,) float32, the best matches in the text.
        spans: The shown spans of the document's text; None for all of it, or where pieces were merged.
        path: The file, if known.
        start: Where the passage begins in the file, as the metadata say; None where unknown.
        end: Where it ends there.
        section: The page or cell of the file that it is from, in which start and end count; None for the whole file.
        is_counted: Whether start and end are known to count the characters of the text.
        merged: Positions of further documents whose text is in it.
        image: The picture that is shown instead of a text; the text is its mark then.
    """

    position: int
    document: RankedDocument
    text: str
    matches: F32
    spans: Sequence[Span] | None = None
    path: str | None = None
    start: int | None = None
    end: int | None = None
    section: Section | None = None
    is_counted: bool = False
    merged: tuple[int, ...] = ()
    image: Picture | None = None

    @property
    def page(self) -> int | None:
        """The page of the file that it is from, if the metadata tell it."""
        return self.section[1] if self.section is not None and self.section[0] == "page" else None


def passage_of(
    position: int, document: RankedDocument, matches: F32, text: str | None = None, spans: Sequence[Span] | None = None
) -> Passage:
    """Make a document's passage, with its span in its file where the metadata tell it.

    Args:
        position: The document's position among the ranked ones.
        document: The document.
        matches: (n_query_tokens,) float32, the best matches in the shown text.
        text: The shown text; None for all of the document.
        spans: Where the shown text stands in the document's.
    """
    path, start, end = told_span(document.metadata)
    if spans is not None and start is not None and end is not None:
        # Start and end must count the characters of the text, or the span of the shown part can't be told.
        known = end - start == len(document.text)
        start, end = (start + spans[0][0], start + spans[-1][1]) if known else (None, None)
    is_counted = spans is None and counted_span(document) is not None
    section = told_section(document.metadata)
    shown = document.text if text is None else text
    return Passage(position, document, shown, matches, spans, path, start, end, section, is_counted)


def image_passage(position: int, document: RankedDocument, matches: F32, image: Picture) -> Passage:
    """Make the passage of a page that is shown as an image. It is joined with no other.

    Args:
        position: The document's position among the ranked ones.
        document: The document.
        matches: (n_query_tokens,) float32, the best matches in the image.
        image: The picture.
    """
    path, section = told_span(document.metadata)[0], told_section(document.metadata)
    return Passage(position, document, IMAGE_MARK, matches, path=path, section=section, image=image)


def merged(passages: Iterable[Passage], known: Iterable[RankedDocument] = ()) -> list[Passage]:
    """Join neighbouring pieces of one file into one passage, with the rank of the best piece.

    Args:
        passages: The passages to join.
        known: All known pieces. Two passages are not joined if a known piece stands between them.

    Returns:
        By rank.
    """
    by_section: dict[tuple[str, Section | None], list[Passage]] = {}
    found = []
    for passage in passages:
        if passage.path is None or not passage.is_counted:
            found.append(passage)
        else:
            by_section.setdefault((passage.path, passage.section), []).append(passage)
    others = list(known) if any(len(pieces) > 1 for pieces in by_section.values()) else []
    doubted = miscounted_files(others)
    between: dict[tuple[str, Section | None], list[tuple[int, int]]] = {}
    for path, start, end, section in filter(None, map(counted_span, others)):
        between.setdefault((path, section), []).append((start, end))
    for place, pieces in by_section.items():
        found += pieces if place[0] in doubted else _joined_in_a_row(pieces, between.get(place, ()))
    return sorted(found, key=lambda passage: passage.document.rank)


def ordered(passages: Sequence[Passage], order: Order) -> list[Passage]:
    """Put passages, given by rank, into reading order.

    "edges" puts the best first, the second best last, and so on towards the middle, which models read worst (Liu et al. 2023,
    "Lost in the Middle"). "source" keeps each file's pieces together in the file's order, files by their best rank.
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
                (passage.document.rank, 0, 0)
                if passage.path is None
                else (first[passage.path], 0 if passage.section is None else passage.section[1], passage.start or 0)
            ),
        )
    return list(passages)


def block(number: int, text: str) -> str:
    """Give a passage's text with its number, as the context shows it."""
    return f"[{number}] {text}"


def text_of(passages: Sequence[Passage]) -> str:
    """Give the whole context's text."""
    return SEPARATOR.join(block(number, passage.text) for number, passage in enumerate(passages, start=1))


def are_neighbours(left: Passage, right: Passage) -> bool:
    """Tell whether two pieces of one file can be joined: one follows the other, or both overlap in the same text."""
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


def _joined_in_a_row(pieces: Sequence[Passage], between: Sequence[tuple[int, int]]) -> list[Passage]:
    """Join those pieces of one file that are neighbours."""
    pieces = sorted(pieces, key=lambda piece: (piece.start, piece.end))
    found = pieces[:1]
    for piece in pieces[1:]:
        if are_neighbours(found[-1], piece) and not _are_parted(found[-1], piece, between):
            found[-1] = _joined(found[-1], piece)
        else:
            found.append(piece)
    return found


def _are_parted(left: Passage, right: Passage, between: Sequence[tuple[int, int]]) -> bool:
    """Tell whether a known piece stands between two passages: joined, they would leave it out without a sign."""
    if left.end is None or right.start is None:
        return False
    return any(left.end <= start < end <= right.start for start, end in between)


def _joined(left: Passage, right: Passage) -> Passage:
    """Join two pieces; where they overlap the common part stands once."""
    if left.start is None or left.end is None or right.start is None or right.end is None:
        raise ValueError("only passages with start and end can be joined")
    gap = right.start - left.end
    best, other = (left, right) if left.document.rank < right.document.rank else (right, left)
    # The other's document may be the best's own, or merged already: a neighbour that it brought.
    positions = dict.fromkeys((*left.merged, *right.merged, other.position))
    positions.pop(best.position, None)
    return Passage(
        best.position,
        best.document,
        text=left.text + (right.text[-gap:] if gap <= 0 else ("\n" if gap > 1 else " ") + right.text),
        matches=np.maximum(left.matches, right.matches),
        path=left.path,
        start=left.start,
        end=max(left.end, right.end),
        section=left.section,
        is_counted=True,
        merged=tuple(positions),
    )
