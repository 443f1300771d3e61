"""Which documents go into the context: whole ones first, then what is needed most of others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from late_rerank.context.compression import said_in
from late_rerank.context.offers import Cost, Offer, shortened
from late_rerank.context.selection import ByMarginalRelevance, ByRelevance, Room, Strategy, select, select_by_coverage
from late_rerank.context.twins import Twins
from late_rerank.context.worth import worth
from late_rerank.reranker import Reranker
from late_rerank.types import F32, I64

StrategyName = Literal["coverage", "relevance", "mmr"]
STRATEGIES = ("coverage", "relevance", "mmr")

_DIVERSITY = 0.3
# How many of the candidates are shortened, since a tokenizer must find their sentences (about 2 ms each): the best, and more
# for a larger budget; few of them shrink to less than so many tokens.
_SHORTENED = 10
_SHORTEST = 50


class Choice:
    """Documents while they are chosen.

    Args:
        offered: One a document, by rank.
        maxima: (n_documents, n_query_tokens) float32, their best matches.
        strategy: How to choose.
        reranker: Knows their token vectors.

    Attributes:
        offered: As given, some of them shortened later.
        taken: Positions, in the order in which they were taken.
        left: Tokens of the budget that are left.
    """

    def __init__(self, offered: Sequence[Offer], maxima: F32, strategy: StrategyName, reranker: Reranker) -> None:
        self.offered = list(offered)
        self.taken: list[int] = []
        self.left = 0
        self._texts = [offer.document.text for offer in offered]
        self._maxima = maxima
        self._strategy = strategy
        self._reranker = reranker
        self._same = Twins([offer.document for offer in offered], lambda i: self.offered[i].is_whole).of
        self._twins: dict[int, int] = {}
        self._room = Room(0)
        self._costs: I64 = np.empty(0, dtype=np.int64)

    def take(self, room: Room, cost: Cost) -> None:
        """Take documents as they are offered, as long as there is room.

        Args:
            room: What the whole context may hold.
            cost: Of texts, in tokens.
        """
        self._room, self.left = room, room.budget
        self._costs = cost.of([offer.text for offer in self.offered])
        self._take_more()

    def take_shortened(self, query: str, cost: Cost) -> None:
        """Take others by their most needed sentences, if there is still room."""
        promising = Room(len(self.offered), len(self.taken) + _SHORTENED + self._room.budget // _SHORTEST)
        best, _ = self._select(np.ones(len(self.offered), dtype=np.int64), promising)
        which = [document for document in best if document not in self.taken]
        said = said_in([self._texts[i] for i in self.taken])
        self.offered = shortened(self.offered, which, query, self._reranker, said)
        self._costs[which] = cost.of([self.offered[i].text for i in which])
        self._take_more()

    def why_not(self, document: int) -> str:
        """Why a document wasn't taken."""
        twin = self._twins.get(document)
        while twin in self._twins:
            twin = self._twins[twin]
        if twin is not None:
            return f"it says the same as rank {self.offered[twin].document.rank}"
        if self._costs[document] > self._room.budget:
            return f"it is larger ({self._costs[document]} tokens) than the budget"
        if len(self.taken) == self._room.top_k:
            return "another was taken" if self._room.top_k == 1 else f"{self._room.top_k} others were taken"
        return "no room was left"

    def _take_more(self) -> None:
        self.taken, twins = self._select(self._costs, self._room)
        self._twins |= twins
        self.left = self._room.budget - int(self._costs[self.taken].sum())

    def _select(self, costs: I64, room: Room) -> tuple[list[int], dict[int, int]]:
        if self._strategy == "coverage":
            shown = np.array([offer.matches for offer in self.offered], dtype=np.float32).reshape(self._maxima.shape)
            return select_by_coverage(worth(shown), costs, room, self._same, self.taken)
        return select(self._greedy(), costs, room, self._same, self.taken)

    def _greedy(self) -> Strategy:
        if self._strategy == "relevance":
            return ByRelevance()
        texts, reranker = self._texts, self._reranker
        return ByMarginalRelevance(
            self._maxima.sum(axis=1) / max(self._maxima.shape[1], 1),
            lambda document: reranker.similarity(texts[document], texts),
            _DIVERSITY,
        )
