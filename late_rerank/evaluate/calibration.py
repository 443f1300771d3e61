"""Judged queries -> a calibration: the relevance that a model's scores mean."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from late_rerank.evaluate.identical import check_relevant, is_own
from late_rerank.evaluate.runs import retrieve_others
from late_rerank.observing.progress import progress_bar
from late_rerank.ranking.relevance import Calibration
from late_rerank.reranker import Reranker
from late_rerank.retrieve import Retriever
from late_rerank.stores.tiered import near_is_enough
from late_rerank.types import F32, Candidate

F64 = NDArray[np.float64]

# Three numbers are fitted, so both outcomes must be there often enough.
_FEWEST_QUERIES = 20
_RIDGE = 1e-3
_MOST_STEPS = 100


@dataclass(frozen=True)
class LabelledQuery:
    """A query with relevant candidates and others.

    Attributes:
        text: The query.
        relevant: Judged relevant, at least one.
        others: The first stage's best candidates that aren't judged relevant, best first.
        n_own_documents_left_out: Candidates that had the query's id, and count as neither.
    """

    text: str
    relevant: Sequence[Candidate]
    others: Sequence[Candidate]
    n_own_documents_left_out: int = 0


@dataclass(frozen=True)
class ScoredQuery:
    """A LabelledQuery with the model's scores.

    Attributes:
        n_query_tokens: The number of the query's token vectors.
        relevant: (n_relevant,) float32 scores.
        others: (n_others,) float32 scores, in the first stage's order.
    """

    n_query_tokens: int
    relevant: F32
    others: F32

    def lists(self) -> tuple[F32, F32]:
        """Give the candidates as a first stage would, and the same number of them without a relevant one.

        Returns:
            (n_others,) float32 each, relevant ones first.
        """
        answerable = np.concatenate([self.relevant, self.others])[: max(len(self.others), len(self.relevant))]
        return answerable, self.others


def label_queries(
    retriever: Retriever,
    documents: Iterable[Candidate],
    queries: Mapping[str, str],
    qrels: Mapping[str, Mapping[str, int]],
    *,
    n_queries: int | None = None,
    k: int = 10,
    ignore_identical_ids: bool = True,
) -> list[LabelledQuery]:
    """Label judged queries with hard negatives: documents that the first stage finds and nobody judged relevant.

    Args:
        retriever: Its candidates must have ids.
        documents: The corpus; relevant documents that the retriever misses are taken from here.
        queries: Query id -> text.
        qrels: Query id -> document id -> judgement, above 0 for relevant.
        n_queries: At most so many, drawn by chance, the same queries each time; None for all.
        k: Candidates a query.
        ignore_identical_ids: Leave out documents that have their query's id, as `evaluate` does.

    Returns:
        Queries with a relevant document and with others, in the order drawn. `relevant` are the relevant documents among the
        first stage's `k`; where it found none, the first judged one.
    """
    if ignore_identical_ids:
        check_relevant(qrels)
    by_id = {str(document.id): document for document in documents}
    judged = {
        name: [
            each
            for each, judgement in found.items()
            if judgement > 0 and each in by_id and not (ignore_identical_ids and each == name)
        ]
        for name, found in qrels.items()
    }
    names = sorted(name for name in judged if judged[name] and name in queries)
    random.Random(0).shuffle(names)
    labelled = []
    for name in names[:n_queries]:
        asked = k + len(judged[name])
        given = (
            retrieve_others(retriever, name, queries[name], asked)
            if ignore_identical_ids
            else retriever.retrieve(queries[name], asked)
        )
        found = [candidate for candidate in given if not (ignore_identical_ids and is_own(name, candidate))]
        relevant = [candidate for candidate in found[:k] if str(candidate.id) in judged[name]]
        others = [candidate for candidate in found if str(candidate.id) not in judged[name]][:k]
        if others:
            relevant = relevant or [by_id[judged[name][0]]]
            labelled.append(LabelledQuery(queries[name], relevant, others, len(given) - len(found)))
    return labelled


def score_queries(reranker: Reranker, labelled: Sequence[LabelledQuery], *, progress: bool = False) -> list[ScoredQuery]:
    """Score each query's candidates; candidates that the store lacks are encoded and stored.

    Args:
        reranker: Its model is calibrated.
        labelled: The queries.
        progress: Show a bar on stderr, if that is a terminal.
    """
    # Whatever the reranker does with documents that aren't stored.
    with near_is_enough():
        reranker.index(candidate for query in labelled for candidate in (*query.relevant, *query.others))
    scored = []
    for query in progress_bar(labelled, unit=" queries", desc="Scoring", progress=progress):
        candidates = [*query.relevant, *query.others]
        ranking = reranker.rerank(query.text, candidates)
        scores = np.empty(len(candidates), dtype=np.float32)
        for document in ranking:
            scores[document.index] = document.score
        n_query_tokens = len(reranker.query_vectors(query.text, ranking).vectors.values)
        scored.append(ScoredQuery(n_query_tokens, scores[: len(query.relevant)], scores[len(query.relevant) :]))
    return scored


def fit_calibration(
    scored: Sequence[ScoredQuery], fingerprint: str, scoring: str, query_fingerprint: str | None = None
) -> Calibration:
    """Fit a logistic curve through best candidates: is the document that comes first relevant?

    Each query counts twice, with its relevant candidates and without, since some questions have no answer. Only the first
    document of a list counts: it decides whether to answer at all, and documents further down would outnumber it.

    Args:
        scored: At least 20 queries.
        fingerprint: Of the encoder that scored them.
        scoring: The name of the scoring that made the scores.
        query_fingerprint: Of the query encoder that made them; None, or the encoder's, if the encoder itself did.

    Raises:
        ValueError: If there are too few queries, or relevant documents don't score above others.
    """
    if len(scored) < _FEWEST_QUERIES:
        raise ValueError(f"got {len(scored)} judged queries with candidates; a calibration needs at least {_FEWEST_QUERIES}")
    means, lengths, relevant = best_candidates(scored)
    features = np.stack([np.ones_like(means), means, np.log(lengths)], axis=1)
    intercept, mean_weight, length_weight = (round(float(weight), 4) for weight in _logistic(features, relevant))
    if mean_weight <= 0:
        raise ValueError(
            f"among {len(scored)} queries relevant documents don't score above others: are the judgements of this corpus, and "
            "is the model one for retrieval?"
        )
    of_queries = None if query_fingerprint == fingerprint else query_fingerprint
    return Calibration(fingerprint, intercept, mean_weight, length_weight, scoring, of_queries)


def best_candidates(scored: Sequence[ScoredQuery]) -> tuple[F64, F64, F64]:
    """Give the best candidate of each list, with and without relevant ones.

    Returns:
        (2 * n_queries,) float64 each: mean MaxSim, the number of the query's token vectors, and 1 where the best candidate is
        relevant.
    """
    rows: list[tuple[Any, ...]] = []
    for query in scored:
        n = max(query.n_query_tokens, 1)
        for scores, n_relevant in zip(query.lists(), (len(query.relevant), 0), strict=True):
            best = int(scores.argmax())
            rows.append((scores[best] / n, n, best < n_relevant))
    means, lengths, relevant = np.array(rows, dtype=np.float64).T
    return means, lengths, relevant


def _logistic(features: F64, outcomes: F64) -> F64:
    """Maximise the likelihood by Newton's steps. A little ridge: separable classes have no finite optimum without it."""
    scale = features.std(axis=0)
    scale[scale == 0] = 1.0
    scaled = features / scale
    weights = np.zeros(features.shape[1])
    for _ in range(_MOST_STEPS):
        probability = 1 / (1 + np.exp(-np.clip(scaled @ weights, -30, 30)))
        slope = scaled.T @ (outcomes - probability) - _RIDGE * weights
        curvature = (scaled * (probability * (1 - probability))[:, None]).T @ scaled + _RIDGE * np.eye(len(weights))
        step = np.linalg.solve(curvature, slope)
        weights = weights + step
        if np.abs(step).max() < 1e-10:
            break
    found: F64 = weights / scale
    return found
