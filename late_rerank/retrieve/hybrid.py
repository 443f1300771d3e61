"""Several first stages fused by reciprocal rank."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from late_rerank.retrieve.base import Retriever, check_query
from late_rerank.types import Candidate


class HybridRetriever:
    """Asks several retrievers and fuses their orders. A document's score is the sum of 1 / (60 + rank).

    Two lists have the same document if the ids are equal. Documents without ids are the same if their texts are equal. Within
    one list a document counts once. A score of exactly 0 adds nothing: lexical retrievers fill up with documents that share no
    word with the query.

    Args:
        retrievers: At least one.
        rank_constant: The 60 in the sum. A larger value makes ranks differ less.

    Raises:
        ValueError: If there are no retrievers, or `rank_constant` is below 0.

    Source: Cormack, Clarke and Büttcher 2009 (Reciprocal rank fusion).
    """

    def __init__(self, retrievers: Sequence[Retriever], *, rank_constant: float = 60.0) -> None:
        if not retrievers:
            raise ValueError("HybridRetriever needs at least one retriever, got none")
        if rank_constant < 0:
            raise ValueError(f"rank_constant must be at least 0, got {rank_constant}")
        self.retrievers = list(retrievers)
        self.rank_constant = rank_constant

    @property
    def languages(self) -> dict[str, int]:
        """The languages of the documents, as the first BM25Retriever found them; empty if none looked."""
        return next((found for each in self.retrievers if (found := getattr(each, "languages", None))), {})

    @property
    def documents(self) -> list[Candidate] | None:
        """The documents of the first retriever that has `documents`. None if no retriever has them."""
        return next((found for each in self.retrievers if (found := getattr(each, "documents", None)) is not None), None)

    def retrieve(self, query: str, k: int = 100) -> list[Candidate]:
        """Ask each retriever for `k` candidates, and give the best `k` of all, best first.

        Equal scores keep the order in which the retrievers gave them.
        """
        check_query(query, k)
        scores: dict[tuple[str, str], float] = {}
        seen: dict[tuple[str, str], Candidate] = {}
        for retriever in self.retrievers:
            ranks: dict[tuple[str, str], int] = {}
            for rank, candidate in enumerate(retriever.retrieve(query, k), start=1):
                name = ("text", candidate.text) if candidate.id is None else ("id", candidate.id)
                ranks.setdefault(name, 0 if candidate.score == 0 else rank)
                seen.setdefault(name, candidate)
            for name, rank in ranks.items():
                scores[name] = scores.get(name, 0.0) + (1.0 / (self.rank_constant + rank) if rank else 0.0)
        order = sorted(scores, key=lambda name: -scores[name])[:k]
        return [replace(seen[name], score=scores[name]) for name in order]
