"""Bytes in an unknown encoding -> its name, where only one reading is a text. The one module that asks the detector."""

from __future__ import annotations

import codecs
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress

from late_rerank.corpus.alphabets import ENCODINGS, LANGUAGES, RARE, Fit, Language, Reading
from late_rerank.corpus.labels import shown

# Of a reading's characters beyond ASCII, those that its language has; and how much more than another reading's.
_LEAST_SHARE = 0.95
_RIVAL_SHARE = 0.85
_BETTER_SHARE = 0.05
# Frequent words that tell a language from another one, and how many times as many they must be.
_LEAST_WORDS = 2
_TIMES_WORDS = 1.5
# How many of the usual share of frequent letters there must be, by whether it has an alphabet; and how much more than
# in another reading, a part of that for each letter.
_LEAST_LETTERS = {True: 0.7, False: 0.35}
_BETTER_LETTERS = 0.15
_BETTER_OF_FEW = 4.0
# An alphabet's letters stand together in Unicode; Vietnamese ones and their signs in five places.
_PAGE, _PAGES = 128, 5
# Of a word, on average.
_MOST_LETTERS = 20


def detect(raw: bytes) -> str:
    """Find the encoding of bytes that aren't UTF-8.

    Args:
        raw: A text, or a part of it that begins with a whole character.

    Returns:
        Python's name of the encoding.

    Raises:
        ValueError: If no reading is a text, or several may be; says which.
    """
    readings = _readings(raw)
    fits = [fit for text, encodings in readings.items() for fit in _fits(text, encodings)]
    most = max((fit.share for fit in fits), default=0.0)
    near = _one_a_language(fit for fit in fits if fit.share >= max(_LEAST_SHARE, most - _BETTER_SHARE))
    best = sorted(_one_a_reading(near), key=_rank)
    if not best or not _is_evident(best[-1]):
        raise ValueError("text of no language in any encoding that is known here")
    rivals = best[:-1] if best[-1].encoding not in RARE else [fit for fit in fits if fit.text != best[-1].text]
    others = [fit for fit in rivals if not _is_better(best[-1], fit)]
    if others or not _is_text(best[-1]) or _may_be_east_asian(best[-1].text, readings):
        named = dict.fromkeys(shown(fit.encoding) for fit in (best[-1], *others[::-1]))
        raise ValueError(f"in an uncertain encoding (perhaps {' or '.join(list(named)[:3])})")
    return readings[best[-1].text][0]  # the most used of those that give it


def _readings(raw: bytes) -> dict[str, list[str]]:
    """Give the texts that the bytes may be, and the encodings that give each."""
    readings: dict[str, list[str]] = {}
    for encoding in ENCODINGS:
        with suppress(UnicodeDecodeError):
            readings.setdefault(decoded_part(raw, encoding), []).append(encoding)
    return readings


def decoded_part(raw: bytes, encoding: str) -> str:
    """Decode a part of a text. Its last character may be cut.

    Raises:
        UnicodeDecodeError: If it isn't in this encoding.
    """
    return codecs.getincrementaldecoder(encoding)().decode(raw)


def is_of_a_language(text: str) -> bool:
    """Tell whether a text, as some encoding gives it, is one of some language."""
    reading = Reading(text)
    if text.isascii():
        return sum(each.isalpha() or each == " " for each in text) > len(text) / 2 and reading.is_text
    fits = (fit for language in LANGUAGES for fit in reading.fits(language.encodings[0]))
    return reading.is_text and any(fit.share >= _LEAST_SHARE and _is_evident(fit) for fit in fits)


def has_one_alphabet(text: str) -> bool:
    """Tell whether a text has spaces, and its letters are of one alphabet: of any language, known here or not."""
    if not Reading(text).is_text or text.count(" ") + text.count("\n") < len(text) / _MOST_LETTERS:
        return False
    pages = Counter(ord(each) // _PAGE for each in text if each > "\x7f")
    own = sum(n for _, n in pages.most_common(_PAGES))
    return own >= _LEAST_SHARE * sum(pages.values()) and not any("\u3400" <= each <= "\ud7a3" for each in text)


def _may_be_east_asian(best: str, readings: Iterable[str]) -> bool:
    """Tell if a short text may be Chinese, Japanese or Korean: words in another reading, or letters in broken quotes."""
    reading = Reading(best)
    least = 1 if reading.has_lone_quotes else 2
    return reading.is_short and any(other.is_text and other.may_be_east_asian(least=least) for other in map(Reading, readings))


def _is_text(fit: Fit) -> bool:
    """Tell whether the detector takes a reading for text too."""
    from charset_normalizer import from_bytes  # noqa: PLC0415 - 15 ms that UTF-8 files need not pay

    raw = fit.text.encode(fit.encoding)
    return bool(from_bytes(raw, cp_isolation=[fit.encoding], preemptive_behaviour=False, enable_fallback=False))


def _fits(text: str, encodings: Iterable[str]) -> list[Fit]:
    reading = Reading(text)
    if not reading.is_text:
        return []
    return [fit for encoding in encodings for fit in reading.fits(encoding) if fit.share >= _RIVAL_SHARE]


def _one_a_language(fits: Iterable[Fit]) -> Iterable[Fit]:
    """Keep a language's best reading: its encodings differ in a few signs, and of equal ones the usual one is meant."""
    best: dict[Language, Fit] = {}
    for fit in fits:
        other = best.setdefault(fit.language, fit)
        if _order(fit) > _order(other):
            best[fit.language] = fit
    return best.values()


def _order(fit: Fit) -> tuple[float, bool, int, int]:
    return fit.share, fit.encoding not in RARE, fit.n_letters, -fit.rank


def _one_a_reading(fits: Iterable[Fit]) -> Iterable[Fit]:
    best: dict[str, Fit] = {}
    for fit in fits:
        best[fit.text] = max(fit, best.setdefault(fit.text, fit), key=_rank)
    return best.values()


def _rank(fit: Fit) -> tuple[bool, float, float, int]:
    """Order fits: the last is the best. A text with words of a language with Latin letters is in no other alphabet."""
    has_words = bool(fit.language.words) and fit.evidence >= _LEAST_WORDS
    return has_words, fit.evidence, fit.share, -fit.rank


def _is_evident(fit: Fit) -> bool:
    """Tell whether a fit's text has what its language's texts have."""
    return bool(fit.language.words) or fit.evidence >= _LEAST_LETTERS[fit.language.is_alphabet]


def _is_better(fit: Fit, other: Fit) -> bool:
    """Tell whether a fit is so much better than another reading's that the other can't be the text."""
    if fit.encoding in RARE:
        return other.encoding in RARE and fit.share > other.share
    if fit.share < other.share and other.evidence >= (_LEAST_WORDS if other.language.words else 1.0):
        return False
    if fit.language.words:
        n_words = other.evidence if other.language.words else 0.0
        return fit.evidence >= max(_LEAST_WORDS, _TIMES_WORDS * n_words)
    return not other.language.words and fit.evidence >= other.evidence + _BETTER_LETTERS + _BETTER_OF_FEW / fit.n_letters
