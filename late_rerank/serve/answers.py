"""A Ranking -> the JSON values that clients read."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from late_rerank.types import RankedDocument, Ranking

Shown = Callable[[RankedDocument], dict[str, Any]]


@dataclass(frozen=True)
class About:
    """What an answer says beside the ranking.

    Attributes:
        request_id: The request's.
        model: The model's name, as clients are told it.
        version: Of Cohere's API: "1" or "2".
    """

    request_id: str
    model: str
    version: str


def envelope(ranking: Ranking, results: Iterable[dict[str, Any]], about: About) -> dict[str, Any]:
    """Put results into the envelope that clients of Cohere, Jina, vLLM and Infinity read.

    Args:
        ranking: The whole ranking, for its counts and times.
        results: The results that are shown, best first.
        about: What the answer says beside them.
    """
    return {
        "id": about.request_id,
        "object": "rerank",
        "created": int(time.time()),
        "model": about.model,
        "results": list(results),
        "usage": {"prompt_tokens": ranking.n_tokens, "total_tokens": ranking.n_tokens},
        "meta": {"api_version": {"version": about.version}, "billed_units": {"search_units": 0}, **meta(ranking)},
    }


def result(document: RankedDocument, *, raw: bool = False, shown: Shown | None = None) -> dict[str, Any]:
    """Write one result of an envelope.

    Args:
        document: The ranked document.
        raw: Whether its score is MaxSim instead of relevance.
        shown: What writes the document itself; None to leave it out.
    """
    written: dict[str, Any] = {"index": document.index, "relevance_score": score_of(document, raw=raw)}
    return written if shown is None else written | {"document": shown(document)}


def with_id(document: RankedDocument) -> dict[str, Any]:
    """Write a document as its text and, if it has one, its id."""
    return {"text": document.text} | ({} if document.id is None else {"id": document.id})


def score_of(document: RankedDocument, *, raw: bool) -> float:
    """Give what the client sorts by: MaxSim if `raw`, else relevance; 0 for a document that wasn't scored."""
    return float((document.score if raw else document.relevance) or 0.0)


def meta(ranking: Ranking) -> dict[str, Any]:
    """Tell whether the ranking is complete, what the store held for it, and where its time went."""
    return {
        "degraded": bool(ranking.n_unscored),
        "n_unscored": ranking.n_unscored,
        "query_truncated": ranking.query_truncated,
        "cache": {"hits": ranking.n_hits, "misses": ranking.n_misses},
        "timings_ms": {name: round(ms, 3) for name, ms in ranking.timings_ms.items()},
    }
