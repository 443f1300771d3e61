"""Score -> relevance in [0, 1]. Until a calibration exists: the mean MaxSim per query token, clipped."""

from __future__ import annotations

import numpy as np

from late_rerank.types import F32


def relevance(scores: F32, n_query_tokens: int) -> F32:
    """Relevance of scored documents.

    Args:
        scores: (n_documents,) float32 MaxSim.
        n_query_tokens: Token vectors of the query, expansion included.

    Returns:
        (n_documents,) float32 in [0, 1]. Within one query the order is that of `scores`, ties at the ends aside.
    """
    mean: F32 = scores / np.float32(max(n_query_tokens, 1))
    clipped: F32 = np.minimum(np.maximum(mean, np.float32(0)), np.float32(1))
    return clipped
