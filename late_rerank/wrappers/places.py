"""Where a content stands in the text that was ranked, and what a budget leaves of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from late_rerank.context import ContextPart
from late_rerank.context.sentences import CUT_MARK, opened
from late_rerank.encode.places import Span
from late_rerank.types import RankedDocument


class Place(NamedTuple):
    """Where a content stands in the text that was ranked, in code points.

    `shift` added to a place there gives the place in the content.
    """

    start: int
    end: int
    shift: int


class Chosen(NamedTuple):
    """A document that was chosen.

    Attributes:
        document: As it was ranked.
        content: What its content is to become, where a budget had it cut, or joined with neighbours of its file; None where it
            stays as it is.
        start: Where the content begins in its file, where a budget was given and that is known.
        end: Where it ends there.
        place: Where the content stands in the text that was ranked.
    """

    document: RankedDocument
    content: str | None = None
    start: int | None = None
    end: int | None = None
    place: Place | None = None

    @property
    def best_span(self) -> list[int] | None:
        """Where the document's best passage stands in the content: start and end in code points.

        A title that was ranked with the content, and what a budget cut off, are no part of it. None if nothing of the passage
        is in the content, or the ranking knows no best passages. The first look takes a tokenizer for a long document.
        """
        span = None if self.place is None else self.document.best_span
        if self.place is None or span is None:
            return None
        start, end = max(span[0], self.place.start), min(span[1], self.place.end)
        return [start + self.place.shift, end + self.place.shift] if start < end else None


def unchanged(document: RankedDocument, content: str) -> Chosen:
    """Choose a document with the content that it has."""
    if document.passage is None:
        return Chosen(document)
    return Chosen(document, place=_place(_within(content, document.text), document.text, content))


def packed(part: ContextPart, documents: dict[int, RankedDocument], contents: Sequence[str] | None, own: str) -> Chosen:
    """Choose the part's document, with a new content where the budget changed it: a blank one where none of it is left."""
    document = documents[part.index]
    span = whole = _within(document.text if contents is None else contents[part.index], document.text)
    if part.spans is not None:
        span = max(part.spans[0][0], whole[0]), min(part.spans[-1][1], whole[1])
    if span == whole and not part.merged:
        return unchanged(document, own)
    content = _joined(part, documents, contents) if part.merged else _cut(document.text, span, whole)
    return Chosen(document, content, part.start, part.end, _place(span, document.text, content))


def _joined(part: ContextPart, documents: dict[int, RankedDocument], contents: Sequence[str] | None) -> str:
    """Give the contents of neighbours as one."""
    joined = part.text
    if contents is None:
        return joined
    for index in (part.index, *part.merged):
        joined = joined.replace(documents[index].text, contents[index], 1)
    return joined


def _cut(text: str, span: Span, whole: Span) -> str:
    """Give the span of a text that a budget left of the whole, with marks for what it left out; blank where that is all."""
    if span[0] >= span[1]:
        return ""
    left = text[slice(*span)] + (CUT_MARK if span[1] < whole[1] else "")
    return opened(left) if span[0] > whole[0] else left


def _within(content: str, text: str) -> Span:
    """Find where a content stands in the text that was ranked, without white space around it; (0, 0) if it isn't there."""
    inner = content.strip()
    start = text.rfind(inner) if inner else -1  # the last one: what stands before the content may say the same
    return (0, 0) if start < 0 else (start, start + len(inner))


def _place(span: Span, text: str, content: str) -> Place | None:
    """Find a span of the ranked text in a content; None if it isn't there."""
    piece = text[slice(*span)]
    return Place(*span, content.index(piece) - span[0]) if piece and piece in content else None
