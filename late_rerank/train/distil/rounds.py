"""Texts by kind -> the steps of a training, the same for the same seed, wherever a training goes on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from late_rerank.train.distil.recipe import DistilRecipe
from late_rerank.types import I64

# The width of a step is a multiple of it. A shape that torch meets first takes it about half a step longer, and steps of any
# width and number of texts had hundreds of shapes.
_WIDTH_MULTIPLE = 4


class Step(NamedTuple):
    """Texts that are encoded in one batch.

    Attributes:
        texts: Their positions.
        width: Positions that each is padded to.
    """

    texts: list[int]
    width: int


class Rounds:
    """Rounds of steps. A round draws some texts of each kind by its share, and cuts them into steps by length.

    Steps of one width have the same number of texts, so that all steps have a few shapes.

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
        self._widest = int(widths.max(initial=1))  # the model may have no positions beyond
        chance = np.random.default_rng(recipe.seed)
        self._orders = {kind: chance.permutation(np.asarray(kinds[kind], dtype=np.int64)) for kind in parts}
        size = min(recipe.texts_per_round, sum(map(len, self._orders.values())))
        self._drawn = {kind: max(1, round(part * size)) for kind, part in parts.items()}

    def steps(self, number: int) -> list[Step]:
        """Give the steps of a round, from 0, in random order."""
        chance = np.random.default_rng((self._recipe.seed, number))
        drawn: list[int] = []
        for kind, order in self._orders.items():
            n = self._drawn[kind]
            drawn += order[(number * n + np.arange(n)) % len(order)].tolist()
        jitter = chance.random(len(drawn))  # texts of one length meet others each round
        by_length = sorted(range(len(drawn)), key=lambda i: self._widths[drawn[i]] + jitter[i], reverse=True)
        steps = self._cut([drawn[i] for i in by_length])
        return [steps[i] for i in chance.permutation(len(steps))]

    def _cut(self, drawn: list[int]) -> list[Step]:
        """Cut texts, the longest first, into steps of as many tokens as a step takes, padding included."""
        steps: list[Step] = []
        start = 0
        while start < len(drawn):
            longest = int(self._widths[drawn[start]])
            width = min(-(-longest // _WIDTH_MULTIPLE) * _WIDTH_MULTIPLE, self._widest)
            n = max(1, min(self._recipe.tokens_per_step // width, self._recipe.queries_per_step, len(drawn)))
            texts = drawn[start : start + n]
            steps.append(Step((texts * n)[:n], width))  # the last one is filled up with its own
            start += n
        return steps
