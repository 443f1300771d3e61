"""MaxSim, the first stage's scores and a prior -> one order, where a caller wants more than MaxSim to count."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from late_rerank.arguments.given import finite
from late_rerank.types import F32, I64, NO_TOKENS_SCORE, RankedBy
from late_rerank.types import FirstStageWeight as FirstStageWeight

F64 = NDArray[np.float64]
_Scores = TypeVar("_Scores", F32, F64)

# The rule of "auto"; chosen on development queries, then measured on others (README.md beside this file).
AUTO_PER_SKEWNESS = 0.1
AUTO_MOST = 0.15

# Scores that differ by less than this share of the largest are one score: single precision rounds there.
_FLAT = 1e-6
# Two sums of standard scores that differ by less differ by rounding.
_ROUNDING = 1e-6


class Sums(NamedTuple):
    """The parts of the numbers that order one query's candidates. All are (n_documents,) float64.

    Attributes:
        score: Standard scores of MaxSim.
        first_stage: What the first stage adds.
        prior: What the prior adds.
    """

    score: F64
    first_stage: F64
    prior: F64

    @property
    def total(self) -> F64:
        """The sums, shifted together so that the highest prior adds 0: huge priors then don't round the best sums."""
        with np.errstate(over="ignore"):  # two priors may be further apart than floats reach
            shifted = self.prior - self.prior.max(initial=-np.inf)
        total: F64 = self.score + self.first_stage + shifted
        return total

    @property
    def has_prior(self) -> bool:
        """Whether priors differ: one prior for all changes no order."""
        return bool(np.any(self.prior != self.prior[:1]))

    def parts(self) -> list[RankedBy]:
        """Give each document's own parts."""
        columns = (column.tolist() for column in self)
        return [RankedBy(*row) for row in zip(*columns, strict=True)]


def fused_order(scores: F32, first_stage: F64, weight: FirstStageWeight) -> I64:
    """Order one query's candidates as `ordered` does, without a prior."""
    return ordered(scores, first_stage, weight)[0]


def ordered(scores: F32, first_stage: F64 | None, weight: FirstStageWeight, prior: F64 | None = None) -> tuple[I64, I64, Sums]:
    """Order one query's candidates, best first by the total of their `sums`; equal ones stay in the order given.

    Args:
        scores: (n_documents,) float32 MaxSim; -1e9 for documents without tokens, -inf for unscored ones. Both follow the
            others, in this order.
        first_stage: (n_documents,) float64, finite; None where it doesn't count.
        weight: As `sums` takes it.
        prior: (n_documents,) float64, finite; None for none.

    Returns:
        The positions, best first; the positions of the documents that were compared, in the order given; and their sums.
    """
    both = np.flatnonzero(scores > np.float32(NO_TOKENS_SCORE))
    others = (-scores).argsort(kind="stable")[len(both) :]
    found = sums(scores[both], _those(first_stage, both), weight, _those(prior, both))
    order, _ = falling(found.total, _ROUNDING)
    return np.concatenate([both[order], others]), both, found


def sums(maxsim: F32, first_stage: F64 | None, weight: FirstStageWeight, prior: F64 | None = None) -> Sums:
    """Compute z(MaxSim), weight * z(first stage) and the prior, whose sums order one query's candidates.

    Args:
        maxsim: (n_documents,) float32, of documents that have tokens.
        first_stage: (n_documents,) float64, of the same documents; higher is better. None where it doesn't count.
        weight: From 0, or "auto": `auto_weight` of these scores.
        prior: (n_documents,) float64, of the same documents; None for none.

    Returns:
        Scores of either kind that are all the same, to six digits, add nothing. Neither scale nor shift of the first stage's
        scores matters as long as they differ by more. A shift of the prior changes no order.
    """
    nothing = np.zeros(len(maxsim))
    theirs = nothing
    if first_stage is not None:
        z = standardised(first_stage)
        theirs = (auto_weight(z) if weight == "auto" else weight) * z
    return Sums(standardised(maxsim.astype(np.float64)), theirs, nothing if prior is None else prior)


def fused(maxsim: F32, first_stage: F64, weight: FirstStageWeight) -> F64:
    """Compute z(MaxSim) + weight * z(first stage), as `sums` does."""
    return sums(maxsim, first_stage, weight).total


def _those(values: F64 | None, positions: I64) -> F64 | None:
    return None if values is None else values[positions]


def falling(scores: _Scores, rounding: float) -> tuple[I64, _Scores]:
    """Give positions and their scores, highest first; equal ones stay in the order given.

    Scores that differ by float32's rounding alone are made equal first. Their last bit depends on a document's place in the
    kernel's call, and that must not decide an order.
    """
    order = (-scores).argsort(kind="stable")
    fallen = scores[order]
    apart = fallen[1:] < fallen[:-1] - scores.dtype.type(rounding)
    if apart.all():
        return order, fallen
    group = np.concatenate([[0], np.cumsum(apart)])
    first = np.concatenate([[0], np.flatnonzero(apart) + 1])
    return order[np.lexsort((order, group))], fallen[first][group]


def standardised(scores: F64) -> F64:
    """Compute z-scores: the distance from the mean in standard deviations; all 0 where scores differ by rounding alone."""
    largest = np.abs(scores).max(initial=0.0)
    scaled = scores / largest if largest else np.zeros_like(scores)  # so that no square is too large
    if not len(scores) or np.ptp(scaled) <= _FLAT:
        return np.zeros_like(scores)
    z: F64 = (scaled - scaled.mean()) / scaled.std()
    return z


def auto_weight(standardised_scores: F64) -> float:
    """Weigh a first stage by its own scores of one query: a tenth of their skewness, from 0 to 0.15.

    A confident first stage gives a few candidates far higher scores than the rest: a skewness of 1.5 or more. A list that is
    flat, or falls evenly, tells candidates apart badly, and MaxSim decides alone.
    """
    skewness = float((standardised_scores**3).mean()) if len(standardised_scores) else 0.0
    return min(max(AUTO_PER_SKEWNESS * skewness, 0.0), AUTO_MOST)


def first_stage_scores(given: Iterable[float | None]) -> F64:
    """Give the score of each candidate, (n_documents,) float64.

    Raises:
        ValueError: If one has none, or NaN or infinity; names it.
    """
    found = [_number(score, index) for index, score in enumerate(given)]
    return np.array(found, dtype=np.float64)


def _number(score: object, index: int) -> float:
    number = finite(score)
    if number is None:
        told = score if isinstance(score, (int, float)) and not isinstance(score, bool) else repr(score)
        has = "no score" if score is None else f"the score {told!s:.60}"
        raise ValueError(
            f"candidates[{index}] has {has}: first_stage_weight needs the first stage's score of each candidate, a finite "
            "number. Give Candidates with scores, or leave it at 0"
        )
    return number
