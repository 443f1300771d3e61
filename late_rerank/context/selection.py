"""Which documents go into the context: whole ones first, then the most needed sentences of others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Literal

import numpy as np

from late_rerank.context.budget import Budget
from late_rerank.context.compression import said_in
from late_rerank.context.offers import Offer, shortened
from late_rerank.context.query import QueryMatches
from late_rerank.context.strategies import ByMarginalRelevance, ByRelevance, Room, Strategy, select, select_by_coverage
from late_rerank.context.twins import Twins
from late_rerank.context.worth import worth
from late_rerank.types import F32, I64, RankedDocument

StrategyName = Literal["coverage", "relevance", "mmr"]
STRATEGIES = ("coverage", "relevance", "mmr")

# How much being unlike the taken documents counts for "mmr".
_DIVERSITY = 0.3
# The best candidates are shortened: 10, and one more for each 50 tokens of the budget, since few documents shrink to less. Not
# all are, since a tokenizer must find their sentences (about 2 ms a document).
_SHORTENED = 10
_SHORTEST = 50


@dataclass(frozen=True, eq=False)
class Selection:
    """The offers that were taken, and why each other one was not.

    Attributes:
        offers: One a document, by rank.
        costs: (n_documents,) int64, the tokens that each offer takes.
        room: How much could be taken.
        taken: Taken offers by position, in the order in which they were taken.
        twins: A document that was left out -> the taken document that says the same.
    """

    offers: Sequence[Offer]
    costs: I64
    room: Room
    taken: Sequence[int] = ()
    twins: Mapping[int, int] = field(default_factory=dict)

    @property
    def n_left(self) -> int:
        """Tokens that are left."""
        return self.room.n_tokens - int(self.costs[list(self.taken)].sum())

    def is_whole(self, i: int) -> bool:
        """Whether all of a document is shown."""
        return self.offers[i].is_whole

    def why_not(self, i: int) -> str:
        """Say why a document was not taken."""
        twin = i
        while twin in self.twins:
            twin = self.twins[twin]
        if twin != i:
            return f"it says the same as rank {self.offers[twin].document.rank}"
        if self.costs[i] > self.room.n_tokens:
            return f"it is larger ({self.costs[i]} tokens) than the budget"
        if len(self.taken) == self.room.top_k:
            return "another was taken" if self.room.top_k == 1 else f"{self.room.top_k} others were taken"
        return "no room was left"


class Selector:
    """Selects documents by one strategy. Each method gives a new Selection; a Selector only remembers comparisons.

    Args:
        documents: Position among the ranked documents -> document; by rank.
        strategy: Decides which document is taken next.
        matches: Finds the query's best matches.
    """

    def __init__(self, documents: Mapping[int, RankedDocument], strategy: StrategyName, matches: QueryMatches) -> None:
        self._documents = documents
        self._texts = [document.text for document in documents.values()]
        self._strategy = strategy
        self._matches = matches
        self._maxima = matches.in_texts(self._texts)
        self._twins = Twins(list(documents.values()))

    def whole(self, budget: Budget) -> Selection:
        """Take whole documents."""
        offers = [Offer(*each, maxima) for each, maxima in zip(self._documents.items(), self._maxima, strict=True)]
        return self._filled(Selection(offers, budget.costs(self._texts), budget.room()))

    def with_shortened(self, selection: Selection, budget: Budget) -> Selection:
        """Take further documents by their most needed sentences, where room is left.

        Args:
            selection: Whole documents.
            budget: Counts the sentences' tokens.

        Raises:
            IncompatibleError: If the encoder can't tell its tokens' places, or pools them.
        """
        n_promising = len(selection.taken) + _SHORTENED + selection.room.n_tokens // _SHORTEST
        room = Room(len(self._texts), n_promising)
        best = self._filled(replace(selection, costs=np.ones(len(self._texts), dtype=np.int64), room=room)).taken
        promising = [i for i in best if i not in selection.taken]
        offers = shortened(selection.offers, promising, self._matches, said_in([self._texts[i] for i in selection.taken]))
        costs = selection.costs.copy()
        costs[promising] = budget.costs([offers[i].text for i in promising])
        return self._filled(replace(selection, offers=offers, costs=costs))

    def _filled(self, selection: Selection) -> Selection:
        """Take further offers while there is room for one."""
        room, costs, before = selection.room, selection.costs, selection.taken
        same = partial(self._twins.of, is_whole=selection.is_whole)
        if self._strategy == "coverage":
            shown = np.array([offer.matches for offer in selection.offers], dtype=np.float32).reshape(self._maxima.shape)
            taken, twins = select_by_coverage(worth(shown), costs, room, same, before)
        else:
            taken, twins = select(self._greedy(), costs, room, same, before)
        return replace(selection, taken=taken, twins={**selection.twins, **twins})

    def _greedy(self) -> Strategy:
        if self._strategy == "relevance":
            return ByRelevance()
        return ByMarginalRelevance(
            self._relevance(),
            lambda i: self._matches.likeness(self._texts[i], self._texts),
            _DIVERSITY,
        )

    def _relevance(self) -> F32:
        """(n_documents,) float32: each document's score, divided by the number of query tokens."""
        scores = self._maxima.sum(axis=1)
        if self._matches.has_windows:  # only the ranking knows the best windows
            scores = np.array([document.score for document in self._documents.values()], dtype=np.float32)
        mean: F32 = scores / max(self._maxima.shape[1], 1)
        return mean
