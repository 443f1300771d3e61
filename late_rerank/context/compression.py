"""Documents -> the sentences that carry their matches, most needed first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace

import numpy as np

from late_rerank.context.selection import ByCoverage
from late_rerank.context.sentences import CUT_MARK, sentences
from late_rerank.context.wording import wording
from late_rerank.context.worth import worth
from late_rerank.encode.places import Span
from late_rerank.reranker import Reranker
from late_rerank.types import F32

# What a sentence matches by itself counts beside what it adds, and what its neighbours match counts to it: answers stand
# beside the words of the question as often as among them.
_OWN_SHARE = 0.1
_NEIGHBOURS = 1.0
# Where sentences were said already, the others must match so much of what all do; and where none fits but by itself, those are
# taken that match so much of what the best one does.
_STILL = 0.8
_CARRYING = 0.5
# More sentences of one document are never shown shortened, and after so many that don't fit no further one is tried.
_MOST_NEEDED = 200
_TRIES = 20
# Of what a document matches, so much is kept when it is shortened.
_ENOUGH = 0.97

Said = AbstractSet[tuple[str, str, str]]


@dataclass(frozen=True)
class Extract:
    """A document's sentences, and which of them are shown.

    Attributes:
        text: The document's.
        spans: Where they stand in it, in order.
        order: Those that may be shown by position, most needed first.
        maxima: (n_sentences, n_query_tokens) float32, the best matches in each.
        kept: Those that are shown, by position. At first as many as carry nearly all that the document matches.
        carrying: Those that match at least half as much as the best one, most needed first.
    """

    text: str
    spans: Sequence[Span]
    order: Sequence[int]
    maxima: F32
    kept: tuple[int, ...]
    carrying: tuple[int, ...] = ()

    @property
    def is_whole(self) -> bool:
        """Whether nothing is left out."""
        return len(self.kept) == len(self.spans)

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
        return _with(self, [i for i in self.order if i not in set(self.kept)], fits)

    def shrunk(self, fits: Callable[[str], bool]) -> Extract:
        """With as many of those that carry matches as fit; then, if any does, with further ones."""
        fitting = _with(replace(self, kept=()), self.carrying, fits)
        return fitting.filled(fits) if fitting.kept else fitting


def _with(extract: Extract, further: Sequence[int], fits: Callable[[str], bool]) -> Extract:
    n_refused = 0
    for i in further:
        more = replace(extract, kept=(*extract.kept, i))
        if fits(more.shown):
            extract, n_refused = more, 0
        elif (n_refused := n_refused + 1) == _TRIES:
            break
    return extract


def said_in(texts: Sequence[str]) -> Said:
    """The sentences of texts, each with those before and after it: among others it may say something else."""
    return {each for text in texts for each in _in_context(text, sentences(text))}


def _in_context(text: str, spans: Sequence[Span]) -> list[tuple[str, str, str]]:
    plain = ["", *(wording(text[start:end]).cased for start, end in spans), ""]
    return list(zip(plain, plain[1:], plain[2:], strict=False))


def extracts(query: str, texts: Sequence[str], reranker: Reranker, said: Said = frozenset()) -> list[Extract]:
    """Each text's sentences by what they add to the match of the query, from its stored vectors.

    Args:
        query: Not blank.
        texts: None blank.
        reranker: Knows their token vectors, and where in the text each stands.
        said: What was said already, as `said_in` gives it: such sentences aren't shown again.

    Raises:
        IncompatibleError: The encoder can't tell its tokens' places, or pools them.
    """
    spans = [sentences(text) for text in texts]
    maxima = reranker.span_maxima(query, texts, spans)
    return [_extract(*each, said) for each in zip(texts, spans, maxima, strict=True)]


def _extract(text: str, spans: Sequence[Span], maxima: F32, said: Said) -> Extract:
    matches = worth(maxima)
    single = matches.sum(axis=1)
    beside = np.zeros_like(single)
    beside[1:] += single[:-1]
    beside[:-1] += single[1:]
    greedy = ByCoverage(matches, None, _OWN_SHARE * (single + _NEIGHBOURS * beside))
    left = np.ones(len(spans), dtype=np.bool_)
    if said:
        left = np.array([each not in said for each in _in_context(text, spans)], dtype=np.bool_)
    order: list[int] = []
    while left.any() and len(order) < _MOST_NEEDED:
        best = greedy.best(left)
        greedy.take(best)
        left[best] = False
        order.append(best)
    covered = np.maximum.accumulate(matches[order], axis=0).sum(axis=1)
    if not order or covered[-1] < _STILL * matches.max(axis=0).sum():
        return Extract(text, spans, [], maxima, ())
    n_kept = int(np.searchsorted(covered, _ENOUGH * covered[-1])) + 1
    carrying = tuple(i for i in order if single[i] >= _CARRYING * single.max())
    return Extract(text, spans, order, maxima, tuple(order[:n_kept]), carrying)
