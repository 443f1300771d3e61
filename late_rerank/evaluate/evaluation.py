"""A first stage's run, reranked; both measured against judgements."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from late_rerank.errors import check_installed
from late_rerank.evaluate.identical import Run, check_relevant, without_own
from late_rerank.evaluate.judged import Judged, Qrels
from late_rerank.evaluate.runs import once
from late_rerank.evaluate.significance import Difference, difference
from late_rerank.observing.progress import progress_bar
from late_rerank.ranking.wanted import Wanted
from late_rerank.stores.tiered import near_is_enough
from late_rerank.types import Candidate, FirstStageWeight, Ranking

ByQuery = dict[str, dict[str, float]]
"""Measure -> query id -> figure."""

MEASURES = ("nDCG@10", "RR@10", "R@100")


class Reranks(Protocol):
    """What can be evaluated: a Reranker, or a FusedReranker or SingleVectorReranker in its place."""

    def index(self, documents: Iterable[Candidate], *, progress: bool = False) -> object:
        """Encode documents ahead of queries, so that no query's latency includes it."""

    def rank(self, queries: Iterable[str], candidate_lists: Iterable[Iterable[Candidate]], wanted: Wanted) -> Sequence[Ranking]:
        """Rank the candidates of each query, best first; `timings_ms["total"]` is the latency."""


@dataclass(frozen=True)
class Evaluation:
    """Measures of a run before and after reranking.

    Attributes:
        n_queries: The judged queries. A query without candidates counts as 0.
        measures: "first_stage" and "reranked" -> measure -> mean over queries. nDCG has linear gain. Unjudged documents count
            as not relevant.
        latency_ms: "p50" and "p99" of `rerank`, with all vectors stored and the model warm. "encode_query" is the
            median of encoding the query, of models that tell it.
        differences: Measure -> what reranking adds, with its range, and how likely it is by chance.
        by_query: "first_stage" and "reranked" -> measure -> query id -> figure.
        ranked: Query id -> document ids with their MaxSim, best first. Each id stands once.
        n_own_documents_left_out: Candidates that had their query's id.
    """

    n_queries: int
    measures: dict[str, dict[str, float]]
    latency_ms: dict[str, float]
    differences: dict[str, Difference]
    by_query: dict[str, ByQuery]
    ranked: dict[str, list[tuple[str, float]]]
    n_own_documents_left_out: int = 0


def evaluate(
    reranker: Reranks,
    run: Run,
    queries: Mapping[str, str],
    qrels: Qrels,
    *,
    first_stage_weight: FirstStageWeight = 0.0,
    ignore_identical_ids: bool = True,
    progress: bool = False,
) -> Evaluation:
    """Rerank a run and measure it.

    Args:
        reranker: A Reranker, a FusedReranker or a SingleVectorReranker. All candidates of the run are indexed first, so its
            store should hold them all.
        run: Query id -> candidates with ids, best first.
        queries: Query id -> text, for each judged query.
        qrels: Query id -> document id -> judgement. The run's other queries are left out.
        first_stage_weight: How much the run's scores count for the order, as in `Reranker.rerank`.
        ignore_identical_ids: Leave out candidates that have their query's id, before the ranking, as BEIR does. Give False if
            queries and documents are numbered apart, so that equal ids mean nothing.
        progress: Show bars on stderr, if stderr is a terminal.

    Raises:
        ValueError: If a candidate has no id, or a judged query has no text. Also if a candidate has no score, and a weight is
            given. Also if nothing is judged, no judged query has a candidate, or every relevant document would be left out.
        MissingDependencyError: As in `check_measures`.
    """
    judged = Judged(run, queries, qrels, ignore_identical_ids)
    return evaluate_judged(reranker, judged, Wanted(first_stage_weight=first_stage_weight), progress=progress)


def evaluate_judged(reranker: Reranks, judged: Judged, wanted: Wanted, *, progress: bool = False) -> Evaluation:
    """`evaluate` with its arguments in two objects, for code that passes them on.

    Args:
        reranker: As in `evaluate`.
        judged: The run, its queries and their judgements.
        wanted: The options of the reranks.
        progress: Show bars on stderr, if that is a terminal.

    Raises:
        ValueError: As in `evaluate`.
        MissingDependencyError: As in `check_measures`.
    """
    check_measures()
    names = [name for name in judged.qrels if judged.qrels[name]]
    _check(names, judged)
    candidates, n_left_out = _counted(names, judged)
    with near_is_enough():
        reranker.index(longest_first(candidates), progress=progress)
    # Not timed: a model's first pass takes a hundred times as long as its later ones, and would be the whole p99.
    reranker.rank([judged.queries[names[0]]], [candidates[names[0]]], wanted)
    ranked, timings = {}, []
    for name in progress_bar(names, unit=" queries", desc="Reranking", progress=progress):
        (ranking,) = reranker.rank([judged.queries[name]], [candidates[name]], wanted)
        ranked[name] = once([(str(document.id), float(document.score or 0.0)) for document in ranking])
        timings.append(ranking.timings_ms)
    before = {name: [str(candidate.id) for candidate in candidates[name]] for name in names}
    after = {name: [document for document, _ in found] for name, found in ranked.items()}
    by_query = {"first_stage": measure(before, judged.qrels), "reranked": measure(after, judged.qrels)}
    return Evaluation(
        n_queries=len(names),
        measures={run: means(found) for run, found in by_query.items()},
        latency_ms=_latency(timings),
        differences={name: difference(by_query["first_stage"][name], by_query["reranked"][name]) for name in MEASURES},
        by_query=by_query,
        ranked=ranked,
        n_own_documents_left_out=n_left_out,
    )


def check_measures() -> None:
    """Check, before the work, that the packages that measure are installed.

    Raises:
        MissingDependencyError: If ir_measures or scipy is missing.
    """
    check_installed("an evaluation", "eval", "ir_measures", "scipy")


def means(by_query: ByQuery) -> dict[str, float]:
    """Give the mean of each measure over queries, to four places."""
    return {name: round(statistics.fmean(found.values()), 4) for name, found in by_query.items()}


def measure(ranked: Mapping[str, list[str]], qrels: Qrels) -> ByQuery:
    """Measure ranked document ids: measure -> query id -> figure, 0 for a query without documents.

    Ranks, not scores, decide: trec_eval breaks ties of equal scores by id, which would measure another order.
    """
    import ir_measures  # noqa: PLC0415 - an extra, which `check_measures` asks for, and takes 0.2 s

    measures = [ir_measures.parse_measure(name) for name in MEASURES]
    scored = [
        ir_measures.ScoredDoc(query, document, float(len(documents) - rank))
        for query, documents in ranked.items()
        for rank, document in enumerate(dict.fromkeys(documents))
    ]
    # Judgements below 0 mean "not relevant", as 0 does, for trec_eval too. But -2, as in TREC's web tracks, may crash
    # pytrec_eval 0.5.11.
    judgements = [
        ir_measures.Qrel(query, document, max(judgement, 0)) for query in ranked for document, judgement in qrels[query].items()
    ]
    found: ByQuery = {name: dict.fromkeys(ranked, 0.0) for name in MEASURES}
    for metric in ir_measures.iter_calc(measures, judgements, scored):
        found[str(metric.measure)][metric.query_id] = float(metric.value)
    return found


def _latency(timings: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Give the quantiles of whole reranks, and the median of encoding their queries."""
    p50, p99 = np.percentile([each["total"] for each in timings], [50, 99])
    found = {"p50": round(float(p50), 3), "p99": round(float(p99), 3)}
    encoding = [each["encode_query"] for each in timings if "encode_query" in each]
    return found | ({"encode_query": round(statistics.median(encoding), 3)} if encoding else {})


def _check(names: list[str], judged: Judged) -> None:
    if not names:
        raise ValueError("no query has a judgement, so there is nothing to measure")
    unknown = [name for name in names if name not in judged.queries]
    if unknown:
        raise ValueError(f"{len(unknown)} judged queries have no text, {unknown[0]!r} first")
    if not any(judged.run.get(name) for name in names):
        raise ValueError(f"the run has candidates for none of the {len(names)} judged queries")
    for name in names:
        if any(candidate.id is None for candidate in judged.run.get(name, [])):
            raise ValueError(f"a candidate of query {name!r} has no id; judgements name documents by id")


def _counted(names: list[str], judged: Judged) -> tuple[Run, int]:
    """Give the candidates that count, and the number of the others."""
    if not judged.ignore_identical_ids:
        return {name: judged.run.get(name, []) for name in names}, 0
    check_relevant(judged.qrels)
    return without_own(judged.run, names)


def longest_first(candidates: Run) -> list[Candidate]:
    """Give each document once, the longest first: batches then hold little padding, and memory peaks at the start."""
    unique = {
        (candidate.text, candidate.image and candidate.image.key(), candidate.token_vectors): candidate
        for found in candidates.values()
        for candidate in found
    }
    return sorted(unique.values(), key=lambda candidate: len(candidate.text), reverse=True)
