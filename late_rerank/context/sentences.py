"""Where a text's sentences stand, and texts cut after a sentence, with a mark."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator

import regex

from late_rerank.encode.places import Span
from late_rerank.text.stops import ASCII_STOP, CLAUSE_STOP, CLOSING, GOES_ON, SPACED_STOP, UNSPACED_STOP
from late_rerank.text.words import character_ends

CUT_MARK = " [...]"

# After a full stop, question or exclamation mark, with a quote or bracket perhaps, before white space (Greek asks with a
# semicolon); after those of scripts that put none there (Chinese, Burmese, Khmer, Tibetan) or use them for nothing else
# (Arabic, Urdu, Hindi), unless within a number, or where a sign joins the next letter to them; or at an empty line.
_END = regex.compile(
    rf"(?V1){SPACED_STOP}{CLOSING}*+(?=\s|$)|(?<=\p{{Greek}}\p{{M}}*)[;\u037e]{CLOSING}*+(?=\s|$)|"
    rf"(?:{UNSPACED_STOP}++|{ASCII_STOP}){CLOSING}*+(?!{GOES_ON})|\n\s*\n"
)
# A full stop after these, or after one letter, as in "E. coli" and "A. S. Pushkin" in any script, is none. A Russian sentence
# may well end in the word of one letter that says I.
_ABBREVIATION = regex.compile(
    r"(?<![\p{L}\p{M}\p{N}_])(?:e\.g|i\.e|cf|vs|al|figs?|eq|no|approx|ca|dr|mrs?|ms|prof|st|pp|vol|nr|bzw|vgl|abb|sra?|mme|mlle|"
    r"\u0441\u043c|\u0440\u0438\u0441|\u0441\u0442\u0440|\u0438\u043c|\u0443\u043b|\u0921\u0949|(?!\u044f)\p{L}\p{M}*)\.$",
    regex.IGNORECASE,
)
_LONGEST_ABBREVIATION = 10
# Where a clause ends in scripts without spaces, there is a better place to cut than within it.
_CLAUSE_END = rf"(?<={CLAUSE_STOP})(?=[^\s\u300d\u300f\u2019\u201d])"
_WORD_ENDS = regex.compile(rf"(?V1)\s+|{_CLAUSE_END}")
# So many characters without a full stop are a list or a table.
_LONG = 400
# Thai, Lao, Khmer and Burmese have spaces between clauses and hardly a full stop. So many characters of clauses in a row are
# about a sentence.
_CLAUSES = regex.compile(r"(?<=\p{lb=SA})\s+(?=\p{lb=SA})")
_ALL_CLAUSES = regex.compile(rf"(?V1)(?<=\p{{lb=SA}})\s+(?=\p{{lb=SA}})|{_CLAUSE_END}")
_SENTENCE = 60


def sentences(text: str) -> list[Span]:
    """Find where a text's sentences stand, in order, without the white space between them.

    Long ones are split at line ends; in scripts without spaces between words, at the ends of clauses.
    """
    found = []
    for start, end in _between(text, list(_ends(text))):
        if end - start > _LONG:
            lines = _between(text, [match.end() for match in regex.finditer("\n", text[start:end])], start, end)
            found += [clauses for line in lines for clauses in _in_clauses(text, *line)]
        else:
            found += _in_clauses(text, start, end)
    return found


def _in_clauses(text: str, start: int, end: int) -> list[Span]:
    """Split a text without a full stop after clauses, each piece about as long as a sentence; else give it whole."""
    if end - start < 2 * _SENTENCE or text[start:end].isascii():
        return [(start, end)]
    places = _CLAUSES if end - start <= _LONG else _ALL_CLAUSES
    ends, last = [], start
    for match in places.finditer(text, start, end):
        if match.end() - last >= _SENTENCE and end - match.end() >= _SENTENCE // 2:
            last = match.end()
            ends.append(last - start)
    return _between(text, ends, start, end)


def cut_to(text: str, fits: Callable[[str], bool]) -> str | None:
    """Give the longest beginning of a text that fits, with a mark: cut after a sentence, else a word, else a character.

    Args:
        text: Too long to fit.
        fits: Tells whether a text fits. If a text fits, its beginnings must fit too.

    Returns:
        None if not even one character and the mark fit.
    """
    return next((cut for ends in _places_to_cut(text) if (cut := _longest(text, ends, fits))), None)


def cut_from(text: str, place: int, fits: Callable[[str], bool]) -> tuple[str, Span] | None:
    """Give the longest piece of a text that fits and begins with the sentence at a place, with marks for what is left out.

    If the piece reaches the end of the text and there is room left, the piece begins earlier.

    Args:
        text: Too long to fit.
        place: A place in the text, in code points.
        fits: As in `cut_to`.

    Returns:
        The shown piece with its marks, and where it stands in the text. None if not even one character and the marks fit.
    """
    start = _beginning(text, place)
    if not text[:start].strip():
        cut = cut_to(text, fits)
        return None if cut is None else (cut, (0, len(cut) - len(CUT_MARK)))
    whole = len(text.rstrip())
    if fits(opened(text[start:whole])):
        start = _earliest(text, start, lambda earlier: fits(opened(text[earlier:whole])))
        return opened(text[start:whole]), (start, whole)
    cut = cut_to(text[start:], lambda shorter: fits(opened(shorter)))
    return None if cut is None else (opened(cut), (start, start + len(cut) - len(CUT_MARK)))


def opened(text: str) -> str:
    """Put the mark for a gap before a text."""
    return f"{CUT_MARK.lstrip()} {text}"


def _beginning(text: str, place: int) -> int:
    """Find where the sentence at a place begins. If that is far before it, find the beginning of its word, or its character."""
    begins = [start for start, _ in sentences(text) if start <= place]
    near = [start for start in begins[-1:] if place - start <= _LONG]
    near = near or [match.end() for match in _WORD_ENDS.finditer(text) if place - _LONG <= match.end() <= place]
    near = near or [0, *(end for end in character_ends(text) if end <= place)]
    return near[-1]


def _earliest(text: str, start: int, fits: Callable[[int], bool]) -> int:
    """Find the earliest sentence, up to `start`, from which on the text fits; it fits from `start` on."""
    begins = [*(begin for begin, _ in sentences(text)[1:] if begin < start), start]
    return begins[bisect_left(begins, True, hi=len(begins) - 1, key=fits)]  # noqa: FBT003 - from False to True


def _places_to_cut(text: str) -> Iterator[Iterable[int]]:
    """Give where a text may be cut, the best kind of place first."""
    yield (end for _, end in sentences(text))
    yield (match.start() for match in _WORD_ENDS.finditer(text))
    yield character_ends(text)


def _ends(text: str) -> Iterator[int]:
    for match in _END.finditer(text):
        end = match.end()
        if match.group().startswith("."):
            goes_on = text[end : end + 80].lstrip()[:1].islower()  # a new sentence begins with a capital
            if goes_on or _ABBREVIATION.search(text[max(end - _LONGEST_ABBREVIATION, 0) : end]):
                continue
        yield end


def _between(text: str, ends: list[int], start: int = 0, stop: int | None = None) -> list[Span]:
    """Give the spans of text[start:stop] that end at `ends`, counted from `start`; without blank ones and white space."""
    stop = len(text) if stop is None else stop
    found = []
    for end in [*(start + end for end in ends), stop]:
        piece = text[start:end]
        if piece.strip():
            found.append((start + len(piece) - len(piece.lstrip()), start + len(piece.rstrip())))
        start = end
    return found


def _longest(text: str, places: Iterable[int], fits: Callable[[str], bool]) -> str | None:
    whole = len(text.rstrip())  # all of the text would need no mark
    ends = [end for end in places if end < whole]
    low, high = 0, len(ends)  # the first `low` ends fit
    while low < high:
        middle = (low + high + 1) // 2
        if fits(text[: ends[middle - 1]].rstrip() + CUT_MARK):
            low = middle
        else:
            high = middle - 1
    return text[: ends[low - 1]].rstrip() + CUT_MARK if low and text[: ends[low - 1]].strip() else None
