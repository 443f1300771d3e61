"""The greedy loop that fills a budget, and which document each strategy takes next. NumPy only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from late_rerank.context.twins import Same
from late_rerank.types import F32, I64

Mask = NDArray[np.bool_]

# What a query token's best match in a set counts, and its second best.
_LEVELS = (1.0, 0.5)
_STEPS = tuple(level - below for level, below in zip(_LEVELS, (*_LEVELS[1:], 0.0), strict=True))


@dataclass(frozen=True, slots=True)
class Room:
    """How much may be taken.

    Attributes:
        n_tokens: The most tokens.
        top_k: The most documents; None for any number.
    """

    n_tokens: int
    top_k: int | None = None


class Strategy(Protocol):
    """Decides which document is taken next."""

    def best(self, allowed: Mask) -> int:
        """Give the best of the allowed documents; at least one is allowed."""

    def take(self, document: int) -> None:
        """Note that a document was taken."""

    def forget(self) -> None:
        """Begin again: nothing was taken."""


class ByRelevance:
    """Takes documents in the order of the ranking."""

    def best(self, allowed: Mask) -> int:
        return int(np.argmax(allowed))

    def take(self, document: int) -> None:
        pass

    def forget(self) -> None:
        pass


class ByCoverage:
    """Takes the document that adds most to the best matches of each query token.

    A set is worth, for each query token, its best match and half its second best. So once all tokens are covered, the next
    documents cover them again.

    Args:
        matches: (n_documents, n_query_tokens) float32, the worth of each match, none below 0.
        costs: (n_documents,) int64, tokens of budget, at least 1; None to take the document that adds most, however long it is.
        own: (n_documents,) float32, each document's worth of its own beside its matches, none below 0; None for none.

    Attributes:
        worth: The worth of the taken documents.
    """

    def __init__(self, matches: F32, costs: I64 | None, own: F32 | None = None) -> None:
        self._matches = matches
        self._costs = 1 if costs is None else costs
        self._own = 0 if own is None else own
        self.forget()

    def best(self, allowed: Mask) -> int:
        return int(np.argmax(np.where(allowed, (self._gains(self._matches) + self._own) / self._costs, -1)))

    def take(self, document: int) -> None:
        match = self._matches[document]
        self.worth += float(self._gains(match[None])[0])
        for level, held in enumerate(self._best):
            self._best[level], match = np.maximum(held, match), np.minimum(held, match)

    def forget(self) -> None:
        self.worth = 0.0
        self._best = np.zeros((len(_LEVELS), self._matches.shape[1]), dtype=np.float32)

    def _gains(self, matches: F32) -> F32:
        # A match above the best so far makes that one the second best, and so on: the gain is telescoped over the levels.
        added = [step * np.maximum(matches - held, 0).sum(axis=1) for step, held in zip(_STEPS, self._best, strict=True)]
        gains: F32 = np.sum(added, axis=0)
        return gains


class ByMarginalRelevance:
    """Maximal marginal relevance: takes a document that is relevant and unlike the taken ones (Carbonell and Goldstein 1998).

    Args:
        relevance: (n_documents,) float32.
        similarity: Gives (n_documents,) float32, how much like one document each of the others is.
        diversity: From 0 to 1, how much being unlike counts.
    """

    def __init__(self, relevance: F32, similarity: Callable[[int], F32], diversity: float) -> None:
        self._relevance = relevance
        self._similarity = similarity
        self._diversity = diversity
        self._nearest = np.zeros(len(relevance), dtype=np.float32)

    def best(self, allowed: Mask) -> int:
        value = (1 - self._diversity) * self._relevance - self._diversity * self._nearest
        return int(np.argmax(np.where(allowed, value, -np.inf)))

    def take(self, document: int) -> None:
        self._nearest = np.maximum(self._nearest, self._similarity(document))

    def forget(self) -> None:
        self._nearest = np.zeros_like(self._nearest)


Compare = Callable[[int, Sequence[int]], Same]
"""Finds, among the taken documents, those that say the same as another document."""


def select(
    strategy: Strategy, costs: I64, room: Room, same: Compare, before: Sequence[int] = ()
) -> tuple[list[int], dict[int, int]]:
    """Take documents while there is room for one.

    Args:
        strategy: Decides which document is taken next.
        costs: (n_documents,) int64, tokens.
        room: How much may be taken, all in all.
        same: Compares a document with the taken ones.
        before: Documents that were taken already.

    Returns:
        The taken documents in the order of taking, `before` first; and the near-duplicates that were left out, each with the
        taken document that says the same. A taken document that is a piece of a later one gives its room back to that one.
    """
    taken: list[int] = []
    twins: dict[int, int] = {}
    open_ = np.ones(len(costs), dtype=np.bool_)
    left = room.n_tokens

    def take(document: int) -> None:
        nonlocal left
        strategy.take(document)
        taken.append(document)
        open_[document] = False
        left -= int(costs[document])

    for document in before:
        take(document)
    while len(taken) != room.top_k and (allowed := open_ & (costs <= left)).any():
        document = strategy.best(allowed)
        open_[document] = False
        found = same(document, taken)
        if found.stands_for is not None:
            twins[document] = found.stands_for
            continue
        if found.replaced:
            kept = [other for other in taken if other not in found.replaced]
            twins |= dict.fromkeys(found.replaced, document)
            strategy.forget()
            taken.clear()
            left = room.n_tokens
            for other in kept:
                take(other)
        take(document)
    return taken, twins


def select_by_coverage(
    matches: F32, costs: I64, room: Room, same: Compare, before: Sequence[int] = ()
) -> tuple[list[int], dict[int, int]]:
    """Take documents by what they cover together; arguments and result as in `select`.

    The worth of a set is monotone and submodular. The loop runs twice: taking the document that adds most per token, and the
    one that adds most. The better of the two sets reaches at least (1 - 1/e) / 2 of the best set's worth (Leskovec et al. 2007,
    "Cost-effective outbreak detection", theorem 3), as long as no two documents say the same.
    """
    found = []
    for each in (costs, None):
        strategy = ByCoverage(matches, each)
        found.append((select(strategy, costs, room, same, before), strategy.worth))
    return max(found, key=lambda selected: selected[1])[0]
