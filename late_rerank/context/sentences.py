"""A text cut at a sentence, with a mark that says so."""

from __future__ import annotations

import re
from collections.abc import Callable

CUT_MARK = " [...]"

# After a full stop, question or exclamation mark, with a quote or bracket perhaps, before white space; or at an empty line.
_END = re.compile(r"[.!?\u2026\u3002\uff01\uff1f][\"'\u201d\u2019)\]]*(?=\s|$)|\n\s*\n")


def cut_to(text: str, fits: Callable[[str], bool]) -> str | None:
    """The longest beginning of a text that fits, cut after a sentence, else after a word, and marked.

    Args:
        text: Longer than what fits.
        fits: Whether a text fits; what fits must fit when shortened.

    Returns:
        None where not even a word and the mark fit.
    """
    return _longest(text, [match.end() for match in _END.finditer(text)], fits) or _longest(
        text, [match.start() for match in re.finditer(r"\s+", text)], fits
    )


def _longest(text: str, ends: list[int], fits: Callable[[str], bool]) -> str | None:
    low, high = 0, len(ends)  # the first `low` ends fit
    while low < high:
        middle = (low + high + 1) // 2
        if fits(text[: ends[middle - 1]].rstrip() + CUT_MARK):
            low = middle
        else:
            high = middle - 1
    return text[: ends[low - 1]].rstrip() + CUT_MARK if low and text[: ends[low - 1]].strip() else None
