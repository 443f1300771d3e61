"""What a wrapper shows of a ranking in a document's metadata, and what an earlier ranking left there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from late_rerank.types import NO_TOKENS_SCORE, RankedDocument

# What retrievers and rerankers write into metadata: two that found the same document differ in these.
_OF_ONE_QUERY = frozenset(
    ("retrieval_score", "relevance_score", "late_rerank_score", "late_rerank_prior", "score", "best_span")
)


def maxsim_of(document: RankedDocument) -> float | None:
    """Give the MaxSim that a wrapper may show; None where the document wasn't scored, or has no tokens to score."""
    return None if document.score is None or document.score == NO_TOKENS_SCORE else float(document.score)


def unscored(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Give a document's metadata without what retrievers and rerankers wrote for one query: its scores and its best span."""
    return {name: value for name, value in metadata.items() if name not in _OF_ONE_QUERY}
