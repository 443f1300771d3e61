"""Which documents go into the context: whole ones first, then the most needed sentences of others."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Literal

import numpy as np

from late_rerank.context.budget import Budget
from late_rerank.context.compression import said_in
from late_rerank.context.images import SamePictures
from late_rerank.context.offers import Offer, shortened
from late_rerank.context.query import QueryMatches
from late_rerank.context.strategies import ByMarginalRelevance, ByRelevance, Room, Strategy, select, select_by_coverage
from late_rerank.context.twins import Same, Twins
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
        budget: Counts tokens, and tells which documents are shown as images.

    Raises:
        IncompatibleError: If the only model can't encode a document.
    """

    def __init__(
        self, documents: Mapping[int, RankedDocument], strategy: StrategyName, matches: QueryMatches, budget: Budget
    ) -> None:
        self._documents = documents
        self._strategy = strategy
        self._matches = matches
        self._budget = budget
        self._contents, self._maxima = matches.of_documents(documents.values())
        self._images = [budget.images.of(document) for document in documents.values()]
        self._twins = Twins(list(documents.values()))
        self._same_pictures = SamePictures(self._images, self._likeness)

    def whole(self) -> Selection:
        """Take whole documents."""
        rows = zip(self._documents.items(), self._contents, self._maxima, self._images, strict=True)
        offers = [Offer(i, document, content, maxima, image=image) for (i, document), content, maxima, image in rows]
        costs = self._budget.costs([offer.text for offer in offers])
        costs += np.array([self._budget.images.n_tokens(image) for image in self._images], dtype=np.int64)
        return self._filled(Selection(offers, costs, self._budget.room()))

    def with_shortened(self, selection: Selection) -> Selection:
        """Take further documents by their most needed sentences, where room is left. Pages that were encoded as pictures stay.

        Args:
            selection: Whole documents.

        Raises:
            IncompatibleError: If the encoder can't tell its tokens' places, or pools them.
        """
        offers = selection.offers
        if offers and not any(offer.has_places for offer in offers):
            return selection
        n_promising = len(selection.taken) + _SHORTENED + selection.room.n_tokens // _SHORTEST
        room = Room(len(offers), n_promising)
        best = self._filled(replace(selection, costs=np.ones(len(offers), dtype=np.int64), room=room)).taken
        promising = [i for i in best if i not in selection.taken and offers[i].has_places]
        said = said_in([offers[i].document.text for i in selection.taken])
        offers = shortened(offers, promising, self._matches, said)
        costs = selection.costs.copy()
        costs[promising] = self._budget.costs([offers[i].text for i in promising])
        return self._filled(replace(selection, offers=offers, costs=costs))

    def _filled(self, selection: Selection) -> Selection:
        """Take further offers while there is room for one."""
        room, costs, before = selection.room, selection.costs, selection.taken
        same = partial(self._same, is_whole=selection.is_whole)
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
            self._matches.relevance(self._documents.values(), self._maxima),
            lambda i: self._likeness(i, range(len(self._contents))),
            _DIVERSITY,
        )

    def _likeness(self, i: int, others: Sequence[int]) -> F32:
        return self._matches.likeness(self._contents[i], [self._contents[other] for other in others])

    def _same(self, document: int, taken: Sequence[int], is_whole: Callable[[int], bool]) -> Same:
        """Compare a document with the taken ones: an image with images, a text with texts."""
        if self._images[document] is not None:
            return Same(self._same_pictures.among(taken, document))
        return self._twins.of(document, [i for i in taken if self._images[i] is None], is_whole)
