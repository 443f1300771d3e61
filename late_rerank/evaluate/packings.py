"""Every query's candidates, scored once in every packing: all settings are measured from these scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from late_rerank.encode import Encoder
from late_rerank.evaluate.comparison import Remembering, bytes_per_token, index_all
from late_rerank.evaluate.evaluation import measure
from late_rerank.evaluate.judged import Judged
from late_rerank.evaluate.settings import N_TOP, Grid, Packing, Setting
from late_rerank.maxsim import DEFAULT_SCORING
from late_rerank.observing.progress import progress_bar
from late_rerank.ranking.fusion import F64, falling, first_stage_scores, fused_order
from late_rerank.reranker import Reranker
from late_rerank.stores import Store
from late_rerank.types import F32, Candidate

MEASURE = f"nDCG@{N_TOP}"
_N_TIMED = 50


@dataclass(frozen=True)
class _Scored:
    """A query's candidates, each scored in every packing."""

    ids: list[str]
    first_stage: F64
    scores: dict[Packing, F32]

    def top(self, setting: Setting | None) -> list[str]:
        """Give the ids of the best, as `Reranker.rerank` would order them, each once: two documents may share an id."""
        if setting is None:
            return list(dict.fromkeys(self.ids))[:N_TOP]
        scores, weight = self.scores[setting.packing][: setting.k], setting.first_stage_weight
        order = fused_order(scores, self.first_stage[: setting.k], weight) if weight else falling(scores, 0.0)[0]
        return list(dict.fromkeys(self.ids[i] for i in order.tolist()))[:N_TOP]


class Packings:
    """The candidates of some queries with their scores in every packing.

    A setting's figures come from these scores, so that nothing is reranked again for it.

    Args:
        judged: The run.
        names: The queries.
        rerankers: Packing -> a Reranker with the vectors of all candidates.
        progress: Show a bar on stderr, if that is a terminal.
    """

    def __init__(
        self, judged: Judged, names: Sequence[str], rerankers: Mapping[Packing, Reranker], *, progress: bool = False
    ) -> None:
        self._judged = judged
        self._rerankers = rerankers
        bar = progress_bar(names, desc="Scoring", progress=progress)
        self._scored = {name: self._score(judged.queries[name], judged.run.get(name, [])) for name in bar}

    def _score(self, query: str, candidates: Sequence[Candidate]) -> _Scored:
        return _Scored(
            ids=[str(candidate.id) for candidate in candidates],
            first_stage=first_stage_scores(candidate.score for candidate in candidates),
            scores={packing: _scores(reranker, query, candidates) for packing, reranker in self._rerankers.items()},
        )

    def measured(self, setting: Setting | None, names: Sequence[str]) -> dict[str, float]:
        """Measure a setting, None for the first stage alone: query id -> nDCG@10."""
        return measure({name: self._scored[name].top(setting) for name in names}, self._judged.qrels)[MEASURE]

    def size(self, setting: Setting | None) -> float:
        """Give the bytes of a document's token; 0 for the first stage alone."""
        if setting is None:
            return 0
        return bytes_per_token(self._rerankers[setting.packing], setting.pooling)

    def cost(self, setting: Setting) -> tuple[float, ...]:
        """Give the key by which settings are sorted, the cheapest first."""
        weight = -1.0 if setting.first_stage_weight == "auto" else float(setting.first_stage_weight)
        is_other = setting.scoring != DEFAULT_SCORING.name
        return self.size(setting), setting.k, float(is_other), float(weight != 0), weight

    def latency(self, setting: Setting | None, names: Sequence[str]) -> dict[str, float]:
        """Time reranks of at most 50 of the queries: "p50" and "p99" in milliseconds; 0 for the first stage alone."""
        if setting is None:
            return {"p50": 0.0, "p99": 0.0}
        reranker, took = self._rerankers[setting.packing], []
        for name in names[:_N_TIMED]:
            candidates = self._judged.run.get(name, [])[: setting.k]
            (ranking,) = reranker.rank([self._judged.queries[name]], [candidates], setting.wanted)
            took.append(ranking.timings_ms["total"])
        p50, p99 = np.percentile(took, [50, 99])
        return {"p50": round(float(p50), 3), "p99": round(float(p99), 3)}


def load_rerankers(grid: Grid, load: Callable[[int], Encoder], store: Store) -> dict[Packing, Reranker]:
    """Make a Reranker for every packing of a grid. Those of one pooling share an encoder.

    Args:
        grid: What is tried.
        load: Pooling -> an Encoder. All are loaded at once, so that a model that can't pool fails before the work.
        store: Where token vectors are kept.
    """
    encoders = {pooling: Remembering(load(pooling)) for pooling in dict.fromkeys(pooling for pooling, *_ in grid.packings)}
    return {
        (pooling, codec, scoring): Reranker(encoders[pooling], store=store, codec=codec, scoring=scoring)
        for pooling, codec, scoring in grid.packings
    }


def index_candidates(rerankers: Mapping[Packing, Reranker], judged: Judged, names: Sequence[str], *, progress: bool) -> None:
    """Give every packing the vectors of all candidates; a document is encoded once a pooling."""
    run = {name: judged.run.get(name, []) for name in names}
    groups: dict[int, dict[str, Reranker]] = {}
    for (pooling, codec, _), reranker in rerankers.items():
        groups.setdefault(pooling, {})[codec] = reranker  # all scorings read the same vectors
    for group in groups.values():
        index_all(list(group.values()), run, progress=progress)


def _scores(reranker: Reranker, query: str, candidates: Sequence[Candidate]) -> F32:
    scores = np.empty(len(candidates), dtype=np.float32)
    for document in reranker.rerank(query, candidates):
        scores[document.index] = document.score
    return scores
