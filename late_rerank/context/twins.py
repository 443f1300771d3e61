"""Documents that say the same: by their text, or by their token vectors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from late_rerank.reranker import Reranker
from late_rerank.types import F32

# Of a document's tokens, the mean best match in another: 1 where the text is the same; .92 for a short sentence with other
# punctuation, which moves the vectors of few words more than those of many.
_SAME = 0.9
# Documents that say the same match a query's tokens alike; comparing two documents' tokens costs a hundred times as much.
_ALIKE = 0.1


class Twins:
    """Finds, among documents that were taken, one that says the same as another.

    Args:
        texts: Of all documents.
        maxima: (n_documents, n_query_tokens) float32, their best matches.
        reranker: Knows their token vectors.
    """

    def __init__(self, texts: Sequence[str], maxima: F32, reranker: Reranker) -> None:
        self._texts = texts
        self._plain = [" ".join(text.split()) for text in texts]
        self._maxima = maxima
        self._reranker = reranker
        self._same: dict[tuple[int, int], bool] = {}  # asked for once by each way of choosing

    def of(self, document: int, taken: Sequence[int]) -> int | None:
        """Which of the taken documents says the same; None if none does."""
        for other in taken:
            if self._plain[other] == self._plain[document]:
                return other
        alike = [other for other in taken if np.abs(self._maxima[other] - self._maxima[document]).mean() < _ALIKE]
        self._compare(document, [other for other in alike if (document, other) not in self._same])
        return next((other for other in alike if self._same[document, other]), None)

    def _compare(self, document: int, others: Sequence[int]) -> None:
        if not others:
            return
        text = self._texts[document]
        there = self._reranker.similarity(text, [self._texts[other] for other in others])
        for other, forth in zip(others, there.tolist(), strict=True):
            back = forth if forth >= _SAME else self._reranker.similarity(self._texts[other], [text])[0]
            self._same[document, other] = bool(max(forth, back) >= _SAME)
