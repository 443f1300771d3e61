"""Ranked documents -> the context: documents within a budget of tokens, chosen by what they cover together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal

import numpy as np

from late_rerank.context.budget import Budget, budget_of
from late_rerank.context.counting import estimate_tokens
from late_rerank.context.images import CountImage, ImageMode, Images, images_of
from late_rerank.context.layout import ORDERS, SEPARATOR, Order, Passage, block, merged, ordered, text_of
from late_rerank.context.neighbours import with_neighbours
from late_rerank.context.offers import fitted_alone, grown
from late_rerank.context.query import QueryMatches
from late_rerank.context.result import Context, ContextPart, Dropped
from late_rerank.context.selection import STRATEGIES, Selection, Selector, StrategyName
from late_rerank.fused import FusedReranker
from late_rerank.ranking.inside import FOR_A_CONTEXT, InsideReranker
from late_rerank.reranker import Reranker
from late_rerank.text.words import is_blank
from late_rerank.types import F32, Candidate, RankedDocument

Oversize = Literal["cut", "drop"]


def pack_context(  # noqa: PLR0913 - one call, and every name says what it does
    query: str,
    ranked: Sequence[RankedDocument],
    *,
    reranker: Reranker | FusedReranker,
    budget_tokens: int,
    top_k: int | None = None,
    strategy: StrategyName = "coverage",
    order: Order = "relevance",
    count_tokens: Any = None,
    oversize: Oversize = "cut",
    compress: bool = False,
    neighbours: Iterable[str | Candidate] | None = None,
    images: ImageMode = "drop",
    count_image: CountImage | None = None,
) -> Context:
    """Choose the passages that go before the LLM, within a budget of tokens.

    Documents are taken while there is room. Blank and unscored documents are left out, and so are near-duplicates. A
    near-duplicate is a piece of a longer text, or equals another text but for case, white space, typography and spelling.
    Neighbouring pieces of a file become one part, if `start` and `end` in their metadata count the characters of their texts. A
    page is chosen by its picture, if the model sees pictures, and shown by its text. If its picture can't be read any more, it
    is chosen by its text; or by its rank alone, if the model takes pictures alone.

    Args:
        query: Must not be blank.
        ranked: The documents, as `Reranker.rerank` or `Searcher.search` gives them. They are never changed. A Ranking of this
            query saves encoding the query again.
        reranker: The Reranker that ranked the documents. It knows their token vectors. Of a FusedReranker, one model compares
            matches: the first that can encode all documents that may be shown.
        budget_tokens: The most tokens of the whole text and all images, numbers and separators included. 0 or more.
        top_k: The most documents, at least 1. None takes as many as fit.
        strategy: Decides which document to take next. "coverage" takes the one that adds most to the best match of each query
            token, for its length. "relevance" takes the best ranked one that still fits. "mmr" weighs a document's relevance
            against how much it is like the taken ones.
        order: The order of reading. "relevance" puts the best first. "edges" puts the best first and last. "source" keeps the
            order in the files.
        count_tokens: Counts tokens as the LLM does: its tokenizer (Hugging Face, tiktoken), or a function from a text to its
            number of tokens. None estimates the number.
        oversize: What to do if no document fits whole. "cut" cuts the best ranked one at a sentence, and adds a mark. If its
            best passage is known (`RankedDocument.best_span`), the part shown begins there. "drop" drops all.
        compress: Once no further document fits whole, take some by their best sentences. These carry nearly all matches of the
            document. A mark stands for each gap. The encoder must be able to tell its tokens' places. Pages that were encoded
            as pictures are never shortened.
        neighbours: Where to look for the pieces before and after a taken piece of a file; most often the retriever's documents.
            Found pieces join the taken piece while there is room. Pieces that the store doesn't hold are encoded.
        images: What to do with a page without text. "drop" leaves it out. "keep" shows it as an image, whole: `Context.blocks`
            is for models that read images. A page whose image can't be read is left out.
        count_image: Counts the tokens of an image by its width and height in pixels, after scaling to at most 1,568 pixels a
            side. None takes width * height / 750, rounded up.

    Returns:
        The context, with the documents that were left out and the reasons. It is empty if there are no documents, or the budget
        is 0.

    Raises:
        ValueError: If the query is blank, the budget is below 0, `top_k` is below 1, or a name is unknown.
        IncompatibleError: If `compress` is true and the encoder can't tell its tokens' places, or pools its tokens. Also if the
            model can't encode what a document has.
        TypeError: If `reranker` isn't a Reranker, `ranked` holds anything but RankedDocuments, or `count_tokens` can't count.
            Also if `neighbours` isn't a list of documents, or `count_image` is no function or gives no number.
        OSError: If the file of an image vanishes during the call. One that is gone before only leaves its page out.
    """
    documents = _checked(ranked, reranker)
    _check_names(strategy, order, oversize)
    shown_as = images_of(images, count_image)
    shown = {i: each for i, each in enumerate(documents) if _why_hidden(each, shown_as) is None}
    budget = budget_of(budget_tokens, top_k, count_tokens, images=shown_as, n_documents=len(shown))
    matches = QueryMatches(query, reranker, ranked, shown.values())
    selector = Selector(shown, strategy, matches, budget)
    selection = selector.whole()
    if compress:
        selection = selector.with_shortened(selection)
    passages = _passages(selection, documents, neighbours, matches, budget)
    if not passages and (alone := fitted_alone(selection.offers, matches, budget, cut=oversize == "cut")):
        passages = [alone]
    return _context(_laid_out(passages, documents, order, budget), documents, selection, matches, budget)


def _passages(
    selection: Selection,
    ranked: Sequence[RankedDocument],
    neighbours: Iterable[str | Candidate] | None,
    matches: QueryMatches,
    budget: Budget,
) -> list[Passage]:
    """Make passages of the taken offers, in the order of taking; then use the tokens that are left."""
    taken, n_left = grown([selection.offers[i] for i in selection.taken], budget, selection.n_left)
    passages = [offer.passage() for offer in taken]
    if neighbours is None:
        return passages
    return with_neighbours(passages, ranked, neighbours, matches, count=budget.count, n_left=n_left)


def _laid_out(passages: list[Passage], ranked: Sequence[RankedDocument], order: Order, budget: Budget) -> list[Passage]:
    """Join passages and put them into reading order.

    Some tokenizers count more for the whole text than for its parts. Then the passages taken last are left out.
    """
    while passages:
        laid_out = ordered(merged(passages, ranked), order)
        if budget.fits(laid_out):
            return laid_out
        passages = passages[:-1]
    return []


def _context(
    passages: Sequence[Passage],
    ranked: Sequence[RankedDocument],
    selection: Selection,
    matches: QueryMatches,
    budget: Budget,
) -> Context:
    """Describe the passages, in reading order, and the documents that are not among them."""
    best = np.array([passage.matches for passage in passages], dtype=np.float32).reshape(len(passages), matches.n_tokens)
    reasons = {offer.position: selection.why_not(i) for i, offer in enumerate(selection.offers)}
    inside = {position for passage in passages for position in (passage.position, *passage.merged)}
    text = text_of(passages)
    return Context(
        text,
        parts=_parts(passages, ranked, best, budget),
        n_tokens=budget.taken_by(passages),
        dropped=[
            Dropped(document, _why_hidden(document, budget.images) or reasons[position])
            for position, document in enumerate(ranked)
            if position not in inside
        ],
        coverage=matches.coverage(best.max(axis=0, initial=0)),
        is_estimate=budget.count is estimate_tokens or (budget.images.is_estimate and any(each.image for each in passages)),
    )


def _why_hidden(document: RankedDocument, images: Images) -> str | None:
    """Say why a document can't be in a context, whatever the budget; None if it can."""
    if document.score is not None and (why := images.why_not(document)) is not None:
        return why
    is_shown = document.score is not None and (images.of(document) is not None or not is_blank(document.text))
    return None if is_shown else "it has no text, or was not scored"


def _parts(passages: Sequence[Passage], ranked: Sequence[RankedDocument], matches: F32, budget: Budget) -> list[ContextPart]:
    # A token of the query belongs to the part that matches it best; of equal parts, to the best ranked.
    by_rank = sorted(range(len(passages)), key=lambda i: passages[i].document.rank)
    owner = np.array(by_rank)[matches[by_rank].argmax(axis=0)] if passages else np.empty(0, dtype=np.int64)
    return [
        ContextPart(
            id=passage.document.id,
            text=passage.text,
            rank=passage.document.rank,
            index=passage.document.index,
            path=passage.path,
            start=passage.start,
            end=passage.end,
            n_tokens=budget.count(block(number, passage.text) + SEPARATOR) + budget.images.n_tokens(passage.image),
            covers=tuple(np.flatnonzero(owner == number - 1).tolist()),
            merged=tuple(ranked[position].index for position in passage.merged),
            spans=None if passage.spans is None else tuple(passage.spans),
            page=passage.page,
            image=passage.image,
        )
        for number, passage in enumerate(passages, start=1)
    ]


def _checked(ranked: Any, reranker: Any) -> list[RankedDocument]:
    if isinstance(reranker, InsideReranker):
        raise TypeError(FOR_A_CONTEXT)
    if not isinstance(reranker, (Reranker, FusedReranker)):
        raise TypeError(f"reranker must be the Reranker that ranked them, got {type(reranker).__name__}: {reranker!r:.60}")
    if isinstance(ranked, (str, RankedDocument)) or not isinstance(ranked, Iterable):
        raise TypeError(f"ranked must be a list of RankedDocuments, as rerank gives them, got {type(ranked).__name__}")
    documents = list(ranked)
    for i, document in enumerate(documents):
        if not isinstance(document, RankedDocument):
            raise TypeError(f"ranked[{i}] must be a RankedDocument, as rerank gives them, got {type(document).__name__}")
    return documents


def _check_names(strategy: str, order: str, oversize: str) -> None:
    for name, value, known in (
        ("strategy", strategy, STRATEGIES),
        ("order", order, ORDERS),
        ("oversize", oversize, ("cut", "drop")),
    ):
        if value not in known:
            raise ValueError(f"{name} must be one of {', '.join(known)}, got {value!r:.60}")
