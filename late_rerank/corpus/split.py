"""Text -> pieces of about 200 tokens at paragraphs, then sentences, then words, each with its place."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import Any

import regex

from late_rerank.text.words import character_ends

PIECE_TOKENS = 200

# Words with their marks, and punctuation marks: within a fifth of what a WordPiece tokenizer counts on English prose, and needs
# no model. A run of Chinese counts as one word here, unlike in `late_rerank.text.words`.
_TOKEN = regex.compile(r"\w+|[^\w\s]")
# A longer blank is shortened before text is split. What splits it compares each of its parts with the next, so that 72 kB of
# empty table cells, which are blanked HTML, took it 23 s.
_LONG_BLANK = regex.compile(r"\s{9,}+")
# A picture says something too, a line of dashes or what is left of a Markdown image doesn't.
_CONTENT = regex.compile(r"[\p{L}\p{N}\p{So}\p{Sc}\p{Me}]")
_CHARACTER = 64


def split(text: str, n_tokens: int = PIECE_TOKENS, *, left_out: Sequence[tuple[int, int]] = ()) -> list[tuple[str, int, int]]:
    """Cut a text where it hurts least.

    Args:
        text: Any length.
        n_tokens: At most so many words and punctuation marks a piece; a single longer word stays whole.
        left_out: (start, end), in order and apart, of what is in no piece.

    Returns:
        (piece, start, end) in order. A piece is text[start:end] without what is left out. Between pieces lie white space, what
        is left out, and punctuation that would be a piece of its own. No piece ends within a character.
    """
    from semchunk.semchunk import chunkerify  # noqa: PLC0415 - 50 ms that `--help` need not pay

    short = _Shortened(text, left_out)
    chunker = chunkerify(_n_tokens, n_tokens, memoize=False)
    places: Any = chunker(short.text, offsets=True)[1]
    whole = _whole_characters(text, [short.place(start, end) for start, end in places if start < end])
    found = ((_without(text, start, end, left_out), start, end) for start, end in whole)
    return [(piece, start, end) for piece, start, end in found if _CONTENT.search(piece)]


def _n_tokens(piece: str) -> int:
    return len(_TOKEN.findall(piece))


class _Shortened:
    """A text with its long blanks shortened, and without what is left out.

    Attributes:
        text: That text.
    """

    def __init__(self, text: str, left_out: Sequence[tuple[int, int]]) -> None:
        kept, self._starts, self._places, length = [], [], [], 0
        for piece, start, end in _stretches(text, left_out):
            kept.append(piece)
            self._starts.append(length)
            self._places.append((start, end))
            length += len(piece)
        self.text = "".join(kept)

    def place(self, start: int, end: int) -> tuple[int, int]:
        """Where a piece of the shortened text stands in the whole one; at its edges without blanks that were shortened."""
        first, last = (bisect_right(self._starts, at) - 1 for at in (start, end - 1))
        return self._whole(start, first, at_start=True), self._whole(end, last, at_start=False)

    def _whole(self, at: int, stretch: int, *, at_start: bool) -> int:
        start, end = self._places[stretch]
        length = (self._starts[stretch + 1] if stretch + 1 < len(self._starts) else len(self.text)) - self._starts[stretch]
        if length == end - start:
            return start + at - self._starts[stretch]
        return end if at_start else start


def _stretches(text: str, left_out: Sequence[tuple[int, int]]) -> Iterator[tuple[str, int, int]]:
    """(what is kept of it, start, end) of stretches of a text, none of them empty."""
    last = 0
    for out_start, out_end in (*left_out, (len(text), len(text))):
        for blank in _LONG_BLANK.finditer(text, last, out_start):
            start, end = blank.span()
            if last < start:
                yield text[last:start], last, start
            yield "\n" * min(text.count("\n", start, end), 3) or " ", start, end
            last = end
        if last < out_start:
            yield text[last:out_start], last, out_start
        last = out_end


def _whole_characters(text: str, places: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """The places, with cuts within a character (an emoji and its colour, a letter and its mark) moved behind it."""
    moved = 0
    for i, (start, end) in enumerate(places):
        start, moved = max(start, moved), 0
        if i + 1 < len(places) and places[i + 1][0] == end and not text[end].isascii():
            ends = character_ends(text[start : end + _CHARACTER])
            end = start + ends[bisect_right(ends, end - start - 1)]
            moved = end
        if start < end:
            yield start, end


def _without(text: str, start: int, end: int, left_out: Sequence[tuple[int, int]]) -> str:
    """text[start:end] without what is left out, which lies whole within or outside."""
    kept, last = [], start
    for out_start, out_end in left_out[bisect_right(left_out, (start, -1)) :]:
        if out_start >= end:
            break
        kept.append(text[last:out_start])
        last = out_end
    return "".join([*kept, text[last:end]])
