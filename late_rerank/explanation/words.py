"""Tokens -> words: a vocabulary's pieces are joined as a reader would read them."""

from __future__ import annotations

import unicodedata
from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from typing import NamedTuple

from late_rerank.text.words import character_ends, is_unspaced, word_spans


class Word(NamedTuple):
    """A word of a text.

    Attributes:
        text: As it stands there.
        start: Where it starts, in code points.
        end: Where it ends.
        tokens: The positions of its tokens, ascending.
    """

    text: str
    start: int
    end: int
    tokens: tuple[int, ...]

    @property
    def is_spoken(self) -> bool:
        """Whether it has a letter, a digit or a symbol such as an emoji; punctuation hasn't."""
        return any(character.isalnum() or unicodedata.category(character) == "So" for character in self.text)


def words(text: str, tokens: Iterable[tuple[str, int, int]]) -> list[Word]:
    """Join tokens to words: those that start in the same word, or in the same character, are one.

    Args:
        text: The whole text.
        tokens: (token, start, end) in the order of the text; those with start == end, which aren't in it, make no words.

    Returns:
        In the order of the text; no two overlap, and none begins or ends within a character that a reader sees. Where a
        script puts no spaces between words, each token is one.
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
    """Where a text's characters and its words of scripts with spaces stand."""

    def __init__(self, text: str) -> None:
        self._bounds = [0, *character_ends(text)]
        spans = [(start, end) for start, end in word_spans(text) if not is_unspaced(text[start:end])]
        self._starts, self._ends = [start for start, _ in spans], [end for _, end in spans]

    def whole(self, start: int, end: int) -> tuple[int, int]:
        """The same piece, with the rest of the characters that it begins and ends in."""
        return self._bounds[bisect_right(self._bounds, start) - 1], self._bounds[bisect_left(self._bounds, end)]

    def word_at(self, place: int) -> int | None:
        """Which word is at a place; None between words."""
        word = bisect_right(self._starts, place) - 1
        return word if word >= 0 and place < self._ends[word] else None


def _continues(places: _Places, before: tuple[int, int], start: int, token: str) -> bool:
    """Whether a token at `start` goes on with the word before: its last character is of the same word."""
    if start == before[1] and token.startswith("##"):
        return True
    word = places.word_at(start)
    return word is not None and word == places.word_at(before[1] - 1)
