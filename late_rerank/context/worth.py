"""Best matches of a query's tokens -> the worth of each match. NumPy only."""

from __future__ import annotations

import numpy as np

from late_rerank.types import F32

# Cubed, one close match counts more than two that are half as close; tests/benchmarks/context.json has the figures. Other
# powers, reaches and levels were compared on train and test questions of SciFact and NFCorpus; near ones differ by chance.
_POWER = 3
# How far, in tokens of the query, a match counts for the words beside it.
_REACH = 2.0


def worth(maxima: F32) -> F32:
    """Weigh the matches of each query token together with its neighbours'.

    A document is about a part of a question if it closely matches words that stand together. A match here and a match there
    cover neither part.

    Args:
        maxima: (n, n_query_tokens) float32, best matches in documents, or in sentences.

    Returns:
        (n, n_query_tokens) float32, none below 0. Each row depends on its own document alone.
    """
    position = np.arange(maxima.shape[1])
    near = np.exp(-0.5 * ((position[:, None] - position) / _REACH) ** 2)
    spread: F32 = (np.maximum(maxima, 0) ** _POWER @ (near / near.sum(axis=0))).astype(np.float32)
    return spread
