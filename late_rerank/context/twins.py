"""Documents that say the same: by their text, or by their token vectors."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from late_rerank.reranker import Reranker
from late_rerank.types import F32

# Of a document's tokens, the mean best match in another: 1 where the text is the same; .92 for a short sentence with other
# punctuation, which moves the vectors of few words more than those of many.
_SAME = 0.9
# Documents that say the same match a query's tokens alike, and share words: at least so many of the shorter one's. Comparing
# two documents' token vectors costs a hundred times as much.
_ALIKE = 0.1
_SHARED = 0.5
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
        self._words: dict[int, frozenset[str]] = {}
        self._same: dict[tuple[int, int], bool] = {}  # asked for once by each way of choosing

    def of(self, document: int, taken: Sequence[int]) -> int | None:
        """Which of the taken documents says the same; None if none does."""
        if not taken:
            return None
        apart = np.abs(self._maxima[list(taken)] - self._maxima[document]).mean(axis=1)
        alike = [other for other, distance in zip(taken, apart.tolist(), strict=True) if distance < _ALIKE]
        alike = [other for other in alike if self._share_words(document, other)]
        self._compare(document, [other for other in alike if (document, other) not in self._same])
        return next((other for other in alike if self._same[document, other]), None)

    def _share_words(self, document: int, other: int) -> bool:
        for each in (document, other):
            if each not in self._words:
                self._words[each] = frozenset(_WORD.findall(self._texts[each].lower()))
        one, two = self._words[document], self._words[other]
        return len(one & two) >= _SHARED * min(len(one), len(two))

    def _compare(self, document: int, others: Sequence[int]) -> None:
        text = self._texts[document]
        for other in others:
            if text.split() == self._texts[other].split():
                self._same[document, other] = True
        others = [other for other in others if (document, other) not in self._same]
        if not others:
            return
        there = self._reranker.similarity(text, [self._texts[other] for other in others])
        for other, forth in zip(others, there.tolist(), strict=True):
            back = forth if forth >= _SAME else self._reranker.similarity(self._texts[other], [text])[0]
            self._same[document, other] = bool(max(forth, back) >= _SAME)
