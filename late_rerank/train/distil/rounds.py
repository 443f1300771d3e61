"""Texts by kind -> the steps of a training, the same for the same seed, wherever a training goes on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from late_rerank.train.distil.recipe import DistilRecipe
from late_rerank.types import I64


class Rounds:
    """Rounds of steps. A round draws some texts of each kind by its share, and cuts them into steps by length.

    Args:
        kinds: Kind -> positions of its texts.
        parts: Kind -> its share, 1 in all.
        widths: (n_texts,) positions that a model is given for each text.
        recipe: The sizes of a step and of a round, and the seed.
    """

    def __init__(
        self, kinds: Mapping[str, Sequence[int]], parts: Mapping[str, float], widths: I64, recipe: DistilRecipe
    ) -> None:
        self._recipe, self._widths = recipe, widths
        chance = np.random.default_rng(recipe.seed)
        self._orders = {kind: chance.permutation(np.asarray(kinds[kind], dtype=np.int64)) for kind in parts}
        size = min(recipe.texts_per_round, sum(map(len, self._orders.values())))
        self._drawn = {kind: max(1, round(part * size)) for kind, part in parts.items()}

    def steps(self, number: int) -> list[list[int]]:
        """Give the steps of a round, from 0: positions of the texts of each step."""
        chance = np.random.default_rng((self._recipe.seed, number))
        drawn: list[int] = []
        for kind, order in self._orders.items():
            n = self._drawn[kind]
            drawn += order[(number * n + np.arange(n)) % len(order)].tolist()
        jitter = chance.random(len(drawn))  # texts of one length meet others each round
        by_length = sorted(range(len(drawn)), key=lambda i: self._widths[drawn[i]] + jitter[i])
        steps = self._cut([drawn[i] for i in by_length])
        return [steps[i] for i in chance.permutation(len(steps))]

    def _cut(self, drawn: Sequence[int]) -> list[list[int]]:
        """Cut texts, the shortest first, into steps of at most so many tokens, padding included."""
        steps: list[list[int]] = [[]]
        for i in drawn:
            n = len(steps[-1]) + 1
            if steps[-1] and (n * self._widths[i] > self._recipe.tokens_per_step or n > self._recipe.queries_per_step):
                steps.append([])
            steps[-1].append(i)
        return steps
