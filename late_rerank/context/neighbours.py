"""Pieces of files -> with the pieces beside them, where there is room."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence

from late_rerank.context.layout import Passage, are_neighbours, place_of
from late_rerank.types import F32, Candidate, RankedDocument, as_candidates

# The next piece is a neighbour or none is, but where a piece is empty, or stands twice.
_NEAR = 8

Place = tuple[str, int, int]


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
    by_place = {(place, document.text): document for document in ranked if (place := _place(document)) is not None}
    files = _by_file(documents, {passage.path for passage in passages})
    found = list(passages)
    shown = {passage.text for passage in passages}
    for passage in passages:
        for place, text in _beside(passage, files.get(passage.path or "", [])):
            matches = None if text in shown else matches_if_room(text)
            if matches is not None:
                found.append(Passage(by_place.get((place, text), passage.document), text, matches, None, *place))
                shown.add(text)
    return found


def _by_file(documents: Iterable[str | Candidate], wanted: set[str | None]) -> dict[str, list[tuple[Place, str]]]:
    """Each wanted file's pieces in their order."""
    if not isinstance(documents, Iterable):
        raise TypeError(
            f"neighbours must be None or documents to look in, got {documents!r:.60}; only Searcher.context takes True"
        )
    files: dict[str, list[tuple[Place, str]]] = {}
    for document in as_candidates(documents, "neighbours"):
        place = _place(document)
        if place is not None and place[0] in wanted:
            files.setdefault(place[0], []).append((place, document.text))
    for pieces in files.values():
        pieces.sort(key=_start)
    return files


def _beside(passage: Passage, pieces: Sequence[tuple[Place, str]]) -> Iterator[tuple[Place, str]]:
    """What follows a passage in its file, then what it follows."""
    if passage.start is None or passage.end is None or passage.spans is not None:
        return
    for place, text in pieces[bisect_right(pieces, passage.start, key=_start) :][:_NEAR]:
        if are_neighbours(passage, Passage(passage.document, text, passage.matches, None, *place)):
            yield place, text
            break
    for place, text in reversed(pieces[: bisect_left(pieces, passage.start, key=_start)][-_NEAR:]):
        if are_neighbours(Passage(passage.document, text, passage.matches, None, *place), passage):
            yield place, text
            break


def _start(piece: tuple[Place, str]) -> int:
    return piece[0][1]


def _place(document: Candidate | RankedDocument) -> Place | None:
    path, start, end = place_of(document.metadata)
    return None if path is None or start is None or end is None else (path, start, end)
