"""Retriever + reranker -> search, and the context of a search."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from late_rerank.arguments.numbers import whole_number
from late_rerank.context import Context, pack_context
from late_rerank.context.images import CountImage, ImageMode
from late_rerank.context.layout import Order
from late_rerank.context.packing import Oversize
from late_rerank.context.selection import StrategyName
from late_rerank.fused import FusedReranker
from late_rerank.observing.timing import add_first_stage
from late_rerank.ranking.inside import FOR_A_CONTEXT, InsideReranker
from late_rerank.ranking.prior import FoundPrior, as_function
from late_rerank.ranking.wanted import Wanted
from late_rerank.reranker import Reranker
from late_rerank.retrieve import Retriever
from late_rerank.types import Candidate, FirstStageWeight, Ranking


class Searcher:
    """Two stages in one call: a retriever finds candidates, the reranker orders them.

    Args:
        retriever: Any object with `retrieve(query, k) -> list[Candidate]`.
        reranker: A Reranker or a FusedReranker; or an InsideReranker, by which `search` works, but no `context`.
        k: The first stage's depth: how many candidates the reranker sees.
        first_stage_weight: How much the retriever's scores count for the order, as in `Reranker.rerank`. With 0 they don't
            count. "auto" decides by each query's scores.
        prior: What is added to the order of every search, as in `Reranker.rerank`: a function of a Candidate, or the name of a
            metadata field that holds a number.

    Raises:
        TypeError: If `retriever` has no `retrieve`, `reranker` is no Reranker, or a number has a wrong type.
        ValueError: If a number is out of its range.
    """

    def __init__(
        self,
        retriever: Retriever,
        reranker: Reranker | FusedReranker | InsideReranker,
        k: int = 100,
        *,
        first_stage_weight: FirstStageWeight = 0.0,
        prior: FoundPrior | None = None,
    ) -> None:
        if not isinstance(retriever, Retriever):
            raise TypeError(f"retriever must have retrieve(query, k) -> list[Candidate], got {type(retriever).__name__}")
        if not isinstance(reranker, (Reranker, FusedReranker, InsideReranker)):
            raise TypeError(f"reranker must be a Reranker or a FusedReranker, got {type(reranker).__name__}")
        self.retriever = retriever
        self.reranker = reranker
        self.k = whole_number("k", k)
        self.first_stage_weight = Wanted(first_stage_weight=first_stage_weight).first_stage_weight
        self.prior = as_function(prior)

    def search(
        self,
        query: str,
        top_k: int | None = 10,
        *,
        min_relevance: float | None = None,
        deadline_s: float | None = None,
        max_tokens: int | None = None,
        prior: FoundPrior | None = None,
    ) -> Ranking:
        """Find candidates and rank them.

        Args:
            query: Must not be blank.
            top_k: The most results to return. None returns all `k`.
            min_relevance: As in `Reranker.rerank`. If no document is good enough, the result is empty.
            deadline_s: As in `Reranker.rerank`, and for the reranker alone. The retriever's time doesn't count.
            max_tokens: As in `Reranker.rerank`: only so many stored token vectors of each document count.
            prior: Instead of the Searcher's own; None for that.

        Returns:
            The best document first. `index` is the position in the first stage's order. `timings_ms` has "first_stage" too.

        Raises:
            ValueError: If the query is blank, or a number is out of its range. Also if the first stage's scores count and a
                candidate has no finite score, or the prior fails.
            TypeError: If a number has a wrong type, or `prior` is neither a function nor a name.
        """
        wanted = Wanted.of(
            self,
            top_k=top_k,
            min_relevance=min_relevance,
            deadline_s=deadline_s,
            max_tokens=max_tokens,
            prior=as_function(prior),
        )
        started = time.perf_counter()
        candidates = self.retriever.retrieve(query, self.k)
        first_stage_ms = (time.perf_counter() - started) * 1000
        ranking: Ranking = self.reranker.rank([query], [candidates], wanted)[0]
        add_first_stage(ranking, first_stage_ms)
        return ranking

    def context(  # noqa: PLR0913 - as pack_context
        self,
        query: str,
        budget_tokens: int = 2000,
        *,
        min_relevance: float | None = None,
        top_k: int | None = None,
        prior: FoundPrior | None = None,
        strategy: StrategyName = "coverage",
        order: Order = "relevance",
        count_tokens: Any = None,
        oversize: Oversize = "cut",
        compress: bool = False,
        neighbours: Iterable[str | Candidate] | bool | None = None,
        images: ImageMode = "drop",
        count_image: CountImage | None = None,
    ) -> Context:
        """Find candidates, rank them, and choose the passages that go before the LLM.

        The first stage's scores and a prior count where rank counts: with `strategy="relevance"`, and in the order in which the
        parts are read. "coverage" and "mmr" choose by matches alone.

        Args:
            query: Must not be blank.
            budget_tokens: The most tokens of the whole text.
            min_relevance: As in `search`. If no document is good enough, the context is empty, and the chatbot can say so.
            top_k: As in `pack_context`, like all other arguments.
            prior: As in `search`.
            strategy: How documents are chosen.
            order: How the parts are ordered.
            count_tokens: The reader's tokenizer.
            oversize: What to do if no document fits whole.
            compress: Whether to take some documents by their best sentences.
            neighbours: Where to look for the pieces before and after the taken ones. True looks in the retriever's own
                `documents`.
            images: What to do with pages without text.
            count_image: Counts an image's tokens.

        Raises:
            ValueError: As in `search` and `pack_context`.
            TypeError: As in `pack_context`. Also if `neighbours` is True and the retriever has no `documents`, or the reranker
                is an InsideReranker.
        """
        if isinstance(self.reranker, InsideReranker):
            raise TypeError(FOR_A_CONTEXT)
        beside = self._documents() if neighbours is True else neighbours or None
        ranking = self.search(query, top_k=None, min_relevance=min_relevance, prior=prior)
        return pack_context(
            query,
            ranking,
            reranker=self.reranker,
            budget_tokens=budget_tokens,
            top_k=top_k,
            strategy=strategy,
            order=order,
            count_tokens=count_tokens,
            oversize=oversize,
            compress=compress,
            neighbours=beside,
            images=images,
            count_image=count_image,
        )

    def _documents(self) -> Iterable[str | Candidate]:
        documents: Iterable[str | Candidate] | None = getattr(self.retriever, "documents", None)
        if documents is None:
            raise TypeError(
                f"neighbours=True needs a retriever that has `documents`, as BM25Retriever does; "
                f"{type(self.retriever).__name__} hasn't: pass them as neighbours=[...]"
            )
        return documents
