"""Tests whether a difference between two rankings of the same queries is more than chance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np

from late_rerank.errors import check_installed

_SAMPLES = 9999
_BATCH = 1000  # samples in memory at once
_SEED = 0


@dataclass(frozen=True)
class Difference:
    """A measure of one ranking less that of another, over the same queries.

    Attributes:
        mean: The mean over queries.
        low: The lower end of the mean's 95 % range, by bootstrap over queries.
        high: The upper end of that range.
        p: How often chance gives a difference as large, if the two are equally good (paired randomisation, two-sided).
    """

    mean: float
    low: float
    high: float
    p: float

    def to_dict(self) -> dict[str, float]:
        """Give JSON values, to four places."""
        return {name: round(value, 4) for name, value in asdict(self).items()}


def difference(before: Mapping[str, float], after: Mapping[str, float]) -> Difference:
    """Measure how much the second ranking adds to the first.

    The samples are always the same, so equal figures give equal results.

    Args:
        before: Query id -> measure.
        after: Query id -> measure, for the same queries.

    Raises:
        ValueError: If there are no queries, or the queries differ.
        MissingDependencyError: If scipy isn't installed.

    Source: Smucker, Allan and Carterette 2007, "A comparison of statistical significance tests for information retrieval
    evaluation": the randomisation test; and Efron's percentile bootstrap.
    """
    if not before or before.keys() != after.keys():
        raise ValueError(f"expected the same queries before and after, at least one, got {len(before)} and {len(after)}")
    values = np.array([after[name] - before[name] for name in before])
    mean = float(values.mean())
    if len(values) == 1 or not values.any():
        return Difference(mean, mean, mean, 1.0)
    check_installed("a significance test", "eval", "scipy")
    from scipy import stats  # noqa: PLC0415 - an extra, and takes 0.3 s

    # If the two are equally good, chance decides which of a query's two rankings is which.
    test = stats.permutation_test(
        (values,), np.mean, permutation_type="samples", vectorized=True, n_resamples=_SAMPLES, batch=_BATCH, rng=_SEED
    )
    low, high = stats.bootstrap(
        (values,), np.mean, method="percentile", vectorized=True, n_resamples=_SAMPLES, batch=_BATCH, rng=_SEED
    ).confidence_interval
    return Difference(mean, float(low), float(high), float(test.pvalue))
