"""A rerank's span: OpenInference's attributes of a reranker, and counts of our own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from late_rerank.observing.timing import TOTAL
from late_rerank.observing.tracing import numbered, shows_content, span, tell_stages
from late_rerank.ranking.wanted import Wanted
from late_rerank.types import RankedDocument, Ranking

# OpenTelemetry keeps 128 attributes of a span unless it is told otherwise.
_SHOWN = 20


@contextmanager
def rerank_span(queries: Sequence[str], wanted: Wanted, model: str) -> Iterator[RerankSpan]:
    """Open the span of a rerank.

    Args:
        queries: One; several that are ranked together have one span, which tells their number.
        wanted: The options.
        model: The model's name.
    """
    attributes: dict[str, Any] = {
        "openinference.span.kind": "RERANKER",
        "reranker.model_name": model,
        "late_rerank.n_queries": len(queries),
    }
    if wanted.top_k is not None:
        attributes["reranker.top_k"] = wanted.top_k
    with span("rerank", attributes) as opened:
        yield RerankSpan(opened, queries, wanted.top_k)


class RerankSpan:
    """What a rerank tells of itself.

    Args:
        opened: The span; None where the program doesn't trace.
        queries: As given.
        top_k: At most so many documents came out, whatever the rankings hold; None for all.
    """

    def __init__(self, opened: Any | None, queries: Sequence[str], top_k: int | None = None) -> None:
        self.opened = opened
        self._queries = queries
        self._n_shown = _SHOWN if top_k is None else min(top_k, _SHOWN)

    def tell(self, candidates: Sequence[Sequence[RankedDocument]], rankings: Sequence[Ranking]) -> None:
        """Tell what came in and out; texts only where they were asked for.

        Args:
            candidates: For each query its documents, in the order given.
            rankings: One a query.
        """
        if self.opened is None:
            return
        told: dict[str, Any] = {}
        if len(rankings) == 1:  # OpenInference knows reranks of one query
            told = _documents(candidates[0], list(rankings[0])[: self._n_shown])
            if shows_content():
                told["reranker.query"] = self._queries[0]
        told |= {
            "late_rerank.n_candidates": sum(map(len, candidates)),
            "late_rerank.n_hits": sum(ranking.n_hits for ranking in rankings),
            "late_rerank.n_misses": sum(ranking.n_misses for ranking in rankings),
            "late_rerank.n_unscored": sum(ranking.n_unscored for ranking in rankings),
        }
        self.opened.set_attributes(told)

    def tell_ranked(self, rankings: Sequence[Ranking], n_candidates: int) -> None:
        """Tell of rankings that were made elsewhere. Documents that they left out are counted alone.

        Args:
            rankings: One a query; they may hold more than came out.
            n_candidates: Of all queries.
        """
        if self.opened is not None:
            self.tell([sorted(ranking, key=lambda document: document.index) for ranking in rankings], rankings)
            self.opened.set_attribute("late_rerank.n_candidates", n_candidates)

    def tell_stages(self, began_ns: int, rankings: Sequence[Ranking]) -> None:
        """Add spans of the stages, for rankings that were made elsewhere.

        Args:
            began_ns: When they were asked for, of `time.time_ns()`.
            rankings: Whose times are shared: `timing.share`.
        """
        if self.opened is None or not rankings:
            return
        stages = [name for name in rankings[0].timings_ms if name != TOTAL]
        tell_stages(self.opened, began_ns, {name: sum(each.timings_ms.get(name, 0.0) for each in rankings) for name in stages})


def _documents(candidates: Sequence[RankedDocument], ranked: Sequence[RankedDocument]) -> dict[str, Any]:
    shows = shows_content()
    # Where a span holds too many attributes, OpenTelemetry forgets the first: what comes out matters more.
    given = numbered("reranker.input_documents", [_given(each) for each in candidates]) if shows else {}
    return given | numbered("reranker.output_documents", [_ranked(each, shows=shows) for each in ranked])


def _given(document: RankedDocument) -> dict[str, Any]:
    return {"id": _name(document), "score": document.candidate_score, "content": document.text}


def _ranked(document: RankedDocument, *, shows: bool) -> dict[str, Any]:
    if not shows:  # some ids are sentences or addresses
        return {"id": str(document.index), "score": document.relevance}
    return {"id": _name(document), "score": document.relevance, "content": document.text}


def _name(document: RankedDocument) -> str:
    return str(document.index if document.id is None else document.id)
