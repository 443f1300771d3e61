"""Ranked documents as they may go into the context: whole, or by the sentences that are needed most."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from late_rerank.context.compression import Extract, Said, extracts
from late_rerank.context.counting import CountTokens, count_all
from late_rerank.context.layout import SEPARATOR, Passage, block, passage_of
from late_rerank.context.sentences import CUT_MARK, cut_to
from late_rerank.encode.places import Span
from late_rerank.errors import IncompatibleError
from late_rerank.reranker import Reranker
from late_rerank.types import F32, I64, RankedDocument


@dataclass(frozen=True)
class Offer:
    """A document, or its most needed sentences.

    Attributes:
        document: Which.
        whole: (n_query_tokens,) float32, the best matches in all of it.
        extract: Its sentences, where it may be shortened.
    """

    document: RankedDocument
    whole: F32
    extract: Extract | None = None

    @property
    def text(self) -> str:
        """What is shown of the document."""
        return self.document.text if self.extract is None else self.extract.shown

    @property
    def is_whole(self) -> bool:
        """Whether all of the document is shown."""
        return self.extract is None or self.extract.is_whole

    @property
    def matches(self) -> F32:
        """(n_query_tokens,) float32, the best matches in what is shown."""
        return self.whole if self.extract is None or self.extract.is_whole else self.extract.matches

    def passage(self) -> Passage:
        """As it goes into the context."""
        if self.extract is None or self.extract.is_whole:
            return passage_of(self.document, self.whole)
        return passage_of(self.document, self.matches, self.text, self.extract.kept_spans)


def shortened(offered: Sequence[Offer], which: Sequence[int], query: str, reranker: Reranker, said: Said) -> list[Offer]:
    """Some of the documents by no more than the sentences that carry nearly all that they match.

    Args:
        offered: Whole.
        which: Positions of those to shorten.
        query: Not blank.
        reranker: Knows their token vectors.
        said: What the context says already, as `said_in` gives it: it isn't said again.
    """
    found = list(offered)
    for i, extract in zip(which, extracts(query, [offered[i].document.text for i in which], reranker, said), strict=True):
        if extract.order:
            found[i] = replace(offered[i], extract=extract)
    return found


@dataclass(frozen=True)
class Cost:
    """What texts cost as parts, in tokens, at least 1: with a number of as many digits as there may be, and a separator.

    Attributes:
        count: Counts tokens.
        most: Parts there may be.
    """

    count: CountTokens
    most: int

    def __call__(self, text: str) -> int:
        return int(self.of([text])[0])

    def of(self, texts: Sequence[str]) -> I64:
        """(n_texts,) int64."""
        return np.maximum(count_all(self.count, [block(self.most, text) + SEPARATOR for text in texts]), 1)


def grown(taken: Sequence[Offer], cost: Callable[[str], int], left: int) -> tuple[list[Offer], int]:
    """Shortened documents with further sentences of theirs, as long as there is room; the first taken first.

    Args:
        taken: What the context has so far.
        cost: Of a text.
        left: Tokens that are left.

    Returns:
        The same documents in the same order, and the tokens that are left then.
    """
    found = []
    for offer in taken:
        if offer.extract is not None and left > 0:
            room = cost(offer.text) + left
            offer = replace(offer, extract=offer.extract.filled(partial(_costs_at_most, cost, room)))
            left = room - cost(offer.text)
        found.append(offer)
    return found, left


def shrunk(
    offered: Sequence[Offer], query: str, reranker: Reranker, fits: Callable[[str], bool], *, cut: bool
) -> Passage | None:
    """The best ranked document of which something fits: its most needed sentences, or its beginning.

    Args:
        offered: By rank; none fits as it is.
        query: Not blank.
        reranker: Knows their token vectors.
        fits: Whether a text fits.
        cut: Whether a document may be cut at the end of a sentence, or of a word, where sentences can't be chosen.

    Returns:
        None where of no document a sentence fits; or, with `cut`, a word.
    """
    for offer in offered:
        if fits(offer.document.text):
            return passage_of(offer.document, offer.whole)
        if offer.extract is not None:
            fitting = offer.extract.shrunk(fits)
            if fitting.kept:
                return replace(offer, extract=fitting).passage()
        text = cut_to(offer.document.text, fits) if cut else None
        if text is not None:
            spans = [(0, len(text) - len(CUT_MARK))]
            return passage_of(offer.document, _matches_in(offer, spans, query, reranker), text, spans)
    return None


def _costs_at_most(cost: Callable[[str], int], room: int, text: str) -> bool:
    return cost(text) <= room


def _matches_in(offer: Offer, spans: Sequence[Span], query: str, reranker: Reranker) -> F32:
    try:
        found = reranker.span_maxima(query, [offer.document.text], [spans])[0]
    except IncompatibleError:  # the encoder can't tell places
        return offer.whole
    matches: F32 = np.maximum(found, 0).max(axis=0)
    return matches
