"""Text -> the words that BM25 counts: folded and stemmed, without single letters and stop words."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator
from functools import lru_cache
from itertools import pairwise
from threading import Lock

import snowballstemmer

from late_rerank.text.words import folded, is_unspaced, word_spans

# Version of the rules below and in `late_rerank.text.words`. A saved index of another version is built anew from its texts.
WORDS_VERSION = 2

# In ASCII text it finds the words of `word_spans` that have two characters or more, nine times as fast.
_ASCII_WORD = re.compile(r"\w\w+", re.ASCII)

# The function words that Lucene's English analyzer drops.
_ENGLISH_STOP_WORDS = frozenset(
    [
        "a",
        "an",
        "and",
        "are",
        "as",
        "at",
        "be",
        "but",
        "by",
        "for",
        "if",
        "in",
        "into",
        "is",
        "it",
        "no",
        "not",
        "of",
        "on",
        "or",
    ]
    + ["such", "that", "the", "their", "then", "there", "these", "they", "this", "to", "was", "will", "with"]
)


def word_splitter(language: str | None) -> Callable[[str], list[str]]:
    """Make a function from text to words.

    Args:
        language: A Snowball stemmer's name; "english" also drops stop words. None only splits and folds.

    Raises:
        ValueError: If Snowball has no such language.
    """
    if language is None:
        return lambda text: _words(text, None)
    if language not in snowballstemmer.algorithms():
        raise ValueError(f"language={language!r} has no stemmer; choose None or one of {snowballstemmer.algorithms()}")
    stop_words = _ENGLISH_STOP_WORDS if language == "english" else frozenset()
    stemmer = snowballstemmer.stemmer(language)
    lock = Lock()

    # A corpus has a hundred times more words than different words, and the stemmer is pure Python.
    @lru_cache(maxsize=2**17)
    def stem(word: str) -> str:
        with lock:  # the stemmer keeps its state in itself
            return str(stemmer.stemWord(word)).replace("\u200c", "")  # only the Persian stemmer needs the non-joiner

    return lambda text: [stem(word) for word in _words(text, language) if word not in stop_words]


def _words(text: str, language: str | None) -> list[str]:
    if text.isascii() and language != "turkish":  # in Turkish a small "I" isn't ASCII
        return _ASCII_WORD.findall(text.lower())
    # The whole text is normalised: one sign (kg, a telephone, a company) may stand for letters, and for several words.
    text = unicodedata.normalize("NFKC", text)
    return [word for found in _spaced_words(text) if _counts(word := folded(found, language))]


def _spaced_words(text: str) -> Iterator[str]:
    """Give words as they stand; for scripts without spaces, pairs of neighbouring characters, as Lucene's CJK analyzer does."""
    spans = word_spans(text)
    before = False  # whether the span before made a pair with this one
    for (start, end), following in pairwise([*spans, (-1, -1)]):
        if not is_unspaced(text[start:end]):
            yield text[start:end]
            before = False
            continue
        pairs = following[0] == end and is_unspaced(text[slice(*following)])
        if pairs:
            yield text[start : following[1]]
        elif not before:
            yield text[start:end]
        before = pairs


def _counts(word: str) -> bool:
    """Tell whether a word counts: one letter or digit doesn't; one syllable or ideograph does."""
    return len(word) > 1 or (not word.isascii() and is_unspaced(word)) or "\uac00" <= word <= "\ud7a3"
