"""Documents as they are offered to the context: whole, or by their most needed sentences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from late_rerank.context.budget import Budget
from late_rerank.context.compression import Extract, Said, extracts
from late_rerank.context.images import IMAGE_MARK
from late_rerank.context.layout import Passage, image_passage, passage_of
from late_rerank.context.query import QueryMatches
from late_rerank.context.sentences import CUT_MARK, cut_from, cut_to, opened, sentences
from late_rerank.encode.places import Span
from late_rerank.errors import IncompatibleError
from late_rerank.pictures import Picture
from late_rerank.types import F32, Content, RankedDocument


@dataclass(frozen=True)
class Offer:
    """A document, whole or by its most needed sentences.

    Attributes:
        position: The document's position among the ranked ones.
        document: The document.
        content: What is encoded of it. The parts of a picture's text have no vectors of their own. "" if its image can't be
            read, and the model takes images alone.
        whole_matches: (n_query_tokens,) float32, the best matches in all of the document.
        extract: The document's sentences, if it may be shortened.
        image: The picture that is shown instead of a text. It is never shortened.
    """

    position: int
    document: RankedDocument
    content: Content
    whole_matches: F32
    extract: Extract | None = None
    image: Picture | None = None

    @property
    def has_places(self) -> bool:
        """Whether parts of the shown text can be matched: the text itself is encoded."""
        return self.image is None and self.content == self.document.text

    @property
    def encoded_text(self) -> str:
        """The text whose parts are matched. Unlike the document's own, it may carry the key of a row in somebody's table."""
        return self.content if isinstance(self.content, str) else self.document.text

    @property
    def text(self) -> str:
        """The text that is shown; the mark of an image."""
        if self.image is not None:
            return IMAGE_MARK
        return self.document.text if self.extract is None else self.extract.shown

    @property
    def is_whole(self) -> bool:
        """Whether all of the document is shown."""
        return self.extract is None or self.extract.is_whole

    @property
    def matches(self) -> F32:
        """(n_query_tokens,) float32, the best matches in the shown text."""
        return self.whole_matches if self.extract is None or self.extract.is_whole else self.extract.matches

    def passage(self) -> Passage:
        """Make the passage that goes into the context."""
        if self.image is not None:
            return image_passage(self.position, self.document, self.whole_matches, self.image)
        if self.extract is None or self.extract.is_whole:
            return passage_of(self.position, self.document, self.whole_matches)
        return passage_of(self.position, self.document, self.matches, self.text, self.extract.kept_spans)


def shortened(offers: Sequence[Offer], positions: Sequence[int], matches: QueryMatches, said: Said) -> list[Offer]:
    """Shorten some offers to the sentences that carry nearly all that the document matches.

    Args:
        offers: Whole.
        positions: The offers to shorten. Each has places.
        matches: Finds the query's best matches in sentences.
        said: The sentences of the context so far, as `said_in` gives them. They are not repeated.

    Returns:
        All offers, in the same order.
    """
    found = list(offers)
    short = extracts(matches, [offers[i].encoded_text for i in positions], said)
    for i, extract in zip(positions, short, strict=True):
        if extract.order:
            found[i] = replace(offers[i], extract=extract)
    return found


def grown(taken: Sequence[Offer], budget: Budget, n_left: int) -> tuple[list[Offer], int]:
    """Add further sentences to shortened documents while there is room; the document that was taken first comes first.

    Args:
        taken: The taken offers.
        budget: Counts tokens.
        n_left: Tokens that are left.

    Returns:
        The same documents in the same order, and the tokens that are left then.
    """
    found = []
    for offer in taken:
        larger = offer
        if offer.extract is not None and n_left > 0:
            room = budget.cost(offer.text) + n_left
            larger = replace(offer, extract=offer.extract.filled(partial(budget.costs_at_most, room)))
            n_left = room - budget.cost(larger.text)
        found.append(larger)
    return found, n_left


def fitted_alone(offers: Sequence[Offer], matches: QueryMatches, budget: Budget, *, cut: bool) -> Passage | None:
    """Make the only passage of a context into which no document fits whole: something of the best ranked that allows it.

    Args:
        offers: By rank.
        matches: Finds the query's best matches in a cut text.
        budget: What the passage must fit into.
        cut: Whether a document may be cut after a sentence, or after a word, where its sentences can't be chosen. If its best
            passage is known, the shown piece begins there; else at the beginning.

    Returns:
        None if no sentence of any document fits; with `cut`, if no word fits.
    """
    for offer in offers:
        if offer.image is not None:
            if budget.image_fits_alone(offer.image):
                return offer.passage()
            continue
        if budget.fits_alone(offer.document.text):
            return passage_of(offer.position, offer.document, offer.whole_matches)
        if offer.extract is not None:
            fitting = offer.extract.shrunk(budget.fits_alone)
            if fitting.kept:
                return replace(offer, extract=fitting).passage()
        if cut and (piece := _cut(offer, matches, budget)) is not None:
            text, span = piece
            return passage_of(offer.position, offer.document, _matches_in(offer, [span], matches), text, [span])
    return None


def _cut(offer: Offer, matches: QueryMatches, budget: Budget) -> tuple[str, Span] | None:
    """Cut a document: give the shown piece, and where it stands."""
    document = offer.document
    passage = document.best_span
    if passage is not None and passage != (0, len(document.text)):  # a document of one window has no better place to begin
        place = _beginning(offer.encoded_text, passage, matches, budget) if offer.has_places else passage[0]
        if (piece := cut_from(document.text, place, budget.fits_alone)) is not None:
            return piece
    text = cut_to(document.text, budget.fits_alone)
    return None if text is None else (text, (0, len(text) - len(CUT_MARK)))


def _beginning(text: str, passage: Span, matches: QueryMatches, budget: Budget) -> int:
    """Find where the shown piece begins: with the passage, or, if that is too large, with the passage's best sentence."""
    start, end = passage
    inside = [span for span in sentences(text) if start <= span[0] < end]
    if not inside or budget.fits_alone(opened(text[start:end]) + CUT_MARK):
        return start
    best = np.maximum(matches.in_spans([text], [inside])[0], 0).sum(axis=1).argmax()
    return inside[int(best)][0]


def _matches_in(offer: Offer, spans: Sequence[Span], matches: QueryMatches) -> F32:
    if not offer.has_places:
        return offer.whole_matches
    try:
        found = matches.in_spans([offer.encoded_text], [spans])[0]
    except IncompatibleError:  # the encoder can't tell its tokens' places
        return offer.whole_matches
    best: F32 = np.maximum(found, 0).max(axis=0)
    return best
