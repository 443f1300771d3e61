"""How much the context may hold, and how much of it a text or an image takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from late_rerank.arguments.numbers import whole_number
from late_rerank.context.counting import CountTokens, count_all, counter
from late_rerank.context.images import IMAGE_MARK, Images
from late_rerank.context.layout import SEPARATOR, Passage, block, text_of
from late_rerank.context.strategies import Room
from late_rerank.pictures import Picture
from late_rerank.types import I64

# Tokens of the shortest part there is: "[1] a".
_SHORTEST_PART = 4


@dataclass(frozen=True)
class Budget:
    """How much the context may hold.

    Attributes:
        n_tokens: The most that the context's text and images may take, numbers and separators included.
        top_k: The most documents; None for any number.
        count: Counts a text's tokens.
        n_parts: The most parts that there may be: each is counted with a number of as many digits.
        images: Tells which documents are shown as images, and counts an image's tokens.
    """

    n_tokens: int
    top_k: int | None
    count: CountTokens
    n_parts: int
    images: Images

    def taken_by(self, passages: Sequence[Passage]) -> int:
        """Count the tokens of the whole context, images included; 0 for no passages."""
        text = text_of(passages)
        return (self.count(text) if text else 0) + sum(self.images.n_tokens(passage.image) for passage in passages)

    def fits(self, passages: Sequence[Passage]) -> bool:
        """Tell whether the context may have these passages."""
        return self.taken_by(passages) <= self.n_tokens

    def fits_alone(self, text: str) -> bool:
        """Tell whether a passage of this text may be the context's only one."""
        return self.count(block(1, text)) <= self.n_tokens

    def image_fits_alone(self, picture: Picture) -> bool:
        """Tell whether an image may be the context's only part."""
        return self.count(block(1, IMAGE_MARK)) + self.images.n_tokens(picture) <= self.n_tokens

    def cost(self, text: str) -> int:
        """Count a passage's tokens, at least 1, with its number and the separator after it."""
        return int(self.costs([text])[0])

    def costs_at_most(self, n_tokens: int, text: str) -> bool:
        """Tell whether a passage takes no more than so many tokens, counted as `cost` does."""
        return self.cost(text) <= n_tokens

    def costs(self, texts: Sequence[str]) -> I64:
        """Count each passage's tokens as `cost` does; (n_texts,) int64."""
        return np.maximum(count_all(self.count, [block(self.n_parts, text) + SEPARATOR for text in texts]), 1)

    def room(self) -> Room:
        """Give the room for passages by their costs. The last passage has no separator after it."""
        return Room(self.n_tokens + self.count(SEPARATOR), self.top_k)


def budget_of(budget_tokens: object, top_k: object, count_tokens: object, *, images: Images, n_documents: int) -> Budget:
    """Check what a user gave, and make a Budget for so many documents.

    Raises:
        ValueError: If `budget_tokens` is below 0, or `top_k` below 1.
        TypeError: If one of the two is no int, or `count_tokens` can't count.
    """
    n_tokens = whole_number("budget_tokens", budget_tokens, at_least=0)
    documents = whole_number("top_k", top_k, or_none="for all")
    # No more parts than this can be numbered in the budget.
    n_parts = max(min(n_documents, n_tokens // _SHORTEST_PART), 1)
    return Budget(n_tokens, documents, counter(count_tokens), n_parts, images)
