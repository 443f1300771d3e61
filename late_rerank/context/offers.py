"""Ranked documents as they may go into the context: whole, or by the sentences that are needed most."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from late_rerank.context.compression import Extract, extracts
from late_rerank.context.counting import CountTokens
from late_rerank.context.layout import SEPARATOR, Passage, block, passage_of
from late_rerank.context.sentences import CUT_MARK, cut_to
from late_rerank.errors import IncompatibleError
from late_rerank.places import Span
from late_rerank.reranker import Reranker
from late_rerank.types import F32, RankedDocument


@dataclass(frozen=True)
class Offer:
    """A document, or its most needed sentences.

    Attributes:
        document: Which.
        whole: (n_query_tokens,) float32, the best matches in all of it.
        extract: Its sentences, where it may be shortened.
        n_sentences: How many of them are shown; of no meaning without them.
    """

    document: RankedDocument
    whole: F32
    extract: Extract | None = None
    n_sentences: int = 0

    @property
    def is_whole(self) -> bool:
        """Whether nothing of the document is left out."""
        return self.extract is None or self.n_sentences >= len(self.extract.order)

    @property
    def text(self) -> str:
        """What is shown of the document."""
        return self.document.text if self.extract is None else self.extract.shown(self.n_sentences)

    @property
    def matches(self) -> F32:
        """(n_query_tokens,) float32, the best matches in what is shown."""
        return self.whole if self.extract is None or self.is_whole else self.extract.matches(self.n_sentences)

    def passage(self) -> Passage:
        """As it goes into the context."""
        if self.extract is None or self.is_whole:
            return passage_of(self.document, self.whole)
        return passage_of(self.document, self.matches, self.text, self.extract.kept(self.n_sentences))


def shortened(offered: Sequence[Offer], which: Sequence[int], query: str, reranker: Reranker) -> list[Offer]:
    """Some of the documents by no more than the sentences that carry nearly all that they match.

    Args:
        offered: Whole.
        which: Positions of those to shorten.
        query: Not blank.
        reranker: Knows their token vectors.
    """
    found = list(offered)
    for i, extract in zip(which, extracts(query, [offered[i].document.text for i in which], reranker), strict=True):
        found[i] = replace(offered[i], extract=extract, n_sentences=extract.n_core)
    return found


def cost_of(count: CountTokens, n_documents: int) -> Callable[[str], int]:
    """What a text costs as a part, in tokens, at least 1: with a number of no fewer digits than its own, and a separator."""
    return lambda text: max(count(block(n_documents, text) + SEPARATOR), 1)


def grown(taken: Sequence[Offer], cost: Callable[[str], int], left: int) -> tuple[list[Offer], int]:
    """Shortened documents with further sentences of theirs, most needed first, as long as there is room.

    Args:
        taken: What the context has so far.
        cost: Of a text.
        left: Tokens that are left.

    Returns:
        The same documents in the same order, and the tokens that are left then.
    """
    found = list(taken)
    costs = [cost(offer.text) for offer in found]
    open_ = [i for i, offer in enumerate(found) if not offer.is_whole]
    while open_:
        # The best ranked first; of one document one sentence at a time.
        for i in list(open_):
            longer = replace(found[i], n_sentences=found[i].n_sentences + 1)
            more = cost(longer.text) - costs[i]
            if more > left:
                open_.remove(i)
                continue
            found[i], left = longer, left - more
            costs[i] += more
            if longer.is_whole:
                open_.remove(i)
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
        shorter = next((each for each in _shorter(offer) if fits(each.text)), None)
        if shorter is not None:
            return shorter.passage()
        text = cut_to(offer.document.text, fits) if cut else None
        if text is not None:
            spans = [(0, len(text) - len(CUT_MARK))]
            return passage_of(offer.document, _matches_in(offer, spans, query, reranker), text, spans)
    return None


def _shorter(offer: Offer) -> Iterator[Offer]:
    """With fewer and fewer sentences; then with one, the most needed first."""
    for n in range(offer.n_sentences - 1, 0, -1):
        yield replace(offer, n_sentences=n)
    if offer.extract is not None:
        for sentence in offer.extract.order[1:]:
            yield replace(offer, extract=offer.extract.beginning_with(sentence), n_sentences=1)


def _matches_in(offer: Offer, spans: Sequence[Span], query: str, reranker: Reranker) -> F32:
    try:
        found = reranker.span_maxima(query, [offer.document.text], [spans])[0]
    except IncompatibleError:  # the encoder can't tell places
        return offer.whole
    matches: F32 = np.maximum(found, 0).max(axis=0)
    return matches
