"""Documents -> the sentences that carry their matches, most needed first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from late_rerank.context.selection import ByCoverage
from late_rerank.context.sentences import CUT_MARK, sentences
from late_rerank.context.worth import worth
from late_rerank.places import Span
from late_rerank.reranker import Reranker
from late_rerank.types import F32

# What a sentence matches by itself counts beside what it adds, and what its neighbours match counts to it: answers stand
# beside the words of the question as often as among them.
_OWN_SHARE = 0.1
_NEIGHBOURS = 1.0
# Of what a document matches, so much is kept when it is shortened.
_ENOUGH = 0.97


@dataclass(frozen=True)
class Extract:
    """A document's sentences, and which of them are shown.

    Attributes:
        text: The document's.
        spans: Where they stand in it, in order.
        order: All of them by position, most needed first.
        maxima: (n_sentences, n_query_tokens) float32, the best matches in each.
        kept: Those that are shown, by position. At first as many as carry nearly all that the document matches.
    """

    text: str
    spans: Sequence[Span]
    order: Sequence[int]
    maxima: F32
    kept: tuple[int, ...]

    @property
    def is_whole(self) -> bool:
        """Whether nothing is left out."""
        return len(self.kept) == len(self.order)

    @property
    def kept_spans(self) -> list[Span]:
        """Where they stand, in the order of the text; those that follow each other as one span."""
        found: list[tuple[int, int]] = []  # first and last sentence
        for i in sorted(self.kept):
            if found and found[-1][1] == i - 1:
                found[-1] = (found[-1][0], i)
            else:
                found.append((i, i))
        return [(self.spans[first][0], self.spans[last][1]) for first, last in found]

    @property
    def shown(self) -> str:
        """They, with a mark wherever others are left out; the whole text for all."""
        if self.is_whole:
            return self.text
        spans = self.kept_spans
        opening = "" if spans[0][0] == self.spans[0][0] else CUT_MARK.lstrip() + " "
        closing = "" if spans[-1][1] == self.spans[-1][1] else CUT_MARK
        return opening + f"{CUT_MARK} ".join(self.text[start:end] for start, end in spans) + closing

    @property
    def matches(self) -> F32:
        """(n_query_tokens,) float32, the best matches in them."""
        found: F32 = self.maxima[list(self.kept)].max(axis=0, initial=0)
        return found

    def filled(self, fits: Callable[[str], bool]) -> Extract:
        """With further sentences, most needed first, each that fits."""
        found = self
        for i in self.order:
            if i not in found.kept:
                more = replace(found, kept=(*found.kept, i))
                found = more if fits(more.shown) else found
        return found


def extracts(query: str, texts: Sequence[str], reranker: Reranker) -> list[Extract]:
    """Each text's sentences by what they add to the match of the query, from its stored vectors.

    Args:
        query: Not blank.
        texts: None blank.
        reranker: Knows their token vectors, and where in the text each stands.

    Raises:
        IncompatibleError: The encoder can't tell its tokens' places, or pools them.
    """
    spans = [sentences(text) for text in texts]
    maxima = reranker.span_maxima(query, texts, spans)
    return [_extract(*each) for each in zip(texts, spans, maxima, strict=True)]


def _extract(text: str, spans: Sequence[Span], maxima: F32) -> Extract:
    matches = worth(maxima)
    single = matches.sum(axis=1)
    beside = np.zeros_like(single)
    beside[1:] += single[:-1]
    beside[:-1] += single[1:]
    greedy = ByCoverage(matches, None, _OWN_SHARE * (single + _NEIGHBOURS * beside))
    left = np.ones(len(spans), dtype=np.bool_)
    order: list[int] = []
    while left.any():
        best = greedy.best(left)
        greedy.take(best)
        left[best] = False
        order.append(best)
    covered = np.maximum.accumulate(matches[order], axis=0).sum(axis=1)
    n_kept = int(np.searchsorted(covered, _ENOUGH * covered[-1])) + 1 if order else 0
    return Extract(text, spans, order, maxima, tuple(order[:n_kept]))
