"""The definition in float64, written as plainly as possible. Every kernel is compared with it. Slow."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from late_rerank.types import NO_TOKENS_SCORE


def maxsim(query: NDArray[np.floating], document: NDArray[np.floating]) -> float:
    """Compute MaxSim of one query (n_query_tokens, dim) and one document (n_tokens, dim).

    Source: Khattab and Zaharia 2020 (ColBERT), equation 3.
    """
    if len(document) == 0:
        return NO_TOKENS_SCORE
    return float(sum(token_maxima(query, document)))


def token_maxima(query: NDArray[np.floating], document: NDArray[np.floating]) -> list[float]:
    """Find the best match in the document for each query token."""
    if len(document) == 0:
        return [NO_TOKENS_SCORE / max(len(query), 1)] * len(query)
    q, d = np.asarray(query, np.float64), np.asarray(document, np.float64)
    return [float((d @ q_i).max()) for q_i in q]


def best_window(query: NDArray[np.floating], document: NDArray[np.floating], window_tokens: int) -> tuple[float, int]:
    """Compute MaxSim of the document's best window of that many tokens, and find the window's first token.

    A window starts at each multiple of half its length. The last one ends with the document, and has no other window around it.
    Of equal windows the earliest is found, but of equal neighbours the last.
    """
    stride = window_tokens // 2
    starts = range(0, max(len(document) - stride, 1), stride)
    scores = [maxsim(query, document[start : start + window_tokens]) for start in starts]
    best = int(np.argmax(scores))
    while best + 1 < len(scores) and scores[best + 1] == scores[best]:
        best += 1
    return scores[best], starts[best]


def proximity(query: NDArray[np.floating], document: NDArray[np.floating], window_tokens: Sequence[int]) -> float:
    """Compute the mean over scales of the best window's MaxSim."""
    return float(np.mean([best_window(query, document, each)[0] for each in window_tokens]))


def score(query: NDArray[np.floating], documents: Sequence[NDArray[np.floating]]) -> NDArray[np.float64]:
    """Compute MaxSim of one query and each document: (n_documents,) float64."""
    return np.array([maxsim(query, document) for document in documents], dtype=np.float64)
