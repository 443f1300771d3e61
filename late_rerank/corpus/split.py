"""Text -> pieces of about 200 tokens at paragraphs, then sentences, then clauses, then words, each with its place."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import Any

import regex

from late_rerank.corpus.spacing import Spaced
from late_rerank.text.words import character_ends

PIECE_TOKENS = 200

# Words and punctuation marks. On English prose their number is within a fifth of a WordPiece tokenizer's count, and needs no
# model. `Spaced` shows it signs instead of the letters of scripts without spaces.
_TOKEN = regex.compile(r"\w+|[^\w\s]")
# Longer white space is shortened before text is split. The splitter compares each part of it with the next: 72 kB of empty
# table cells (blanked HTML) took 23 s.
_LONG_BLANK = regex.compile(r"\s{9,}+")
# A pictograph counts as content. A line of dashes, or the rest of a Markdown image, doesn't.
_CONTENT = regex.compile(r"[\p{L}\p{N}\p{So}\p{Sc}\p{Me}]")
_CHARACTER = 64


def split(text: str, n_tokens: int = PIECE_TOKENS, *, left_out: Sequence[tuple[int, int]] = ()) -> list[tuple[str, int, int]]:
    """Cut a text into pieces: at paragraphs where possible, else at sentences, else at clauses, else between words.

    In scripts without spaces between words, the last resort is to cut between characters.

    Args:
        text: Any length.
        n_tokens: The most words and punctuation marks of a piece; a single longer word stays whole. A Chinese character and a
            Japanese syllable count as words, and so do three characters of Thai, Lao, Khmer, Burmese and Tibetan.
        left_out: (start, end) of spans that belong to no piece, in order and without overlap.

    Returns:
        (piece, start, end) in order. A piece is text[start:end] without the spans that are left out. Between pieces lie white
        space, spans that are left out, and punctuation that would be a piece of its own. No piece ends within a character.
    """
    from semchunk.semchunk import chunkerify  # noqa: PLC0415 - 50 ms that `--help` need not pay

    short = _Shortened(text, left_out)
    spaced = Spaced(short.text)
    chunker = chunkerify(_n_tokens, n_tokens, memoize=False)
    found: Any = chunker(spaced.text, offsets=True)[1]
    places = ((spaced.place(start), spaced.place(end)) for start, end in found)
    whole = _whole_characters(text, [short.place(start, end) for start, end in places if start < end])
    pieces = ((_without(text, start, end, left_out), start, end) for start, end in whole)
    return [(piece, start, end) for piece, start, end in pieces if _CONTENT.search(piece)]


def _n_tokens(piece: str) -> int:
    return len(_TOKEN.findall(piece))


class _Shortened:
    """A text with its long white space shortened, and without the spans that are left out.

    Attributes:
        text: The shortened text.
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
        """Find where a piece of the shortened text stands in the whole one, without shortened white space at its edges."""
        first, last = (bisect_right(self._starts, at) - 1 for at in (start, end - 1))
        return self._whole(start, first, at_start=True), self._whole(end, last, at_start=False)

    def _whole(self, at: int, stretch: int, *, at_start: bool) -> int:
        start, end = self._places[stretch]
        length = (self._starts[stretch + 1] if stretch + 1 < len(self._starts) else len(self.text)) - self._starts[stretch]
        if length == end - start:
            return start + at - self._starts[stretch]
        return end if at_start else start


def _stretches(text: str, left_out: Sequence[tuple[int, int]]) -> Iterator[tuple[str, int, int]]:
    """Give the stretches of a text as (text that is kept, start, end); none is empty."""
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
    """Move cuts within a character (an emoji and its colour, a letter and its mark) behind it."""
    moved = 0
    for i, (start, end) in enumerate(places):
        start = max(start, moved)
        if start >= end:  # the cut before it was moved behind all of it
            continue
        if i + 1 < len(places) and places[i + 1][0] == end and not text[end - 1 : end + 1].isascii():
            ends = character_ends(text[start : end + _CHARACTER])
            end = start + ends[bisect_right(ends, end - start - 1)]
            moved = end
        yield start, end


def _without(text: str, start: int, end: int, left_out: Sequence[tuple[int, int]]) -> str:
    """Give text[start:end] without the spans that are left out; each lies wholly inside or outside."""
    kept, last = [], start
    for out_start, out_end in left_out[bisect_right(left_out, (start, -1)) :]:
        if out_start >= end:
            break
        kept.append(text[last:out_start])
        last = out_end
    return "".join([*kept, text[last:end]])
