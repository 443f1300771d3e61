"""What matches what on a picture: the best patch of each query token, and of each word of the query."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from late_rerank.encode import Box
from late_rerank.explanation.words import Word


class PatchMatch(NamedTuple):
    """The best match of one query token.

    Attributes:
        query_token: Position among the query's tokens.
        vector: Position of the best vector among the picture's vectors. Of equal ones, the first.
        similarity: Cosine of the two vectors.
        box: The part of the picture that the vector stands for. Without area for a marker or a prompt's token.
    """

    query_token: int
    vector: int
    similarity: float
    box: Box

    @property
    def is_outside(self) -> bool:
        """Whether the vector sees no part of the picture."""
        return has_no_area(self.box)


class NearWord(NamedTuple):
    """A word of the page's text layer near a match. The model read the picture, not this word.

    Attributes:
        text: The word as it is printed.
        box: Where it stands.
        is_under: Whether the matched box covers a part of it. Else it is the nearest word beside the box.
    """

    text: str
    box: Box
    is_under: bool


@dataclass(frozen=True, slots=True)
class PageWordMatch:
    """The best matches of one word of the query.

    No bound says whether it matched: cosines of page-image models differ too much. Compare the words of one query.

    Attributes:
        number: From 1, in the order of the query.
        word: The word, its place in the query and its tokens.
        similarity: The mean of its tokens' best matches. 0 if the picture has no vectors.
        contribution: The word's part of the score: the sum of its tokens' `PageExplanation.contributions`.
        boxes: The patches that its tokens match best, each once, the strongest first. Empty if all matches are outside the
            picture.
        near: Words of the text layer near these boxes, the nearest box's first. Empty without a text layer.
    """

    number: int
    word: Word
    similarity: float
    contribution: float
    boxes: tuple[Box, ...]
    near: tuple[NearWord, ...]


class Spot(NamedTuple):
    """A matched patch, to be drawn.

    Attributes:
        box: Where it is.
        similarity: The highest similarity of its matches.
        words: Numbers of the query's words that match it, ascending.
    """

    box: Box
    similarity: float
    words: tuple[int, ...]


def has_no_area(box: Box) -> bool:
    """Tell whether a box shows nothing, as that of a marker."""
    left, top, right, bottom = box
    return right <= left or bottom <= top
