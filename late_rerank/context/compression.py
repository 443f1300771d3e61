"""Documents -> the sentences that carry their matches, most needed first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace

import numpy as np

from late_rerank.context.query import QueryMatches
from late_rerank.context.sentences import CUT_MARK, sentences
from late_rerank.context.strategies import ByCoverage
from late_rerank.context.wording import wording
from late_rerank.context.worth import worth
from late_rerank.encode.places import Span
from late_rerank.types import F32

# A sentence's worth of its own counts beside what it adds, and its neighbours' worth counts to it: answers stand beside the
# words of the question as often as among them.
_OWN_SHARE = 0.1
_NEIGHBOURS = 1.0
# Where the context says some sentences already, the other sentences must match so much of what the whole document matches.
_STILL = 0.8
# Where a document is shrunk to fit alone, sentences are shown that match so much of what the best one matches.
_CARRYING = 0.5
# At most so many sentences of one document are shown, and after so many in a row that don't fit no further one is tried.
_MOST_NEEDED = 200
_TRIES = 20
# A shortened document keeps so much of what it matches.
_ENOUGH = 0.97

Said = AbstractSet[tuple[str, str, str]]
"""Sentences of the context, each between its neighbours."""


@dataclass(frozen=True)
class Extract:
    """A document's sentences, and which of them are shown.

    Attributes:
        text: The document's text.
        spans: Where each sentence stands in the text, in order.
        order: The sentences that may be shown, by position, most needed first.
        maxima: (n_sentences, n_query_tokens) float32, the best matches in each sentence.
        kept: The shown sentences, by position. At first as many as carry nearly all that the document matches.
        carrying: Sentences that match at least half as much as the best one, most needed first.
    """

    text: str
    spans: Sequence[Span]
    order: Sequence[int]
    maxima: F32
    kept: tuple[int, ...]
    carrying: tuple[int, ...] = ()

    @property
    def is_whole(self) -> bool:
        """Whether all sentences are shown."""
        return len(self.kept) == len(self.spans)

    @property
    def kept_spans(self) -> list[Span]:
        """Where the shown sentences stand, in the order of the text; sentences in a row make one span."""
        rows: list[tuple[int, int]] = []  # first and last sentence
        for i in sorted(self.kept):
            if rows and rows[-1][1] == i - 1:
                rows[-1] = (rows[-1][0], i)
            else:
                rows.append((i, i))
        return [(self.spans[first][0], self.spans[last][1]) for first, last in rows]

    @property
    def shown(self) -> str:
        """The shown sentences, with a mark wherever others are left out; the whole text if none is left out."""
        if self.is_whole:
            return self.text
        spans = self.kept_spans
        opening = "" if spans[0][0] == self.spans[0][0] else CUT_MARK.lstrip() + " "
        closing = "" if spans[-1][1] == self.spans[-1][1] else CUT_MARK
        return opening + f"{CUT_MARK} ".join(self.text[start:end] for start, end in spans) + closing

    @property
    def matches(self) -> F32:
        """(n_query_tokens,) float32, the best matches in the shown sentences."""
        best: F32 = self.maxima[list(self.kept)].max(axis=0, initial=0)
        return best

    def filled(self, fits: Callable[[str], bool]) -> Extract:
        """Show further sentences, most needed first, each that fits."""
        return _showing(self, [i for i in self.order if i not in set(self.kept)], fits)

    def shrunk(self, fits: Callable[[str], bool]) -> Extract:
        """Show as many of the carrying sentences as fit; then, if any does, further ones."""
        fitting = _showing(replace(self, kept=()), self.carrying, fits)
        return fitting.filled(fits) if fitting.kept else fitting


def said_in(texts: Sequence[str]) -> Said:
    """Collect the sentences of texts, each with its neighbours: between others a sentence may say something else."""
    return {each for text in texts for each in _in_context(text, sentences(text))}


def extracts(matches: QueryMatches, texts: Sequence[str], said: Said = frozenset()) -> list[Extract]:
    """Order each text's sentences by what they add to the match of the query, from its stored vectors.

    Args:
        matches: Finds the query's best matches in sentences.
        texts: None blank.
        said: Sentences that are not shown again, as `said_in` gives them.

    Returns:
        One a text, in order. Its `order` is empty if the sentences that may be shown match too little.

    Raises:
        IncompatibleError: If the encoder can't tell its tokens' places, or pools them.
    """
    spans = [sentences(text) for text in texts]
    maxima = matches.in_spans(texts, spans)
    return [_extract(*each, said) for each in zip(texts, spans, maxima, strict=True)]


def _extract(text: str, spans: Sequence[Span], maxima: F32, said: Said) -> Extract:
    matches = worth(maxima)
    single = matches.sum(axis=1)
    order = _most_needed(text, spans, matches, said)
    covered = np.maximum.accumulate(matches[order], axis=0).sum(axis=1)
    if not order or covered[-1] < _STILL * matches.max(axis=0).sum():
        return Extract(text, spans, [], maxima, ())
    n_kept = int(np.searchsorted(covered, _ENOUGH * covered[-1])) + 1
    carrying = tuple(i for i in order if single[i] >= _CARRYING * single.max())
    return Extract(text, spans, order, maxima, tuple(order[:n_kept]), carrying)


def _most_needed(text: str, spans: Sequence[Span], matches: F32, said: Said) -> list[int]:
    """Order sentences by what they add to the matches, without those that are said already."""
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
    return order


def _in_context(text: str, spans: Sequence[Span]) -> list[tuple[str, str, str]]:
    plain = ["", *(wording(text[start:end]).cased for start, end in spans), ""]
    return list(zip(plain, plain[1:], plain[2:], strict=False))


def _showing(extract: Extract, further: Sequence[int], fits: Callable[[str], bool]) -> Extract:
    """Show further sentences, each that fits."""
    n_refused = 0
    for i in further:
        more = replace(extract, kept=(*extract.kept, i))
        if fits(more.shown):
            extract, n_refused = more, 0
        elif (n_refused := n_refused + 1) == _TRIES:
            break
    return extract
