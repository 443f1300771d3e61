"""Pieces of files -> with the pieces beside them, where there is room."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from late_rerank.context.layout import Passage, are_neighbours
from late_rerank.types import F32, Candidate, RankedDocument, as_candidates

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
    """
    by_place = {place: document for document in ranked if (place := _place(document)) is not None}
    files: dict[str, dict[Place, str]] = {}
    for document in as_candidates(documents, "neighbours"):
        place = _place(document)
        if place is not None:
            files.setdefault(place[0], {})[place] = document.text
    found = list(passages)
    inside = {(passage.path, passage.start, passage.end) for passage in passages}
    for passage in passages:
        for place, text in _beside(passage, files.get(passage.path or "", {})):
            matches = None if place in inside else matches_if_room(text)
            if matches is not None:
                found.append(Passage(by_place.get(place, passage.document), text, matches, None, *place))
                inside.add(place)
    return found


def _beside(passage: Passage, pieces: dict[Place, str]) -> Iterator[tuple[Place, str]]:
    """What follows a passage in its file, then what it follows."""
    if passage.start is None or passage.spans is not None:
        return
    others = [Passage(passage.document, text, passage.matches, None, *place) for place, text in pieces.items()]
    after = [other for other in others if _start(other) > passage.start and are_neighbours(passage, other)]
    before = [other for other in others if _start(other) < passage.start and are_neighbours(other, passage)]
    for other in (*sorted(after, key=_start)[:1], *sorted(before, key=_start)[-1:]):
        place = (str(other.path), _start(other), int(other.end or 0))
        yield place, pieces[place]


def _start(passage: Passage) -> int:
    return -1 if passage.start is None else passage.start


def _place(document: Candidate | RankedDocument) -> Place | None:
    path, start, end = (document.metadata.get(name) for name in ("path", "start", "end"))
    return (str(path), start, end) if path is not None and isinstance(start, int) and isinstance(end, int) else None
