"""What matches what: tokens, their best matches, the query's words, and the places to mark."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

from late_rerank.explanation.words import Word
from late_rerank.ranking.relevance import MATCHED_WEAKLY, MATCHED_WELL

Matched = Literal["well", "weakly", "not at all"]
"""How well a word of the query is matched."""


class Token(NamedTuple):
    """A token by its name in the vocabulary, and its place in its text, in code points.

    A token that the model adds ([CLS], [SEP], [MASK], a prefix) is in no text: its start equals its end.
    """

    token: str
    start: int
    end: int

    @property
    def is_marker(self) -> bool:
        """Whether the model added the token."""
        return self.start == self.end


class Match(NamedTuple):
    """The best match of one query token.

    Attributes:
        query_token: Position among the query's tokens.
        document_token: Position of the best token among the document's tokens. Of equal tokens, the first.
        similarity: Cosine of the two tokens' vectors.
        start: Where the document's token starts in the text, in code points.
        end: Where the token ends. Equal to `start` for a marker.
    """

    query_token: int
    document_token: int
    similarity: float
    start: int
    end: int


class Window(NamedTuple):
    """The best window of the text at one scale of the scoring.

    Attributes:
        first_token: The position of its first token among the document's tokens.
        stop_token: The position after its last token.
        start: Where it starts in the text, in code points. A window with all tokens of the text is the whole text.
        end: Where it ends.
    """

    first_token: int
    stop_token: int
    start: int
    end: int

    @property
    def span(self) -> tuple[int, int] | None:
        """The start and the end in code points; None if all of its tokens are markers."""
        return (self.start, self.end) if self.start < self.end else None


@dataclass(frozen=True, slots=True)
class WordMatch:
    """The best match of one word of the query.

    Attributes:
        number: From 1, in the order of the query.
        word: The word, its place in the query and its tokens.
        similarity: The mean of its tokens' best matches. 0 if the document has no tokens.
        contribution: The sum of its tokens' `Explanation.contributions`: the word's part of the score.
        matched: "well" from .6, "weakly" from .45, else "not at all".
        place: The document's word that gives most of the match. None if a marker does.
    """

    number: int
    word: Word
    similarity: float
    contribution: float
    matched: Matched
    place: Word | None


@dataclass(frozen=True, slots=True)
class Span:
    """A word of the document to highlight.

    Attributes:
        start: Where it starts in the text, in code points.
        end: Where it ends.
        similarity: The highest similarity of its matches.
        words: Numbers of the query's words that it matches, ascending.
    """

    start: int
    end: int
    similarity: float
    words: tuple[int, ...]


def matched(similarity: float) -> Matched:
    """Say in words how well a similarity matches."""
    if similarity >= MATCHED_WELL:
        return "well"
    return "weakly" if similarity >= MATCHED_WEAKLY else "not at all"
