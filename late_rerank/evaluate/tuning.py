"""Judged queries -> the cheapest way of reranking that is as good as any: depth, weight, codec, pooling, scoring."""

from __future__ import annotations

import random
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from late_rerank.encode import Encoder
from late_rerank.evaluate.comparison import kept_in, load_encoder
from late_rerank.evaluate.evaluation import check_measures
from late_rerank.evaluate.identical import check_relevant, without_own
from late_rerank.evaluate.judged import Judged, Qrels
from late_rerank.evaluate.packings import Packings, index_candidates, load_rerankers
from late_rerank.evaluate.settings import Grid, Setting
from late_rerank.evaluate.significance import Difference, difference
from late_rerank.observing.progress import progress_bar
from late_rerank.stores import Store

FEWEST_QUERIES = 20
# A setting this far below the best isn't as good, even where so few queries can't prove it.
LARGEST_LOSS = 0.01
_SURE = 0.05


@dataclass(frozen=True)
class Tuning:
    """The setting picked on one half of the queries, and its figures on the other half.

    Attributes:
        n_tuning: Queries that it was picked on.
        n_reporting: Queries that all figures are of.
        n_settings: Settings tried, the first stage alone included.
        best: The setting of the highest nDCG@10 on the tuning half; None for the first stage alone.
        picked: The cheapest setting that is as good; None for the first stage alone.
        measured: "first_stage", "default" and "picked" -> nDCG@10.
        differences: "first_stage" and "default" -> nDCG@10 of the picked setting, less that one's.
        bytes_per_token: "default" and "picked" -> bytes of a document's token; 0 without reranking.
        latency_ms: "default" and "picked" -> "p50" and "p99" of `rerank` with all vectors stored; 0 without reranking.
        n_own_documents_left_out: Candidates that had their query's id.
    """

    n_tuning: int
    n_reporting: int
    n_settings: int
    best: Setting | None
    picked: Setting | None
    measured: dict[str, float]
    differences: dict[str, Difference]
    bytes_per_token: dict[str, float]
    latency_ms: dict[str, dict[str, float]]
    n_own_documents_left_out: int = 0

    @property
    def helps(self) -> bool:
        """Tell whether reranking as picked is better than the first stage on the reporting half, by more than chance."""
        return self.picked is not None and self.differences["first_stage"].low > 0

    @property
    def verdict(self) -> str:
        """Say in one sentence whether reranking helps."""
        change = self.differences["first_stage"]
        spread = f"{change.mean:+.3f} nDCG@10, 95 % range {change.low:+.3f} to {change.high:+.3f}, p = {change.p:.4f}"
        if self.picked is None:
            return "Reranking does not help here: on the tuning half nothing beats the first stage by more than .01 or chance."
        if self.helps:
            return f"Reranking helps: {spread} over the first stage."
        if change.high < 0:
            return f"Reranking does not help here: {spread} against the first stage on queries that it wasn't tuned to."
        return f"Reranking does not help here as far as {self.n_reporting} queries can tell: {spread} over the first stage."


def tune(
    judged: Judged,
    grid: Grid | None = None,
    *,
    model: str = "minilm",
    store: Store | None = None,
    load: Callable[[str, int], Encoder] = load_encoder,
    progress: bool = False,
) -> Tuning:
    """Pick a setting on a random half of the queries, the same each time, and measure it on the other.

    Picked is the cheapest setting whose nDCG@10 on the tuning half is at most 0.01 below the best one's, and not significantly
    below (paired randomisation, p < .05). The first stage alone is the cheapest of all; then fewer bytes a token are cheaper,
    then fewer candidates, then the default scoring, then no weight, "auto" before numbers, and small ones before large
    ones.

    Args:
        judged: The first stage's run, deep enough for the grid and for the default setting.
        grid: The settings to try; None for the default grid.
        model: A name or a folder, as `Reranker` takes it.
        store: Where token vectors are kept, and left; None for memory.
        load: Model and pooling -> an Encoder.
        progress: Show bars on stderr, if that is a terminal.

    Raises:
        ValueError: If fewer than 20 queries have a relevant document, or a candidate has no id, or no score.
        MissingDependencyError: As in `check_measures`.
    """
    check_measures()
    grid = grid or Grid()
    names = usable(judged.queries, judged.qrels)
    _check_run(judged, names)
    n_left_out = 0
    if judged.ignore_identical_ids:
        check_relevant(judged.qrels)
        run, n_left_out = without_own(judged.run, names)
        judged = replace(judged, run=run)
    random.Random(0).shuffle(names)
    tuning, _ = _halves(names)
    with kept_in(store) as vectors:
        rerankers = load_rerankers(grid, partial(load, model), vectors)
        index_candidates(rerankers, judged, names, progress=progress)
        packings = Packings(judged, names, rerankers, progress=progress)
        settings: list[Setting | None] = [None, *sorted(grid.settings(), key=packings.cost)]
        bar = progress_bar(settings, desc="Comparing", progress=progress)
        found = {setting: packings.measured(setting, tuning) for setting in bar}
        best = max(settings, key=lambda setting: _mean(found[setting]))
        picked = next(setting for setting in settings if _as_good(found[setting], found[best]))
        result = _report(packings, settings, best, picked, names)
    return replace(result, n_own_documents_left_out=n_left_out)


def draw_queries(queries: Mapping[str, str], qrels: Qrels, n_queries: int | None = None) -> dict[str, str]:
    """Draw queries to tune to: those with a relevant document, in an order of chance, the same each time.

    Args:
        queries: Query id -> text.
        qrels: Query id -> document id -> judgement.
        n_queries: At most so many; None for all.

    Raises:
        ValueError: If fewer than 20 queries have a relevant document.
    """
    names = usable(queries, qrels)
    random.Random(0).shuffle(names)
    return {name: queries[name] for name in names[:n_queries]}


def tuning_split(splits: Sequence[str]) -> str | None:
    """Choose the judgements to tune to: "dev", else "train", else None. Never "test": it would be lost to measuring."""
    return next((name for name in ("dev", "train") if name in splits), None)


def usable(queries: Mapping[str, str], qrels: Qrels) -> list[str]:
    """List the queries with a relevant document, sorted by id.

    Raises:
        ValueError: If there are none, or fewer than 20.
    """
    names = sorted(name for name in queries if any(value > 0 for value in qrels.get(name, {}).values()))
    if not names:
        raise ValueError("no query has a document judged relevant, so there is nothing to tune to")
    if len(names) < FEWEST_QUERIES:
        raise ValueError(
            f"only {len(names)} queries have a document judged relevant; tuning needs at least {FEWEST_QUERIES}, half of them "
            "to pick a setting and half to measure it, and says little below 100"
        )
    return names


def _check_run(judged: Judged, names: Sequence[str]) -> None:
    if not any(judged.run.get(name) for name in names):
        raise ValueError(f"the first stage has candidates for none of the {len(names)} judged queries")
    for name in names:
        if any(candidate.id is None for candidate in judged.run.get(name, [])):
            raise ValueError(f"a candidate of query {name!r} has no id; judgements name documents by id")


def _report(
    packings: Packings,
    settings: Sequence[Setting | None],
    best: Setting | None,
    picked: Setting | None,
    names: Sequence[str],
) -> Tuning:
    """Measure the picked setting on the reporting half, beside the first stage and the default setting."""
    tuning, reporting = _halves(names)
    named = {"first_stage": None, "default": Setting(), "picked": picked}
    measured = {name: packings.measured(setting, reporting) for name, setting in named.items()}
    del named["first_stage"]
    return Tuning(
        n_tuning=len(tuning),
        n_reporting=len(reporting),
        n_settings=len(settings),
        best=best,
        picked=picked,
        measured={name: round(_mean(of_queries), 4) for name, of_queries in measured.items()},
        differences={name: difference(measured[name], measured["picked"]) for name in ("first_stage", "default")},
        bytes_per_token={name: packings.size(setting) for name, setting in named.items()},
        latency_ms={name: packings.latency(setting, reporting) for name, setting in named.items()},
    )


def _halves(names: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
    """Split shuffled queries: one half to pick a setting on, one half to measure it on."""
    return names[: len(names) // 2], names[len(names) // 2 :]


def _mean(of_queries: Mapping[str, float]) -> float:
    return statistics.fmean(of_queries.values())


def _as_good(found: Mapping[str, float], best: Mapping[str, float]) -> bool:
    loss = _mean(best) - _mean(found)
    return loss <= 0 or (loss <= LARGEST_LOSS and difference(best, found).p >= _SURE)
