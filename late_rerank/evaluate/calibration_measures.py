"""How well relevance holds on judged queries: is 0.8 right four times of five, and does a bar tell when to say nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from late_rerank.evaluate.calibration import F64, ScoredQuery
from late_rerank.ranking.relevance import Calibration, relevance

N_BINS = 10
BARS = tuple(round(0.05 * i, 2) for i in range(1, 20))


@dataclass(frozen=True)
class CalibrationReport:
    """Measures over lists of candidates: each query's once with its relevant documents (answerable), once without.

    Attributes:
        n_queries: Each makes two lists.
        calibration_error: Of the best document of each list: how far its relevance is from how often it is relevant (expected
            calibration error, ten bins of equal width, weighted by their numbers).
        area_under_curve: How often an answerable list's best relevance is above an unanswerable one's, ties half.
        abstained: Bar -> share of unanswerable lists without a document of that relevance.
        kept: Bar -> share of answerable lists with one.
        bins: (mean relevance, share relevant, lists) of each bin that isn't empty, rising.
    """

    n_queries: int
    calibration_error: float
    area_under_curve: float
    abstained: dict[str, float]
    kept: dict[str, float]
    bins: list[tuple[float, float, int]]


def measure_calibration(scored: Sequence[ScoredQuery], calibration: Calibration | None) -> CalibrationReport:
    """Measure a calibration on queries that it wasn't fitted to.

    Args:
        scored: At least one query.
        calibration: None for the clipped mean.

    Raises:
        ValueError: There is no query.
    """
    if not scored:
        raise ValueError("no judged query has candidates, so there is nothing to measure")
    answerable, unanswerable, is_relevant = [], [], []
    for query in scored:
        with_, without = query.lists()
        answerable.append(_best(with_, query.n_query_tokens, calibration))
        unanswerable.append(_best(without, query.n_query_tokens, calibration))
        is_relevant.append(int(with_.argmax()) < len(query.relevant))
    yes, no = np.array(answerable), np.array(unanswerable)
    outcomes = np.concatenate([is_relevant, np.zeros(len(no))]).astype(np.float64)
    bins = reliability(np.concatenate([yes, no]), outcomes)
    return CalibrationReport(
        n_queries=len(scored),
        calibration_error=round(sum(n * abs(said - seen) for said, seen, n in bins) / len(outcomes), 4),
        area_under_curve=round(area_under_curve(yes, no), 4),
        abstained={str(bar): round(float((no < bar).mean()), 4) for bar in BARS},
        kept={str(bar): round(float((yes >= bar).mean()), 4) for bar in BARS},
        bins=[(round(said, 4), round(seen, 4), n) for said, seen, n in bins],
    )


def reliability(said: F64, outcomes: F64) -> list[tuple[float, float, int]]:
    """What was said beside what came true, in ten bins of equal width; empty ones are left out.

    Args:
        said: (n,) float64 in [0, 1].
        outcomes: (n,) float64, 1 or 0.

    Returns:
        (mean of `said`, mean of `outcomes`, number), rising.
    """
    which = np.minimum((said * N_BINS).astype(np.int64), N_BINS - 1)
    found = [which == i for i in range(N_BINS)]
    return [(float(said[here].mean()), float(outcomes[here].mean()), int(here.sum())) for here in found if here.any()]


def area_under_curve(positive: F64, negative: F64) -> float:
    """The chance that a positive one lies above a negative one, ties counted half: the area under the ROC curve."""
    above = (positive[:, None] > negative[None, :]).mean()
    equal = (positive[:, None] == negative[None, :]).mean()
    return float(above + equal / 2)


def _best(scores: np.ndarray, n_query_tokens: int, calibration: Calibration | None) -> float:
    return float(relevance(scores, n_query_tokens, calibration).max())
