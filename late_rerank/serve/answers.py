"""A Ranking -> the JSON values that clients read."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from late_rerank.serve.bodies import DocumentBody
from late_rerank.serve.parts import without_images
from late_rerank.serve.passages import SpanOf, span_json
from late_rerank.serve.questions import Question
from late_rerank.types import Candidate, RankedDocument, Ranking

Shown = Callable[[RankedDocument], Any]


@dataclass(frozen=True)
class About:
    """What an answer says beside the ranking.

    Attributes:
        request_id: The request's.
        model: The model's name, as clients are told it.
        version: Of Cohere's API: "1" or "2".
        ignored: Names in the request that would have changed the answer of another server.
    """

    request_id: str
    model: str
    version: str
    ignored: Sequence[str] = ()


def envelope(
    ranking: Ranking, results: Iterable[dict[str, Any]], about: About, *, question: Question | None = None
) -> dict[str, Any]:
    """Put results into the envelope that clients of Cohere, Jina, vLLM and Infinity read.

    Args:
        ranking: The whole ranking, for its counts and times.
        results: The results that are shown, best first.
        about: What the answer says beside them.
        question: What was asked; None where nothing can have been left out.
    """
    return {
        "id": about.request_id,
        "object": "rerank",
        "created": int(time.time()),
        "model": about.model,
        "results": list(results),
        "usage": usage([ranking]),
        "meta": _head([ranking], about) | meta(ranking, question),
    }


def several(
    rankings: Sequence[Ranking], results: Iterable[list[dict[str, Any]]], questions: Sequence[Question], about: About
) -> dict[str, Any]:
    """Put the results of several queries into a list, in the order of the queries.

    Args:
        rankings: One for each query.
        results: The results that are shown, a list for each query.
        questions: What was asked.
        about: What the answer says beside them.
    """
    answers = [
        {"index": i, "object": "rerank", "results": shown, "usage": usage([ranking]), "meta": meta(ranking, question)}
        for i, (ranking, shown, question) in enumerate(zip(rankings, results, questions, strict=True))
    ]
    told = {"id": about.request_id, "object": "list", "created": int(time.time()), "model": about.model, "data": answers}
    return told | {"usage": usage(rankings), "meta": meta_of_all(rankings, about)}


def usage(rankings: Sequence[Ranking]) -> dict[str, int]:
    """Count the token vectors that were compared."""
    n_tokens = sum(ranking.n_tokens for ranking in rankings)
    return {"prompt_tokens": n_tokens, "total_tokens": n_tokens}


def result(
    document: RankedDocument, *, raw: bool = False, shown: Shown | None = None, span_of: SpanOf | None = None
) -> dict[str, Any]:
    """Write one result of an envelope.

    Args:
        document: The ranked document.
        raw: Whether its score is MaxSim instead of relevance.
        shown: What writes the document itself; None to leave it out.
        span_of: What tells where its best passage stands; None to leave it out.
    """
    written: dict[str, Any] = {"index": document.index, "relevance_score": score_of(document, raw=raw)}
    if document.prior is not None:
        written["prior"] = document.prior
    if span_of is not None:
        written["best_span"] = span_json(document, span_of)
    return written if shown is None else written | {"document": shown(document)}


def with_id(document: RankedDocument) -> dict[str, Any]:
    """Write a document as its text, its id if it has one, and its picture's key if it has a picture. Never the picture."""
    told: dict[str, Any] = {"text": document.text} | ({} if document.id is None else {"id": document.id})
    return told if document.image is None else told | {"image_key": document.image.key().hex()}


def image_key(document: str | Candidate) -> str | None:
    """Write the key by which a later request may name a document's picture; None for a text."""
    return None if isinstance(document, str) or document.image is None else document.image.key().hex()


def as_sent(document: RankedDocument, sent: DocumentBody) -> dict[str, Any]:
    """Write an object as it was sent: each field, of its own type. One that was ranked as a picture is told by `with_id`."""
    if document.image is None:
        return without_images(sent.sent) if sent.images else sent.sent
    return with_id(document) | ({} if sent.id is None else {"id": sent.id})


def score_of(document: RankedDocument, *, raw: bool) -> float:
    """Give what the client sorts by: MaxSim if `raw`, else relevance; 0 for a document that wasn't scored."""
    return float((document.score if raw else document.relevance) or 0.0)


def meta(ranking: Ranking, question: Question | None = None) -> dict[str, Any]:
    """Tell whether the ranking is complete, what the store held for it, and where its time went."""
    told = {
        "degraded": bool(ranking.n_unscored),
        "n_unscored": ranking.n_unscored,
        "query_truncated": ranking.query_truncated,
        "cache": {"hits": ranking.n_hits, "misses": ranking.n_misses},
        "timings_ms": {name: round(ms, 3) for name, ms in ranking.timings_ms.items()},
    }
    if question is not None and question.wanted.min_relevance is not None:
        told["n_below_min_relevance"] = len(question.candidates) - len(ranking) - _n_left_out_unscored(ranking)
    return told


def meta_of_all(rankings: Sequence[Ranking], about: About) -> dict[str, Any]:
    """Tell the same of several rankings together."""
    n_unscored = sum(ranking.n_unscored for ranking in rankings)
    n_hits, n_misses = (sum(counts) for counts in zip(*((each.n_hits, each.n_misses) for each in rankings), strict=True))
    told = {"degraded": bool(n_unscored), "n_unscored": n_unscored, "cache": {"hits": n_hits, "misses": n_misses}}
    return _head(rankings, about) | told


def _head(rankings: Sequence[Ranking], about: About) -> dict[str, Any]:
    """Write what clients of Cohere, SiliconFlow and Xinference read of `meta`, and what was ignored."""
    tokens = {"input_tokens": sum(ranking.n_tokens for ranking in rankings), "output_tokens": 0}
    told = {"api_version": {"version": about.version}, "billed_units": {"search_units": 0}, "tokens": tokens}
    return told | ({"ignored": list(about.ignored)} if about.ignored else {})


def _n_left_out_unscored(ranking: Ranking) -> int:
    return ranking.n_unscored - sum(document.score is None for document in ranking)
