"""Judged queries -> the cheapest way of reranking that is as good as any: depth, first stage's weight, codec, pooling."""

from __future__ import annotations

import random
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from tqdm import tqdm

from late_rerank.encode import Encoder
from late_rerank.evaluate.comparison import Judged, Remembering, bytes_per_token, index_all, kept_in, load_encoder
from late_rerank.evaluate.evaluation import Qrels, measure
from late_rerank.evaluate.identical import check_relevant, without_own
from late_rerank.evaluate.settings import N_TOP, Grid, Setting
from late_rerank.evaluate.significance import Difference, difference
from late_rerank.ranking.fusion import F64, falling, first_stage_scores, fused_order
from late_rerank.reranker import Reranker
from late_rerank.stores import Store
from late_rerank.types import F32, Candidate

MEASURE = f"nDCG@{N_TOP}"
FEWEST_QUERIES = 20
# A setting this far below the best isn't as good, even where so few queries can't prove it.
LARGEST_LOSS = 0.01
_SURE = 0.05
_N_TIMED = 50

_Item = TypeVar("_Item")


@dataclass(frozen=True)
class Tuning:
    """What was picked on one half of the queries, and how it does on the other.

    Attributes:
        n_tuning: Queries that it was picked on.
        n_reporting: Queries that all figures are of.
        n_settings: Tried, the first stage alone included.
        best: Of the highest nDCG@10 on the tuning half; None for the first stage alone.
        picked: The cheapest that is as good; None for the first stage alone.
        measured: "first_stage", "default" and "picked" -> nDCG@10.
        differences: "first_stage" and "default" -> nDCG@10 of what was picked, less that one's.
        bytes_per_token: "default" and "picked" -> what a token of a document takes; 0 without reranking.
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
        """Whether reranking as picked is better than the first stage on the reporting half, by more than chance."""
        return self.picked is not None and self.differences["first_stage"].low > 0


@dataclass(frozen=True)
class _Scored:
    """A query's candidates, each scored in every packing."""

    ids: list[str]
    first_stage: F64
    maxsim: dict[tuple[int, str], F32]

    def top(self, setting: Setting | None) -> list[str]:
        """The ids of the best, as `Reranker.rerank` would order them, each once: two documents may share an id."""
        if setting is None:
            return list(dict.fromkeys(self.ids))[:N_TOP]
        scores, weight = self.maxsim[setting.pooling, setting.codec][: setting.k], setting.first_stage_weight
        order = fused_order(scores, self.first_stage[: setting.k], weight) if weight else falling(scores, 0.0)[0]
        return list(dict.fromkeys(self.ids[i] for i in order.tolist()))[:N_TOP]


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
    then fewer candidates, then no weight, "auto" before numbers, and small ones before large ones.

    Args:
        judged: The first stage's run, deep enough for the grid and for the default setting.
        grid: What to try; None for what is tried by default.
        model: A name or a folder, as `Reranker` takes it.
        store: Where token vectors are kept, and left; None for memory.
        load: Model and pooling -> what encodes.
        progress: Show bars on stderr, if that is a terminal.

    Raises:
        ValueError: There are fewer than 20 queries with a relevant document, or a candidate has no id, or no score.
    """
    grid = grid or Grid()
    names = usable(judged.queries, judged.qrels)
    _check_run(judged, names)
    n_left_out = 0
    if judged.ignore_identical_ids:
        check_relevant(judged.qrels)
        run, n_left_out = without_own(judged.run, names)
        judged = replace(judged, run=run)
    random.Random(0).shuffle(names)
    tuning, reporting = names[: len(names) // 2], names[len(names) // 2 :]
    with kept_in(store) as vectors:
        bench = _Bench(judged, names, _rerankers(judged, names, grid, _loader(model, load, vectors), progress=progress))
        bench.score(progress=progress)
        settings: list[Setting | None] = [None, *sorted(grid.settings(), key=bench.cost)]
        found = {setting: bench.measured(setting, tuning) for setting in _bar(settings, "Comparing", progress=progress)}
        best = max(settings, key=lambda setting: _mean(found[setting]))
        picked = next(setting for setting in settings if _as_good(found[setting], found[best]))
        return replace(_report(bench, settings, best, picked, reporting), n_own_documents_left_out=n_left_out)


def _report(
    bench: _Bench, settings: Sequence[Setting | None], best: Setting | None, picked: Setting | None, names: Sequence[str]
) -> Tuning:
    named = {"first_stage": None, "default": Setting(), "picked": picked}
    measured = {name: bench.measured(setting, names) for name, setting in named.items()}
    del named["first_stage"]
    return Tuning(
        n_tuning=len(bench.names) - len(names),
        n_reporting=len(names),
        n_settings=len(settings),
        best=best,
        picked=picked,
        measured={name: round(_mean(of_queries), 4) for name, of_queries in measured.items()},
        differences={name: difference(measured[name], measured["picked"]) for name in ("first_stage", "default")},
        bytes_per_token={name: bench.size(setting) for name, setting in named.items()},
        latency_ms={name: bench.latency(setting, names) for name, setting in named.items()},
    )


class _Bench:
    """Every query's candidates with their MaxSim in every packing: what settings are measured from, without reranking again."""

    def __init__(self, judged: Judged, names: Sequence[str], rerankers: Mapping[tuple[int, str], Reranker]) -> None:
        self.names = names
        self._judged = judged
        self._rerankers = rerankers
        self._scored: dict[str, _Scored] = {}

    def score(self, *, progress: bool) -> None:
        for name in _bar(self.names, "Scoring", progress=progress):
            query, candidates = self._judged.queries[name], self._judged.run.get(name, [])
            self._scored[name] = _Scored(
                ids=[str(candidate.id) for candidate in candidates],
                first_stage=first_stage_scores(candidate.score for candidate in candidates),
                maxsim={packing: _maxsim(reranker, query, candidates) for packing, reranker in self._rerankers.items()},
            )

    def measured(self, setting: Setting | None, names: Sequence[str]) -> dict[str, float]:
        """Query id -> nDCG@10."""
        return measure({name: self._scored[name].top(setting) for name in names}, self._judged.qrels)[MEASURE]

    def size(self, setting: Setting | None) -> float:
        """Bytes a token of a document."""
        if setting is None:
            return 0
        return bytes_per_token(self._rerankers[setting.pooling, setting.codec], setting.pooling)

    def cost(self, setting: Setting) -> tuple[float, ...]:
        """What settings are sorted by, the cheapest first."""
        weight = -1.0 if setting.first_stage_weight == "auto" else float(setting.first_stage_weight)
        return self.size(setting), setting.k, float(weight != 0), weight

    def latency(self, setting: Setting | None, names: Sequence[str]) -> dict[str, float]:
        """Of `rerank`, in milliseconds, over at most 50 of the queries."""
        if setting is None:
            return {"p50": 0.0, "p99": 0.0}
        reranker, took = self._rerankers[setting.pooling, setting.codec], []
        for name in names[:_N_TIMED]:
            candidates = self._judged.run.get(name, [])[: setting.k]
            ranking = reranker.rerank(self._judged.queries[name], candidates, first_stage_weight=setting.first_stage_weight)
            took.append(ranking.timings_ms["total"])
        p50, p99 = np.percentile(took, [50, 99])
        return {"p50": round(float(p50), 3), "p99": round(float(p99), 3)}


def usable(queries: Mapping[str, str], qrels: Qrels) -> list[str]:
    """Queries with a relevant document, sorted by id.

    Raises:
        ValueError: There are none, or fewer than 20.
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


def _loader(model: str, load: Callable[[str, int], Encoder], store: Store) -> Callable[[int, Sequence[str]], list[Reranker]]:
    def loaded(pooling: int, codecs: Sequence[str]) -> list[Reranker]:
        encoder = Remembering(load(model, pooling))
        return [Reranker(encoder, store=store, codec=codec) for codec in codecs]

    return loaded


def _rerankers(
    judged: Judged,
    names: Sequence[str],
    grid: Grid,
    loaded: Callable[[int, Sequence[str]], list[Reranker]],
    *,
    progress: bool,
) -> dict[tuple[int, str], Reranker]:
    """One a packing, with the vectors of all candidates; a document is encoded once a pooling."""
    run = {name: judged.run.get(name, []) for name in names}
    codecs: dict[int, list[str]] = {}
    for pooling, codec in grid.packings:
        codecs.setdefault(pooling, []).append(codec)
    rerankers = {pooling: loaded(pooling, packed) for pooling, packed in codecs.items()}  # what can't pool is told at once
    for group in rerankers.values():
        index_all(group, run, progress=progress)
    return {
        (pooling, codec): reranker
        for pooling, group in rerankers.items()
        for codec, reranker in zip(codecs[pooling], group, strict=True)
    }


def _maxsim(reranker: Reranker, query: str, candidates: Sequence[Candidate]) -> F32:
    scores = np.empty(len(candidates), dtype=np.float32)
    for document in reranker.rerank(query, candidates):
        scores[document.index] = document.score
    return scores


def _mean(of_queries: Mapping[str, float]) -> float:
    return statistics.fmean(of_queries.values())


def _as_good(found: Mapping[str, float], best: Mapping[str, float]) -> bool:
    loss = _mean(best) - _mean(found)
    return loss <= 0 or (loss <= LARGEST_LOSS and difference(best, found).p >= _SURE)


def _bar(items: Sequence[_Item], what: str, *, progress: bool) -> Iterable[_Item]:
    bar: Iterable[_Item] = tqdm(items, desc=what, disable=None if progress else True)
    return bar
