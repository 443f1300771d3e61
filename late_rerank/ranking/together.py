"""Several models' scores of one query's candidates -> one order. NumPy only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

import numpy as np

from late_rerank.arguments.numbers import number
from late_rerank.arguments.queries import as_list
from late_rerank.ranking.fusion import F64, standardised

Method: TypeAlias = Literal["zscore", "rrf"]
METHODS = ("zscore", "rrf")

# Cormack, Clarke and Buettcher 2009, "Reciprocal rank fusion outperforms Condorcet"; as in HybridRetriever.
_RANK_CONSTANT = 60.0


def together(scores: F64, weights: Sequence[float], method: Method) -> F64:
    """Sum what each model's scores are worth.

    Args:
        scores: (n_models, n_documents) float64; NaN where a model didn't score a document.
        weights: One a model, 0 or more.
        method: "zscore" sums standardised scores. "rrf" sums 1 / (60 + rank), where equal scores have one rank.

    Returns:
        (n_documents,) float64. NaN where no model scored a document. A model that didn't score it counts as its worst score:
        else a document that only one model knows would gain by it.
    """
    value = _standard if method == "zscore" else _reciprocal
    total: F64 = np.zeros(scores.shape[1])
    for weight, of_model in zip(weights, scores, strict=True):
        total += weight * value(of_model)
    total[np.isnan(scores).all(axis=0)] = np.nan
    return total


def weights_of(given: Sequence[float] | None, n: int) -> tuple[float, ...]:
    """Check the weights of `n` models; None makes all equal.

    Raises:
        ValueError: If there are more or fewer, or one isn't above 0.
        TypeError: If one is no number.
    """
    weights = [1.0] * n if given is None else as_list(given, "weights", "numbers, one a Reranker")
    if len(weights) != n:
        raise ValueError(f"weights must be one a Reranker, got {len(weights)} for {n}")
    checked = tuple(number(f"weights[{i}]", weight) for i, weight in enumerate(weights))
    if 0 in checked:
        raise ValueError(f"weights must be above 0, got {list(checked)}: leave out a Reranker that shouldn't count")
    return checked


def checked_method(given: Method) -> Method:
    """Check the name of a method.

    Raises:
        ValueError: If it is unknown.
    """
    if given not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}, got {given!r:.60}")
    return given


def _standard(scores: F64) -> F64:
    is_scored = ~np.isnan(scores)
    found: F64 = np.zeros_like(scores)
    if is_scored.any():
        found[is_scored] = standardised(scores[is_scored])
        found[~is_scored] = found[is_scored].min()
    return found


def _reciprocal(scores: F64) -> F64:
    is_scored = ~np.isnan(scores)
    falling = np.sort(-scores[is_scored])
    found: F64 = np.zeros_like(scores)
    found[is_scored] = 1 / (_RANK_CONSTANT + 1 + np.searchsorted(falling, -scores[is_scored]))
    return found
