"""Tokens -> words. Pieces of the vocabulary are joined to the words that a reader sees."""

from __future__ import annotations

import unicodedata
from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from typing import NamedTuple

from late_rerank.text.words import character_ends, is_unspaced, word_spans


class Word(NamedTuple):
    """A word of a text.

    Attributes:
        text: As it stands in the text.
        start: Where it starts, in code points.
        end: Where it ends.
        tokens: Positions of its tokens, ascending.
    """

    text: str
    start: int
    end: int
    tokens: tuple[int, ...]

    @property
    def is_spoken(self) -> bool:
        """Whether it has a letter, a digit or a symbol such as an emoji. Punctuation has none."""
        return any(character.isalnum() or unicodedata.category(character) == "So" for character in self.text)


def words(text: str, tokens: Iterable[tuple[str, int, int]]) -> list[Word]:
    """Join tokens to words. Tokens that start in the same word, or in the same character, are one word.

    Args:
        text: The whole text.
        tokens: (token, start, end) in the order of the text. A token with start == end isn't in the text and makes no word.

    Returns:
        In the order of the text, without overlap. No word begins or ends within a character that a reader sees. In a script
        without spaces between words, each token is a word.
    """
    places = _Places(text)
    joined: list[tuple[int, int, list[int]]] = []
    for i, (token, start, end) in enumerate(tokens):
        if start >= end:
            continue
        first, last = places.whole(start, end)
        if joined and (first < joined[-1][1] or _continues(places, joined[-1][:2], first, token)):
            begun, reached, pieces = joined[-1]
            joined[-1] = (begun, max(reached, last), [*pieces, i])
        else:
            joined.append((first, last, [i]))
    return [Word(text[start:end], start, end, tuple(pieces)) for start, end, pieces in joined]


class _Places:
    """The places of a text's characters, and of its words in scripts with spaces."""

    def __init__(self, text: str) -> None:
        self._bounds = [0, *character_ends(text)]
        spans = [(start, end) for start, end in word_spans(text) if not is_unspaced(text[start:end])]
        self._starts, self._ends = [start for start, _ in spans], [end for _, end in spans]

    def whole(self, start: int, end: int) -> tuple[int, int]:
        """Widen a piece to whole characters."""
        return self._bounds[bisect_right(self._bounds, start) - 1], self._bounds[bisect_left(self._bounds, end)]

    def word_at(self, place: int) -> int | None:
        """Give the word at a place, by its position; None between words."""
        word = bisect_right(self._starts, place) - 1
        return word if word >= 0 and place < self._ends[word] else None


def _continues(places: _Places, before: tuple[int, int], start: int, token: str) -> bool:
    """Whether a token at `start` continues the word before: its character is in the same word as that word's last one."""
    if start == before[1] and token.startswith("##"):
        return True
    word = places.word_at(start)
    return word is not None and word == places.word_at(before[1] - 1)
