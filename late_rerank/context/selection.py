"""Which documents go into a budget: one greedy loop, and what it takes next under each strategy. NumPy only."""

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
    """How much may be taken: tokens, and documents (None for any number)."""

    budget: int
    top_k: int | None = None


class Strategy(Protocol):
    """What is taken next."""

    def best(self, allowed: Mask) -> int:
        """The best of the allowed documents; at least one is."""

    def take(self, document: int) -> None:
        """It was taken."""

    def forget(self) -> None:
        """Begin again: nothing was taken."""


class ByRelevance:
    """In the order of the ranking."""

    def best(self, allowed: Mask) -> int:
        return int(np.argmax(allowed))

    def take(self, document: int) -> None:
        pass

    def forget(self) -> None:
        pass


class ByCoverage:
    """What adds most to the best matches of each query token.

    A set is worth, for each query token, its best match and half its second best: where all is covered once, what covers it
    again comes next.

    Args:
        matches: (n_documents, n_query_tokens) float32, what each is worth, none below 0.
        costs: (n_documents,) int64, tokens of budget, at least 1; None to take what adds most however long it is.
        own: (n_documents,) float32, what a document is worth by itself beside that, none below 0; None for nothing.

    Attributes:
        worth: Of what was taken.
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
        # A match above the best so far makes that the second best, and so on: what it adds is telescoped over the levels.
        added = [step * np.maximum(matches - held, 0).sum(axis=1) for step, held in zip(_STEPS, self._best, strict=True)]
        gains: F32 = np.sum(added, axis=0)
        return gains


class ByMarginalRelevance:
    """Maximal marginal relevance: relevant, and unlike what was taken (Carbonell and Goldstein 1998).

    Args:
        relevance: (n_documents,) float32.
        similarity: Gives (n_documents,) float32, how much like one document each of the others is.
        diversity: 0 to 1, how much being unlike counts.
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


def select(
    strategy: Strategy, costs: I64, room: Room, same: Callable[[int, Sequence[int]], Same], before: Sequence[int] = ()
) -> tuple[list[int], dict[int, int]]:
    """Fill a room.

    Args:
        strategy: What is taken next.
        costs: (n_documents,) int64, tokens.
        room: What may be taken, all in all.
        same: Which of the documents that were taken say the same as another.
        before: What was taken already.

    Returns:
        What was taken, in this order, after what was before; and what wasn't since another that was says the same: that one by
        document. A taken document that turns out to be a piece of a further one gives its room back.
    """
    taken: list[int] = []
    twins: dict[int, int] = {}
    open_ = np.ones(len(costs), dtype=np.bool_)
    left = room.budget

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
            left = room.budget
            for other in kept:
                take(other)
        take(document)
    return taken, twins


def select_by_coverage(
    matches: F32, costs: I64, room: Room, same: Callable[[int, Sequence[int]], Same], before: Sequence[int] = ()
) -> tuple[list[int], dict[int, int]]:
    """`select` by what a set covers.

    Its worth is monotone and submodular. Taking what adds most per token, or what adds most, whichever ends up worth more,
    reaches at least (1 - 1/e) / 2 of the best set's worth (Leskovec et al. 2007, "Cost-effective outbreak detection", theorem
    3), as long as no two documents say the same.
    """
    found = []
    for each in (costs, None):
        strategy = ByCoverage(matches, each)
        found.append((select(strategy, costs, room, same, before), strategy.worth))
    return max(found, key=lambda selected: selected[1])[0]
