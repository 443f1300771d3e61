"""Retriever + reranker -> search, and the context of a search."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from late_rerank.arguments.checks import check_first_stage_weight
from late_rerank.context import Context, pack_context
from late_rerank.ranking.fusion import FirstStageWeight
from late_rerank.reranker import Reranker
from late_rerank.retrieve import Retriever
from late_rerank.types import Candidate, Ranking


class Searcher:
    """Two stages in one call: a retriever finds candidates, the reranker orders them.

    Args:
        retriever: Any object with `retrieve(query, k) -> list[Candidate]`.
        reranker: A Reranker.
        k: The first stage's depth: candidates that the reranker sees.
        first_stage_weight: How much the retriever's scores count for the order, as `Reranker.rerank` takes it: 0 for not at
            all, "auto" for what each query's scores say.

    Raises:
        TypeError: `retriever` has no `retrieve`, or `first_stage_weight` is of another type.
        ValueError: `k` is below 1, or `first_stage_weight` negative or not finite.
    """

    def __init__(
        self, retriever: Retriever, reranker: Reranker, k: int = 100, *, first_stage_weight: FirstStageWeight = 0.0
    ) -> None:
        if not isinstance(retriever, Retriever):
            raise TypeError(f"retriever must have retrieve(query, k) -> list[Candidate], got {type(retriever).__name__}")
        if not isinstance(reranker, Reranker):
            raise TypeError(f"reranker must be a Reranker, got {type(reranker).__name__}")
        if not isinstance(k, int) or k < 1:
            raise ValueError(f"k must be a whole number of at least 1, got {k!r}")
        check_first_stage_weight(first_stage_weight)
        self.retriever = retriever
        self.reranker = reranker
        self.k = k
        self.first_stage_weight = first_stage_weight

    def search(self, query: str, top_k: int | None = 10, *, min_relevance: float | None = None) -> Ranking:
        """Find and rank.

        Args:
            query: Not blank.
            top_k: At most so many results; None for all `k`.
            min_relevance: From 0 to 1: documents of lower `relevance` are left out; None for all.

        Returns:
            Best first; empty where no document is relevant enough. `index` is the position in the first stage's order.
            `timings_ms` has "first_stage" too.

        Raises:
            ValueError: The query is blank, `top_k` is below 1, `min_relevance` isn't in [0, 1], or, with `first_stage_weight`,
                the retriever gave a candidate without a finite score.
        """
        started = time.perf_counter()
        candidates = self.retriever.retrieve(query, self.k)
        first_stage_ms = (time.perf_counter() - started) * 1000
        more: dict[str, Any] = {"min_relevance": min_relevance, "first_stage_weight": self.first_stage_weight}
        ranking = self.reranker.rerank(query, candidates, top_k=top_k, **more)
        total_ms = first_stage_ms + ranking.timings_ms["total"]
        ranking.timings_ms = {"first_stage": first_stage_ms, **ranking.timings_ms, "total": total_ms}
        return ranking

    def context(self, query: str, budget_tokens: int = 2000, *, min_relevance: float | None = None, **packing: Any) -> Context:
        """Find, rank, and choose what goes before the LLM.

        The first stage counts as in `search` where documents are taken by rank (`strategy="relevance"`) and in the order in
        which they are read; "coverage" chooses by matches alone.

        Args:
            query: Not blank.
            budget_tokens: Of the whole text.
            min_relevance: As in `search`: without a good document the context is empty, and the chatbot can say so.
            packing: All others of `pack_context`: top_k, strategy, order, oversize, compress, neighbours, count_tokens.
                `neighbours=True` looks for them among the retriever's own documents.

        Raises:
            ValueError: As in `search` and `pack_context`.
            TypeError: As in `pack_context`, or `neighbours=True` where the retriever has no `documents`.
        """
        if packing.get("neighbours") is True:
            packing["neighbours"] = self._documents()
        elif packing.get("neighbours") is False:
            packing["neighbours"] = None
        ranking = self.search(query, top_k=None, min_relevance=min_relevance)
        return pack_context(query, ranking, reranker=self.reranker, budget_tokens=budget_tokens, **packing)

    def _documents(self) -> Iterable[str | Candidate]:
        documents: Iterable[str | Candidate] | None = getattr(self.retriever, "documents", None)
        if documents is None:
            raise TypeError(
                f"neighbours=True needs a retriever that has `documents`, as BM25Retriever does; "
                f"{type(self.retriever).__name__} hasn't: pass them as neighbours=[...]"
            )
        return documents
