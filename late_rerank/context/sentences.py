"""A text's sentences, and a text cut at one of them, with a mark that says so."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator

from late_rerank.places import Span

CUT_MARK = " [...]"

# After a full stop, question or exclamation mark, with a quote or bracket perhaps, before white space; after those of scripts
# that put none there (Chinese, Japanese) or use them for nothing else (Arabic, Urdu, Hindi); or at an empty line.
_END = re.compile(
    r"[.!?\u2026][\"'\u201d\u2019)\]]*(?=\s|$)|[\u3002\uff01\uff1f\u061f\u06d4\u0964][\"'\u201d\u2019\u300d\u300f)\]]*|\n\s*\n"
)
# A full stop after these, or after one letter, as in "E. coli", is none.
_ABBREVIATION = re.compile(r"\b(?:e\.g|i\.e|cf|vs|al|fig|figs|eq|no|approx|ca|dr|mr|mrs|ms|prof|st|[a-z])\.$", re.IGNORECASE)
_LONGEST_ABBREVIATION = 8
# What goes on in small letters is no new sentence; and what has so many characters and no full stop is a list or a table.
_LONG = 400


def sentences(text: str) -> list[Span]:
    """Where a text's sentences stand, in order: all but the white space between them. Long ones are split at line ends."""
    found = []
    for start, end in _between(text, list(_ends(text))):
        if end - start > _LONG:
            found += _between(text, [match.end() for match in re.finditer("\n", text[start:end])], start, end)
        else:
            found.append((start, end))
    return found


def cut_to(text: str, fits: Callable[[str], bool]) -> str | None:
    """The longest beginning of a text that fits, cut after a sentence, else after a word, else after a character, and marked.

    Args:
        text: Longer than what fits.
        fits: Whether a text fits; what fits must fit when shortened.

    Returns:
        None where not even a character and the mark fit.
    """
    by_sentence = [end for _, end in sentences(text)]
    by_word = [match.start() for match in re.finditer(r"\s+", text)]
    return next((cut for ends in (by_sentence, by_word, _characters(text)) if (cut := _longest(text, ends, fits))), None)


def _ends(text: str) -> Iterator[int]:
    for match in _END.finditer(text):
        end = match.end()
        if match.group().startswith("."):
            goes_on = text[end : end + 80].lstrip()[:1].islower()
            if goes_on or _ABBREVIATION.search(text[max(end - _LONGEST_ABBREVIATION, 0) : end]):
                continue
        yield end


def _between(text: str, ends: list[int], start: int = 0, stop: int | None = None) -> list[Span]:
    """Pieces of text[start:stop] that end at `ends` (counted from `start`), without white space around them or blank ones."""
    stop = len(text) if stop is None else stop
    found = []
    for end in [*(start + end for end in ends), stop]:
        piece = text[start:end]
        if piece.strip():
            found.append((start + len(piece) - len(piece.lstrip()), start + len(piece.rstrip())))
        start = end
    return found


def _characters(text: str) -> list[int]:
    """Where characters end, with the marks that belong to them."""
    return [i for i in range(1, len(text)) if not unicodedata.combining(text[i]) and text[i] not in "\u200d\ufe0f"]


def _longest(text: str, ends: list[int], fits: Callable[[str], bool]) -> str | None:
    ends = [end for end in ends if end < len(text.rstrip())]  # the whole text would need no mark
    low, high = 0, len(ends)  # the first `low` ends fit
    while low < high:
        middle = (low + high + 1) // 2
        if fits(text[: ends[middle - 1]].rstrip() + CUT_MARK):
            low = middle
        else:
            high = middle - 1
    return text[: ends[low - 1]].rstrip() + CUT_MARK if low and text[: ends[low - 1]].strip() else None
