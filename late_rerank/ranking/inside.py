"""Candidates whose vectors another engine scores where they lie -> a Ranking. Only the query is encoded here."""

from __future__ import annotations

import os
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from late_rerank.arguments.numbers import whole_number
from late_rerank.arguments.queries import as_list, check_queries
from late_rerank.encode import Encoder, as_encoder, described
from late_rerank.encode.describe import query_encoder_name, query_fingerprint
from late_rerank.errors import IncompatibleError
from late_rerank.maxsim import MAXSIM
from late_rerank.observing.timing import Timer
from late_rerank.ranking.doors import Ranks
from late_rerank.ranking.pool import CandidatePool
from late_rerank.ranking.prior import of_queries
from late_rerank.ranking.queries import Queries
from late_rerank.ranking.relevance import Calibration, check_calibration
from late_rerank.ranking.wanted import Wanted
from late_rerank.types import F32, Candidate, Document, Ranking
from late_rerank.vectors.contents import Contents
from late_rerank.vectors.probing import Known, check_same_model

FOR_A_CONTEXT = (
    "a context is chosen by the documents' vectors, and those of an InsideReranker stay in its engine: take its best few, "
    "which need texts, and call pack_context(query, ranking[:20], reranker=Reranker(model), budget_tokens=...), which encodes "
    "them"
)
"""What to do for a context, for messages."""


class ScoresInside(Protocol):
    """An engine that has documents' token vectors, and computes MaxSim itself: QdrantVectors.

    Attributes:
        place: What it is, for messages.
        dim: Components of one token vector.
    """

    place: str
    dim: int

    def name_of(self, given: object) -> Any:
        """Give the engine's name for a candidate's id; None if it can have no such document."""

    def scores(self, queries: Sequence[F32], names: Sequence[Sequence[Any]]) -> Sequence[Mapping[Any, float]]:
        """Score named documents for each query: name -> MaxSim, without those that aren't there."""

    def search(self, query: F32, k: int, *, exact: bool = False) -> list[Candidate]:
        """Find the `k` documents of highest MaxSim."""

    def sample(self) -> tuple[str, str, F32] | None:
        """Give one document, to compare the model with: what it is, its text, its vectors."""


class InsideReranker(Ranks[Ranking]):
    """Ranks candidates by the MaxSim that an engine computes: neither vectors nor texts of documents travel.

    The scores are those of `Reranker(scoring="maxsim")` over the same vectors. Candidates are found by their ids; their texts
    may be empty. A candidate that the engine doesn't have is left unscored, after the scored ones. Threads may share it if they
    may share the engine's client.

    `rerank` takes the options of `Reranker.rerank`, but neither `deadline_s` nor `max_tokens`. In `timings_ms`, "fetch" is the
    engine's answer. If the engine doesn't answer, or refuses, that is a StoreError.

    A Searcher takes it, as its reranker and as its retriever. A context is chosen by documents' vectors, which aren't here. So
    give the best few of a Ranking to `pack_context` with a Reranker of the same model, which encodes their texts.

    Args:
        model: The model that made the vectors, as for a Reranker. It encodes queries.
        engine: Has the vectors.
        calibration: Turns scores into `relevance`: a Calibration of scoring "maxsim". None takes the clipped mean.
        backend: As for a Reranker.
        device: As for a Reranker.
        query_encoder: As for a Reranker. The engine's vectors serve all of them.

    Attributes:
        encoder: The Encoder in use.
        engine: As given.

    Raises:
        IncompatibleError: If the engine's vectors have another width than the model's, or those of a sample of its texts aren't
            what the model makes of it. Also if the calibration or the query encoder is another model's.
    """

    def __init__(
        self,
        model: str | Encoder,
        engine: ScoresInside,
        *,
        calibration: Calibration | None = None,
        backend: str = "auto",
        device: str | None = None,
        query_encoder: str | os.PathLike[str] = "full",
    ) -> None:
        self.encoder = as_encoder(model, backend, device, 1, query_encoder)
        self.engine = engine
        self.calibration = calibration
        check_calibration(
            calibration,
            self.encoder.fingerprint,
            MAXSIM.name,
            query_fingerprint(self.encoder),
            model=described(self.encoder).name,
            query_encoder=query_encoder_name(self.encoder),
        )
        if engine.dim != self.encoder.dim:
            raise IncompatibleError(
                f"{engine.place} has vectors of {engine.dim} components, but the model makes {self.encoder.dim}: another model "
                "made them"
            )
        sample = engine.sample()
        if sample is not None:
            check_same_model(self.encoder, [Known(*sample)])
        self._queries = Queries(self.encoder)
        self._choose = Contents(self.encoder)

    def rank(self, queries: Iterable[str], candidate_lists: Iterable[Iterable[Document]], wanted: Wanted) -> list[Ranking]:
        """Rank as `rerank_batch` does, with all options in one object. A deadline and `max_tokens` can't be kept here.

        Raises:
            ValueError: Also if `wanted` has one of these two, or the lists differ in length.
        """
        if wanted.deadline_s is not None or wanted.max_tokens is not None:
            raise ValueError("deadline_s and max_tokens aren't for vectors that another engine scores: leave them out")
        queries = as_list(queries, "queries", "str")
        candidate_lists = as_list(candidate_lists, "candidate_lists", "lists of candidates, one a query")
        check_queries(queries, candidate_lists)
        timer = Timer()
        with timer.stage("total"):
            given = zip(candidate_lists, of_queries(wanted.prior, len(candidate_lists)), strict=True)
            pools = [CandidatePool(candidates, wanted, self._choose, MAXSIM, prior=prior) for candidates, prior in given]
            with timer.stage("encode_query"):
                for pool, query in zip(pools, self._queries.encode(queries), strict=True):
                    pool.query = query
            names = [[self.engine.name_of(document.id) for document in pool.documents] for pool in pools]
            with timer.stage("fetch"):
                found = self._scores(pools, names)
            rankings = [self._ranking(pool, own, scores) for pool, own, scores in zip(pools, names, found, strict=True)]
        for ranking in rankings:
            ranking.timings_ms = timer.ms | ranking.timings_ms
        return rankings

    def retrieve(self, query: str, k: int, *, exact: bool = False) -> list[Candidate]:
        """Let the engine find the `k` documents of highest MaxSim: a first stage, or a search of its own.

        Args:
            query: Must not be blank.
            k: At least 1.
            exact: Whether all documents are compared, instead of those that the engine's index finds.

        Raises:
            ValueError: If the query is blank, or `k` is below 1.
            StoreError: If the engine doesn't answer, or refuses.
        """
        whole_number("k", k)
        check_queries([query], [()])
        return self.engine.search(self._queries.encode([query])[0].vectors.values, k, exact=exact)

    @property
    def model_name(self) -> str:
        """The model's name as it was given, or the class of the Encoder."""
        return described(self.encoder).name

    def _scores(self, pools: Sequence[CandidatePool], names: Sequence[Sequence[Hashable]]) -> Sequence[Mapping[Any, float]]:
        vectors = [pool.query.vectors.values for pool in pools if pool.query is not None]
        asked = [[name for name in dict.fromkeys(own) if name is not None] for own in names]
        return self.engine.scores(vectors, asked)

    def _ranking(self, pool: CandidatePool, names: Sequence[Hashable], found: Mapping[Any, float]) -> Ranking:
        scores = np.array([found.get(name, np.nan) for name in names], dtype=np.float32)
        pool.take_scores(scores)
        ranking = pool.ranking(frozenset(), self.encoder, self.calibration)
        ranking.n_hits = int((~np.isnan(scores)).sum())
        ranking.n_misses = len(scores) - ranking.n_hits
        return ranking
