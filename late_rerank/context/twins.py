"""Documents that say the same: by their words, or by their token vectors."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from late_rerank.errors import IncompatibleError
from late_rerank.reranker import Reranker
from late_rerank.types import F32

# Of a document's tokens, the mean best match in another: 1 where the text is the same. On SciFact at least .97 with other
# punctuation, and at most .76 with any other of the ten best documents.
_SAME = 0.85
# And of each word that only one of the two has: "color" matches "colour" at .97, "do not" "don't" at .89; but "decreases"
# matches "increases" at .85, "not" what it is missing from at .6, "twenty" "ten" at .64.
_DECISIVE = 0.87
# Documents that say the same match a query's tokens alike; comparing two documents' tokens costs a hundred times as much.
_ALIKE = 0.15
# What says all that another does, and more, is left out if the other is so much of it at least.
_MOST = 0.6
# Documents are compared at all if so many words in a row stand in both, and in few others: templates repeat theirs everywhere.
_IN_A_ROW = 3
_FEW = 32

_PIECE = re.compile(r"\S+")
# At a word's edge they say nothing; signs do, as in "-5", "C++", "p < 0.05".
_PUNCTUATION = ".,;:!?\"'()[]{}\u2026\u201c\u201d\u2018\u2019\u3002\uff0c\uff01\uff1f"
_DASHES = {"-", "\u2013", "\u2014"}


class _Words(NamedTuple):
    """A text's words, joined between spaces so that none is found in a longer one, and those that stand in a row."""

    words: list[str]
    joined: str
    rows: set[tuple[str, ...]]


class Twins:
    """Finds, among documents that were taken, one that says the same as another.

    Args:
        texts: Of all documents.
        maxima: (n_documents, n_query_tokens) float32, their best matches.
        reranker: Knows their token vectors.
    """

    def __init__(self, texts: Sequence[str], maxima: F32, reranker: Reranker) -> None:
        self._texts = texts
        self._maxima = maxima
        self._reranker = reranker
        self._words: dict[int, _Words] = {}
        self._with_row: dict[tuple[str, ...], set[int]] = {}  # words in a row -> documents that were taken at some time
        self._indexed: set[int] = set()
        self._same: dict[tuple[int, int], bool] = {}  # asked for once by each way of choosing

    def of(self, document: int, taken: Sequence[int]) -> int | None:
        """Which of the taken documents says the same; None if none does. `taken` only grows, from call to call by one."""
        for other in taken[-1:] if self._indexed else taken:
            self._index(other)
        common = self._words_of(document).rows & self._with_row.keys()
        near: set[int] = set().union(*(self._with_row[row] for row in common if len(self._with_row[row]) <= _FEW))
        near = near.intersection(taken) if near else near
        return next((other for other in sorted(near) if self._says_the_same(document, other)), None)

    def _index(self, document: int) -> None:
        if document not in self._indexed:
            self._indexed.add(document)
            for row in self._words_of(document).rows:
                self._with_row.setdefault(row, set()).add(document)

    def _says_the_same(self, document: int, other: int) -> bool:
        pair = document, other
        if pair not in self._same:
            self._same[pair] = self._by_words(document, other) or self._by_vectors(document, other)
        return self._same[pair]

    def _by_words(self, document: int, other: int) -> bool:
        """Whether its words stand in the other in a row; or the other's in it, and there are hardly more."""
        ours, theirs = self._words_of(document).joined, self._words_of(other).joined
        if not ours.strip():
            return self._texts[document].split() == self._texts[other].split()
        return ours in theirs or (theirs in ours and len(theirs) >= _MOST * len(ours))

    def _by_vectors(self, document: int, other: int) -> bool:
        """Whether both match each other, all in all and in each word that only one has."""
        ours, theirs = self._words_of(document), self._words_of(other)
        apart = np.abs(self._maxima[document] - self._maxima[other])
        if apart.size and apart.mean() >= _ALIKE:
            return False
        if not _MOST <= (len(ours.words) + 1) / (len(theirs.words) + 1) <= 1 / _MOST:
            return False
        # A version, a year, a price: with other numbers, or in another order, nothing is the same, however alike all else.
        if [word for word in ours.words if _has_digit(word)] != [word for word in theirs.words if _has_digit(word)]:
            return False
        return self._matches(document, other) and self._matches(other, document)

    def _matches(self, document: int, other: int) -> bool:
        text, in_ = self._texts[document], [self._texts[other]]
        if self._reranker.similarity(text, in_)[0] < _SAME:
            return False
        theirs = set(self._words_of(other).words)
        own = [match.span() for match in _PIECE.finditer(text) if not theirs.issuperset(_words(match.group()))]
        try:
            return not own or bool(self._reranker.similarity(text, in_, spans=own).min() >= _DECISIVE)
        except IncompatibleError:  # the encoder can't tell which vectors are those words'
            return False

    def _words_of(self, document: int) -> _Words:
        if document not in self._words:
            words = _words(self._texts[document])
            rows = set(zip(*(words[i:] for i in range(_IN_A_ROW)), strict=False)) or {tuple(words)}
            self._words[document] = _Words(words, f" {' '.join(words)} ", rows)
        return self._words[document]


def words_in(text: str) -> str:
    """A text's words between spaces, without punctuation and in lower case: a part of a text is a part of this, too."""
    return f" {' '.join(_words(text))} "


def _words(text: str) -> list[str]:
    """In lower case, without punctuation around them."""
    return [word for piece in text.lower().split() if (word := piece.strip(_PUNCTUATION)) and word not in _DASHES]


def _has_digit(word: str) -> bool:
    return any(map(str.isdigit, word))
