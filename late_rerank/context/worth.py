"""Best matches of a query's tokens -> what each match is worth. NumPy only."""

from __future__ import annotations

import numpy as np

from late_rerank.types import F32

# Cubed, one close match counts more than two half as close; tests/benchmarks/context.json has what that finds. It was compared
# with other powers, reaches and levels on train and test questions of SciFact and NFCorpus; near ones differ by chance.
_POWER = 3
# How far, in tokens of the query, a match counts for the words beside it.
_REACH = 2.0


def worth(maxima: F32) -> F32:
    """What matches are worth, for each token of the query with those beside it.

    A document is about a part of a question if it matches words that stand together closely: one that matches a word here and
    one there covers neither part.

    Args:
        maxima: (n, n_query_tokens) float32, best matches in documents, or in sentences.

    Returns:
        (n, n_query_tokens) float32, none below 0. Each row depends on that document alone.
    """
    place = np.arange(maxima.shape[1])
    near = np.exp(-0.5 * ((place[:, None] - place) / _REACH) ** 2)
    about: F32 = (np.maximum(maxima, 0) ** _POWER @ (near / near.sum(axis=0))).astype(np.float32)
    return about
