"""Boxes on a page -> where they are, in words, and which words of the page's text layer stand there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol, TypeAlias, runtime_checkable

from late_rerank.encode import Box
from late_rerank.explanation.pages.matches import NearWord

PrintedWord: TypeAlias = tuple[str, Box]
"""A word of a text layer, and its box in fractions of the page."""

# A patch of a whole-page view is an eighth of the page wide and holds some 60 words: of these a reader can use the middle ones.
MOST_WORDS = 6
# A word further away than a tenth of the page says nothing of the match.
_FURTHEST = 0.1
# Over half of the page is no place.
_WHOLE = 0.5


@runtime_checkable
class HasWords(Protocol):
    """A Picture with a text layer, such as PdfPage."""

    def words(self) -> Sequence[PrintedWord]:
        """Give each word with its box, in the order of reading."""


def near(box: Box, words: Sequence[PrintedWord]) -> tuple[NearWord, ...]:
    """Find the words that a box covers in part, else the nearest one.

    Args:
        box: In fractions of the page.
        words: The page's, in the order of reading.

    Returns:
        At most 6 words, those nearest to the box's middle, in the order of reading. Empty if none is near.
    """
    under = [i for i, (_, place) in enumerate(words) if _covers(box, place)]
    if under:
        nearest = sorted(sorted(under, key=lambda i: _distance(_middle(box), words[i][1]))[:MOST_WORDS])
        return tuple(NearWord(*words[i], is_under=True) for i in nearest)
    beside = min(words, key=lambda word: _squared(_gap(box, word[1])), default=None)
    if beside is None or _squared(_gap(box, beside[1])) > _FURTHEST**2:
        return ()
    return (NearWord(*beside, is_under=False),)


def near_all(boxes: Iterable[Box], words: Sequence[PrintedWord]) -> tuple[NearWord, ...]:
    """Find the words near several boxes, each once, at most 6; the first box's words first."""
    found: dict[PrintedWord, NearWord] = {}
    for box in boxes:
        for word in near(box, words):
            found.setdefault((word.text, word.box), word)
    return tuple(found.values())[:MOST_WORDS]


def place_of(box: Box) -> str:
    """Say where on a page a box is: "top left", "middle", "the whole page"."""
    left, top, right, bottom = box
    if (right - left) * (bottom - top) > _WHOLE:
        return "the whole page"
    x, y = _middle(box)
    across, down = (names[min(int(3 * at), 2)] for names, at in ((("left", "", "right"), x), (("top", "", "bottom"), y)))
    return " ".join(filter(None, (down, across))) or "middle"


def _middle(box: Box) -> tuple[float, float]:
    left, top, right, bottom = box
    return (left + right) / 2, (top + bottom) / 2


def _gap(one: Box, other: Box) -> tuple[float, float]:
    """Measure how far apart two boxes are, across and down; 0 where they touch."""
    across = max(one[0] - other[2], other[0] - one[2], 0)
    down = max(one[1] - other[3], other[1] - one[3], 0)
    return across, down


def _covers(box: Box, word: Box) -> bool:
    """Tell whether a box covers a part of a word, and its line: the edge of the line above doesn't count.

    A word may be as thin as a line ("l" in some fonts), and a letter of a heading may be larger than the box.
    """
    (x, y), (_, middle) = _middle(word), _middle(box)
    on_line = box[1] <= y <= box[3] or word[1] <= middle <= word[3]
    return on_line and (min(box[2], word[2]) > max(box[0], word[0]) or box[0] <= x <= box[2])


def _distance(point: tuple[float, float], box: Box) -> float:
    return _squared(_gap((*point, *point), box))


def _squared(gap: tuple[float, float]) -> float:
    return gap[0] ** 2 + gap[1] ** 2
