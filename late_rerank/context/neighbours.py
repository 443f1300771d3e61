"""Pieces of files -> with the pieces beside them, where there is room."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence

from late_rerank.arguments.given import as_candidates
from late_rerank.context.counting import CountTokens
from late_rerank.context.file_spans import FileSpan, Section, are_of_one_source, counted_span, miscounted_files, told_span
from late_rerank.context.layout import Passage, are_neighbours
from late_rerank.context.query import QueryMatches
from late_rerank.types import Candidate, RankedDocument

# The next piece is a neighbour or none is, unless a piece is empty or stands twice.
_NEAR = 8

Piece = tuple[FileSpan, Candidate]
FileSection = tuple[str | None, Section | None]


def with_neighbours(
    passages: Sequence[Passage],
    ranked: Sequence[RankedDocument],
    neighbours: Iterable[str | Candidate],
    matches: QueryMatches,
    *,
    count: CountTokens,
    n_left: int,
) -> list[Passage]:
    """Add the pieces that stand right after or before a passage in its file.

    Args:
        passages: In the order in which they ask for room. Shortened ones and those without a span in a file ask for none.
        ranked: All ranked documents: a neighbour may be one of them. Any other neighbour counts to the passage that brings it.
        neighbours: Where neighbours are looked for; metadata tell their `path`, `start` and `end`.
        matches: Finds the query's best matches in the neighbours.
        count: Counts a text's tokens.
        n_left: Tokens that are left.

    Raises:
        TypeError: If `neighbours` is no list, or an item of it is no str or Candidate.
    """
    by_span = {(span, document.text): i for i, document in enumerate(ranked) if (span := counted_span(document)) is not None}
    sections = {(passage.path, passage.section) for passage in passages}
    doubted = miscounted_files(ranked)
    files = _by_section(neighbours, {section for section in sections if section[0] not in doubted})
    shown = {_shown(passage) for passage in passages}
    found = []
    for passage in passages:
        if not _is_text(passage.document, matches):
            continue
        for span, document in _beside(passage, files.get((passage.path, passage.section), [])):
            # It joins a passage, so it takes no number and no separator.
            text = document.text
            if (span, text) not in shown and (n_tokens := count(text)) <= n_left and _is_text(document, matches):
                n_left -= n_tokens
                shown.add((span, text))
                found.append((by_span.get((span, text), passage.position), span, document))
    maxima = matches.in_contents([matches.content(document) for _, _, document in found])
    return [
        *passages,
        *(
            Passage(position, ranked[position], document.text, best, None, *span, is_counted=True)
            for (position, span, document), best in zip(found, maxima, strict=True)
        ),
    ]


def _shown(passage: Passage) -> tuple[tuple[str | None, int | None, int | None, Section | None], str]:
    """Give a passage's text and where it stands: the same answer may stand behind two questions."""
    return (passage.path, passage.start, passage.end, passage.section), passage.text


def _by_section(neighbours: Iterable[str | Candidate], sections: set[FileSection]) -> dict[FileSection, list[Piece]]:
    """Give the pieces of each of these files, or pages of files, in their order."""
    if not isinstance(neighbours, Iterable):
        raise TypeError(
            f"neighbours must be None or documents to look in, got {neighbours!r:.60}; only Searcher.context takes True"
        )
    files: dict[FileSection, list[Piece]] = {}
    doubted, paths = set(), {path for path, _ in sections}
    for document in as_candidates(neighbours, "neighbours"):
        if told_span(document.metadata)[0] in paths:
            span = counted_span(document)
            doubted |= miscounted_files([document])
            if span is not None and (span.path, span.section) in sections:
                files.setdefault((span.path, span.section), []).append((span, document))
    for pieces in files.values():
        pieces.sort(key=_start)
    return {section: pieces for section, pieces in files.items() if section[0] not in doubted}


def _is_text(document: Candidate | RankedDocument, matches: QueryMatches) -> bool:
    """Tell whether a document's text is what is encoded. Pages that are encoded as pictures are joined with nothing."""
    return isinstance(matches.content(document), str)


def _beside(passage: Passage, pieces: Sequence[Piece]) -> Iterator[Piece]:
    """Give the piece after a passage in its file, then the piece before it."""
    if passage.start is None or not passage.is_counted:
        return
    after = pieces[bisect_right(pieces, passage.start, key=_start) :][:_NEAR]
    before = reversed(pieces[: bisect_left(pieces, passage.start, key=_start)][-_NEAR:])
    for side, is_after in ((after, True), (before, False)):
        for span, document in side:
            piece = Passage(passage.position, passage.document, document.text, passage.matches, None, *span, is_counted=True)
            left, right = (passage, piece) if is_after else (piece, passage)
            if are_of_one_source(passage.document.metadata, document.metadata) and are_neighbours(left, right):
                yield span, document
                break


def _start(piece: Piece) -> int:
    return piece[0].start
