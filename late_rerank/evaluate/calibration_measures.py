"""How well relevance holds on judged queries: is 0.8 right four times of five, and does a bar tell when not to answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from late_rerank.evaluate.calibration import F64, ScoredQuery, fit_calibration
from late_rerank.ranking.relevance import Calibration, relevance

N_BINS = 10
# Every fifth query is held out.
_HELD_OUT = 5
BARS = tuple(round(0.05 * i, 2) for i in range(1, 20))


@dataclass(frozen=True)
class CalibrationReport:
    """Measures over lists of candidates: each query's list with its relevant documents (answerable), and without.

    Attributes:
        n_queries: Queries; each makes two lists.
        calibration_error: The distance between the relevance of a list's best document and how often it is relevant (expected
            calibration error, ten bins of equal width, weighted by their numbers).
        area_under_curve: How often an answerable list's best relevance is above an unanswerable list's, ties half.
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


@dataclass(frozen=True)
class MeasuredCalibration:
    """A calibration fitted to all queries, and what calibrating gains, measured on every fifth.

    Attributes:
        calibration: Fitted to all queries.
        clipped_mean: The held-out fifth without a calibration.
        calibrated: The held-out fifth with a calibration that was fitted to the other queries.
    """

    calibration: Calibration
    clipped_mean: CalibrationReport
    calibrated: CalibrationReport


def calibrate(
    scored: Sequence[ScoredQuery], fingerprint: str, scoring: str, query_fingerprint: str | None = None
) -> MeasuredCalibration:
    """Fit a calibration, and measure on held-out queries what it is worth.

    Args:
        scored: At least 25 queries: 20 of them are fitted to.
        fingerprint: Of the encoder that scored them.
        scoring: The name of the scoring that made the scores.
        query_fingerprint: As in `fit_calibration`.

    Raises:
        ValueError: If there are too few queries, or relevant documents don't score above others.
    """
    held_out, others = scored[::_HELD_OUT], [query for i, query in enumerate(scored) if i % _HELD_OUT]
    of_what = fingerprint, scoring, query_fingerprint
    clipped_mean = measure_calibration(held_out, None)
    calibrated = measure_calibration(held_out, fit_calibration(others, *of_what))
    return MeasuredCalibration(fit_calibration(scored, *of_what), clipped_mean, calibrated)


def measure_calibration(scored: Sequence[ScoredQuery], calibration: Calibration | None) -> CalibrationReport:
    """Measure a calibration on queries that it wasn't fitted to.

    Args:
        scored: At least one query.
        calibration: None for the clipped mean.

    Raises:
        ValueError: If there is no query.
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
    """Compare the stated relevance with the outcomes, in ten bins of equal width; empty bins are left out.

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
    """Give the chance that a positive value lies above a negative one, ties half: the area under the ROC curve."""
    above = (positive[:, None] > negative[None, :]).mean()
    equal = (positive[:, None] == negative[None, :]).mean()
    return float(above + equal / 2)


def _best(scores: np.ndarray, n_query_tokens: int, calibration: Calibration | None) -> float:
    return float(relevance(scores, n_query_tokens, calibration).max())
