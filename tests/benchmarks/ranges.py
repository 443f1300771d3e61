"""Means over questions in per cent, where 95 % of bootstrap samples of the questions have them, and paired differences."""

import numpy as np

N_SAMPLES = 2000


def with_range(values, samples):
    """Per cent: the mean, and where 95 % of bootstrap samples have it."""
    low, high = np.percentile(values[samples].mean(axis=1), [2.5, 97.5])
    return [round(100 * float(number), 1) for number in (values.mean(), low, high)]


def compared(rows, seed):
    """Ways of doing the same, each against "ours".

    Args:
        rows: For each question way -> "tokens" and measures, from 0 to 1; not a number where the question has no such label.
        seed: Of the samples.

    Returns:
        Way -> mean tokens, each measure's number of questions, its figures, and those of what ours is above.
    """
    return {way: _figures([row[way] for row in rows], [row["ours"] for row in rows], way == "ours", seed) for way in rows[0]}


def _figures(found, ours, is_ours, seed):
    report = {"tokens": round(float(np.mean([row["tokens"] for row in found])))}
    for measure in [name for name in found[0] if name != "tokens"]:
        both = np.array([[one[measure], other[measure]] for one, other in zip(found, ours, strict=True)], dtype=float)
        values, base = both[~np.isnan(both[:, 0])].T
        if not len(values):
            continue
        samples = np.random.default_rng(seed).integers(0, len(values), (N_SAMPLES, len(values)))
        report[measure] = {"n": len(values), "mean": with_range(values, samples)}
        if not is_ours:
            report[measure]["ours_above"] = with_range(base - values, samples)
    return report
