"""Pieces of files -> with the pieces beside them, where there is room."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence

from late_rerank.arguments.given import as_candidates
from late_rerank.context.layout import Passage, Place, are_neighbours, are_of_one_source, counted_place, miscounted, place_of
from late_rerank.types import F32, Candidate, RankedDocument

# The next piece is a neighbour or none is, but where a piece is empty, or stands twice.
_NEAR = 8

Piece = tuple[Place, Candidate]


def with_neighbours(
    passages: Sequence[Passage],
    ranked: Iterable[RankedDocument],
    documents: Iterable[str | Candidate],
    matches_if_room: Callable[[str], F32 | None],
) -> list[Passage]:
    """Passages, and those that stand right after or before one of them in its file.

    Args:
        passages: In the order in which they may ask for room. Shortened ones and those without a place in a file ask for none.
        ranked: All that were ranked: a neighbour may be one of them. Any other counts as a piece of the one that brings it.
        documents: Where neighbours are looked for; metadata says their `path`, `start` and `end`.
        matches_if_room: Takes the room for a text and gives its best matches, (n_query_tokens,) float32; None for no room.

    Raises:
        TypeError: `documents` is no list of them; or one is no str or Candidate, named.
    """
    ranked = list(ranked)
    by_place = {(place, document.text): document for document in ranked if (place := _place(document)) is not None}
    files = _by_file(documents, {passage.path for passage in passages} - miscounted(ranked))
    found = list(passages)
    shown = {_shown(passage) for passage in passages}
    for passage in passages:
        for place, text in _beside(passage, files.get(passage.path or "", [])):
            matches = None if (place, text) in shown else matches_if_room(text)
            if matches is not None:
                document = by_place.get((place, text), passage.document)
                found.append(Passage(document, text, matches, None, *place, is_counted=True))
                shown.add((place, text))
    return found


def _shown(passage: Passage) -> tuple[tuple[str | None, int | None, int | None], str]:
    """A text and where it stands: the same answer may stand behind two questions."""
    return (passage.path, passage.start, passage.end), passage.text


def _by_file(documents: Iterable[str | Candidate], wanted: set[str | None]) -> dict[str, list[Piece]]:
    """Each wanted file's pieces in their order."""
    if not isinstance(documents, Iterable):
        raise TypeError(
            f"neighbours must be None or documents to look in, got {documents!r:.60}; only Searcher.context takes True"
        )
    files: dict[str, list[Piece]] = {}
    doubted = set()
    for document in as_candidates(documents, "neighbours"):
        if place_of(document.metadata)[0] in wanted:
            place = _place(document)
            doubted |= miscounted([document])
            if place is not None:
                files.setdefault(place[0], []).append((place, document))
    for path in doubted & files.keys():
        del files[path]
    for pieces in files.values():
        pieces.sort(key=_start)
    return files


def _beside(passage: Passage, pieces: Sequence[Piece]) -> Iterator[tuple[Place, str]]:
    """What follows a passage in its file, then what it follows."""
    if passage.start is None or not passage.is_counted:
        return
    after = pieces[bisect_right(pieces, passage.start, key=_start) :][:_NEAR]
    before = reversed(pieces[: bisect_left(pieces, passage.start, key=_start)][-_NEAR:])
    for side, is_after in ((after, True), (before, False)):
        for place, document in side:
            piece = Passage(passage.document, document.text, passage.matches, None, *place, is_counted=True)
            left, right = (passage, piece) if is_after else (piece, passage)
            if are_of_one_source(passage.document.metadata, document.metadata) and are_neighbours(left, right):
                yield place, document.text
                break


def _start(piece: Piece) -> int:
    return piece[0][1]


def _place(document: Candidate | RankedDocument) -> Place | None:
    return counted_place(document.metadata, document.text)
