"""Documents that say the same: by their text, or by their token vectors."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from late_rerank.reranker import Reranker
from late_rerank.types import F32

# Of a document's tokens, the mean best match in another: 1 where the text is the same. On SciFact at least .97 with other
# punctuation, .92 without its end, .87 without its beginning, and at most .76 with any other of the ten best documents.
_SAME = 0.85
# Documents that say the same match a query's tokens alike, and share words: at least so many of the shorter one's. Comparing
# two documents' token vectors costs a hundred times as much.
_ALIKE = 0.15
_SHARED = 0.5
# What says all that another does, and more, is left out if the other is so much of it at least.
_MOST = 0.6
_WORD = re.compile(r"\w+")


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
        self._words: dict[int, str] = {}
        self._same: dict[tuple[int, int], bool] = {}  # asked for once by each way of choosing

    def of(self, document: int, taken: Sequence[int]) -> int | None:
        """Which of the taken documents says the same; None if none does."""
        if not taken:
            return None
        apart = np.abs(self._maxima[list(taken)] - self._maxima[document]).mean(axis=1)
        near = []
        for other, distance in zip(taken, apart.tolist(), strict=True):
            if (document, other) not in self._same:
                if self._holds(other, document) or (self._is_most_of(other, document) and self._holds(document, other)):
                    self._same[document, other] = True
                elif distance < _ALIKE and self._share_words_and_numbers(document, other):
                    near.append(other)
                else:
                    self._same[document, other] = False
        self._compare(document, near)
        return next((other for other in taken if self._same[document, other]), None)

    def _compare(self, document: int, others: Sequence[int]) -> None:
        if not others:
            return
        text = self._texts[document]
        there = self._reranker.similarity(text, [self._texts[other] for other in others])
        for other, forth in zip(others, there.tolist(), strict=True):
            said = forth >= _SAME
            if not said and self._is_most_of(other, document):
                said = bool(self._reranker.similarity(self._texts[other], [text])[0] >= _SAME)
            self._same[document, other] = said

    def _holds(self, document: int, part: int) -> bool:
        """Whether a document's words stand in another's in a row; punctuation and letter case aside."""
        return self._words_of(part) in self._words_of(document)

    def _share_words_and_numbers(self, document: int, other: int) -> bool:
        one, two = (frozenset(self._words_of(each).split()) for each in (document, other))
        if len(one & two) < _SHARED * min(len(one), len(two)):
            return False
        # A version, a year, a price: with other numbers nothing is the same, however alike all else.
        return not all(any(map(_has_digit, words)) for words in (one - two, two - one))

    def _is_most_of(self, one: int, other: int) -> bool:
        return len(self._words_of(one)) >= _MOST * len(self._words_of(other))

    def _words_of(self, document: int) -> str:
        """Between spaces, so that a word is never found in a longer one."""
        if document not in self._words:
            self._words[document] = f" {' '.join(_WORD.findall(self._texts[document].lower()))} "
        return self._words[document]


def _has_digit(word: str) -> bool:
    return any(map(str.isdigit, word))
