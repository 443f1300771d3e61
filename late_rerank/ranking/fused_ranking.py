"""Several models' rankings of one query's candidates -> one FusedRanking."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from late_rerank.ranking.fusion import F64, Sums, auto_weight, falling, first_stage_scores, standardised
from late_rerank.ranking.together import Method, together
from late_rerank.ranking.wanted import Wanted
from late_rerank.types import I64, NO_TOKENS_SCORE, Candidate, QueryVectors, RankedBy, RankedDocument, Ranking

Mask = NDArray[np.bool_]

# Two sums that differ by less differ by rounding.
_ROUNDING = 1e-6


class FusedRanking(Ranking):
    """A ranking by several models together. A slice of it is a FusedRanking too.

    Counts are sums over the models: `n_hits` of two models is up to twice the number of candidates.

    Attributes:
        scores_by_model: Model -> its own score of each candidate, by the candidate's `index`. None where the model couldn't
            encode the candidate, or left it unscored.
        vectors: The query's token vectors, one entry a model. Pickles leave them out.
    """

    vectors: Sequence[QueryVectors] = ()

    def __init__(
        self,
        documents: Iterable[RankedDocument] = (),
        *,
        scores_by_model: Mapping[str, Sequence[float | None]] | None = None,
        vectors: Sequence[QueryVectors] = (),
        **counts: Any,
    ) -> None:
        super().__init__(documents, **counts)
        self.scores_by_model = dict(scores_by_model or {})
        self.vectors = vectors

    def with_documents(self, documents: Iterable[RankedDocument]) -> FusedRanking:
        """Give the same ranking, with its scores by model, its timings and its counts, but other documents."""
        other = FusedRanking(documents)
        vars(other).update(vars(self) | {"timings_ms": dict(self.timings_ms)})
        return other

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in super().__getstate__().items() if name != "vectors"}


class Look(NamedTuple):
    """What one model made of one query's candidates.

    Attributes:
        name: The model's.
        weight: How much it counts, above 0.
        ranking: All candidates, each with its index.
        able: (n_candidates,), whether the model can encode the candidate. The others' entries in the ranking say nothing.
    """

    name: str
    weight: float
    ranking: Ranking
    able: Mask

    def column(self, name: str) -> F64:
        """Give "score" or "relevance" by the candidates' index, (n_candidates,) float64; NaN where the model gave none."""
        found: F64 = np.full(len(self.able), np.nan)
        for document in self.ranking:
            value = getattr(document, name)
            if value is not None:
                found[document.index] = value
        found[~self.able] = np.nan
        return found


def fused_ranking(
    candidates: Sequence[Candidate], looks: Sequence[Look], method: Method, wanted: Wanted, *, prior: F64 | None = None
) -> FusedRanking:
    """Make one ranking of several models' rankings.

    Args:
        candidates: Of one query.
        looks: One a model.
        method: What a score is worth, as `together` takes it.
        wanted: The options. `deadline_s` and `max_tokens` were the models' own, and its prior is `prior`.
        prior: (n_candidates,) float64, what is added to the standard scores of the sums; None for nothing.

    Returns:
        Its timings are the models' sums; "total" is set by the caller.

    Raises:
        ValueError: If, with a weight, a candidate has no finite score; names it.
    """
    scores = np.array([look.column("score") for look in looks]).reshape(len(looks), len(candidates))
    able = np.array([look.able for look in looks]).reshape(scores.shape)
    is_blank = scores <= NO_TOKENS_SCORE
    real = np.where(is_blank, np.nan, scores)
    totals = _with_first_stage(real, looks, candidates, method, wanted)
    relevances = _mean_relevance(looks, real)
    without_tokens = np.isnan(totals) & (is_blank | ~able).all(axis=0)
    totals[without_tokens], relevances[without_tokens] = NO_TOKENS_SCORE, 0.0
    order, fallen, parts = _ordered(totals, prior)
    kept = wanted.kept(np.nan_to_num(relevances[order]).astype(np.float32))
    order, fallen = order[kept], fallen[kept]
    by_index = [{document.index: document for document in look.ranking} for look in looks]
    documents = []
    for rank, (index, score) in enumerate(zip(order.tolist(), fallen.tolist(), strict=True), start=1):
        seen = [of_model[index] for of_model, look in zip(by_index, looks, strict=True) if look.able[index]]
        is_scored = not np.isnan(score)
        document = _document(candidates[index], index, rank, seen)
        document.score, document.relevance = (score, float(np.float32(relevances[index]))) if is_scored else (None, None)
        if prior is not None:
            document.prior, document.ranked_by = float(prior[index]), parts.get(index)
        documents.append(document)
    rankings = [look.ranking for look in looks]
    return FusedRanking(
        documents,
        scores_by_model={look.name: _listed(row) for look, row in zip(looks, scores, strict=True)},
        vectors=[ranking.query_vectors for ranking in rankings if ranking.query_vectors is not None],
        timings_ms=_summed(rankings),
        n_hits=sum(ranking.n_hits for ranking in rankings),
        n_misses=sum(ranking.n_misses for ranking in rankings),
        n_unscored=int(np.isnan(totals).sum()),
        n_tokens=sum(ranking.n_tokens for ranking in rankings),
        query_truncated=any(ranking.query_truncated for ranking in rankings),
    )


def _with_first_stage(
    scores: F64, looks: Sequence[Look], candidates: Sequence[Candidate], method: Method, wanted: Wanted
) -> F64:
    """(n_candidates,) float64: what orders them; NaN for those that no model scored. The first stage is one model more."""
    weights = [look.weight for look in looks]
    if not wanted.first_stage_weight:
        return together(scores, weights, method)
    first = first_stage_scores(candidate.score for candidate in candidates)
    first[np.isnan(scores).all(axis=0)] = np.nan
    counted = first[~np.isnan(first)]
    weight = auto_weight(standardised(counted)) if wanted.first_stage_weight == "auto" else wanted.first_stage_weight
    return together(np.vstack([scores, first]), [*weights, weight], method)


def _mean_relevance(looks: Sequence[Look], scores: F64) -> F64:
    """(n_candidates,) float64: the weighted mean over the models that scored a candidate; NaN if none did."""
    relevances = np.array([look.column("relevance") for look in looks]).reshape(scores.shape)
    weights = np.where(np.isnan(scores), 0.0, np.array([[look.weight] for look in looks]))
    n = weights.sum(axis=0)
    mean: F64 = (weights * np.nan_to_num(relevances)).sum(axis=0) / np.where(n > 0, n, np.nan)
    return mean


def _ordered(totals: F64, prior: F64 | None) -> tuple[I64, F64, Mapping[int, RankedBy]]:
    """Give positions and totals, best first; equal ones in the candidates' order, those without tokens and unscored last.

    Also position -> what ordered it, with a prior.
    """
    scored = np.flatnonzero(totals > NO_TOKENS_SCORE)
    order, fallen = falling(totals[scored], _ROUNDING)
    parts: Mapping[int, RankedBy] = {}
    if prior is not None:
        even = np.empty_like(fallen)
        even[order] = fallen
        found = Sums(standardised(even), np.zeros(len(scored)), prior[scored])
        order = falling(found.total, _ROUNDING)[0] if found.has_prior else order
        fallen = even[order]
        parts = dict(zip(scored.tolist(), found.parts(), strict=True))
    order = scored[order]
    rest = [np.flatnonzero(totals <= NO_TOKENS_SCORE), np.flatnonzero(np.isnan(totals))]
    return np.concatenate([order, *rest]), np.concatenate([fallen, *(totals[each] for each in rest)]), parts


def _document(candidate: Candidate, index: int, rank: int, seen: Sequence[RankedDocument]) -> RankedDocument:
    """Make an unscored result of a candidate. Its best passage is that of the first model that knows one."""
    document = RankedDocument(
        text=candidate.text,
        id=candidate.id,
        score=None,
        relevance=None,
        rank=rank,
        index=index,
        candidate_score=candidate.score,
        truncated=any(each.truncated for each in seen),
        metadata=candidate.metadata,
        image=candidate.image,
    )
    document.passage = next((each.passage for each in seen if each.passage is not None), None)
    return document


def _listed(scores: F64) -> list[float | None]:
    return [None if score != score else score for score in scores.tolist()]


def _summed(rankings: Sequence[Ranking]) -> dict[str, float]:
    stages = dict.fromkeys(stage for ranking in rankings for stage in ranking.timings_ms)
    return {stage: sum(ranking.timings_ms.get(stage, 0.0) for ranking in rankings) for stage in stages}
