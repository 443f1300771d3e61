"""Text -> the words that BM25 counts: lower case, two letters or more, stop words out, stemmed."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from threading import Lock

import snowballstemmer

_WORD = re.compile(r"\w\w+")

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
    """A function from text to words.

    Args:
        language: A Snowball stemmer's name; "english" also drops stop words. None only splits and lowers.

    Raises:
        ValueError: Snowball has no such language.
    """
    if language is None:
        return lambda text: _WORD.findall(text.lower())
    if language not in snowballstemmer.algorithms():
        raise ValueError(f"language={language!r} has no stemmer; choose None or one of {snowballstemmer.algorithms()}")
    stop_words = _ENGLISH_STOP_WORDS if language == "english" else frozenset()
    stemmer = snowballstemmer.stemmer(language)
    lock = Lock()

    # A corpus has a hundred times more words than different words, and the stemmer is pure Python.
    @lru_cache(maxsize=2**17)
    def stem(word: str) -> str:
        with lock:  # the stemmer keeps its state in itself
            return str(stemmer.stemWord(word))

    return lambda text: [stem(word) for word in _WORD.findall(text.lower()) if word not in stop_words]
