"""Tokens -> words: a vocabulary's pieces are joined as a reader would read them."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from typing import NamedTuple

# Scripts without spaces: each token is a word of its own there.
_UNSPACED = ((0x3040, 0x30FF), (0x3400, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x3FFFF))


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
    """The words that a text's tokens make up.

    Args:
        text: The whole text.
        tokens: (token, start, end) in the order of the text; those with start == end, which aren't in it, make no words.

    Returns:
        In the order of the text; no two overlap.
    """
    joined: list[tuple[int, int, list[int]]] = []
    for i, (token, start, end) in enumerate(tokens):
        if start >= end:
            continue
        if joined and _continues(text, joined[-1][1], start, token):
            first, last, pieces = joined[-1]
            joined[-1] = (first, max(last, end), [*pieces, i])
        else:
            joined.append((start, _with_marks(text, end), [i]))
    return [Word(text[start:end], start, end, tuple(pieces)) for start, end, pieces in _apart(joined)]


def _continues(text: str, last: int, start: int, token: str) -> bool:
    """Whether a token at `start` goes on with the word that has come to `last`."""
    if start != last:
        return start < last  # several tokens of one character: an emoji in bytes
    if token.startswith("##"):
        return True
    return (
        _is_letter(text[start - 1]) and _is_letter(text[start]) and not (_unspaced(text[start - 1]) or _unspaced(text[start]))
    )


def _with_marks(text: str, end: int) -> int:
    """The end with what combines with the last letter: tokenizers that strip accents leave them out."""
    while end < len(text) and unicodedata.category(text[end])[0] == "M":
        end += 1
    return end


def _apart(joined: list[tuple[int, int, list[int]]]) -> list[tuple[int, int, list[int]]]:
    """The same, each cut where the next begins."""
    starts = [start for start, _, _ in joined[1:]]
    ends = [min(end, start) for (_, end, _), start in zip(joined, starts, strict=False)] + [end for _, end, _ in joined[-1:]]
    return [(start, end, pieces) for (start, _, pieces), end in zip(joined, ends, strict=True)]


def _is_letter(character: str) -> bool:
    return character == "_" or unicodedata.category(character)[0] in "LNM"


def _unspaced(character: str) -> bool:
    return any(first <= ord(character) <= last for first, last in _UNSPACED)
