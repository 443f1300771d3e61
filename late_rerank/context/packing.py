"""Ranked documents -> the context: what goes into a budget of tokens, chosen by what it covers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from late_rerank.arguments.checks import check_budget, check_top_k
from late_rerank.context.choosing import STRATEGIES, Choice, StrategyName
from late_rerank.context.counting import CountTokens, counter
from late_rerank.context.layout import ORDERS, SEPARATOR, Order, Passage, block, merged, ordered, text_of
from late_rerank.context.neighbours import with_neighbours
from late_rerank.context.offers import Cost, Offer, grown, shrunk
from late_rerank.context.result import Context, ContextPart, Coverage, Dropped
from late_rerank.context.selection import Room
from late_rerank.reranker import Reranker
from late_rerank.text.words import is_blank
from late_rerank.types import F32, Candidate, RankedDocument

Oversize = Literal["cut", "drop"]

# Tokens of the shortest part there is: "[1] a".
_SHORTEST_PART = 4


def pack_context(  # noqa: PLR0913 - one call, and every name says what it does
    query: str,
    ranked: Sequence[RankedDocument],
    *,
    reranker: Reranker,
    budget_tokens: int,
    top_k: int | None = None,
    strategy: StrategyName = "coverage",
    order: Order = "relevance",
    count_tokens: Any = None,
    oversize: Oversize = "cut",
    compress: bool = False,
    neighbours: Iterable[str | Candidate] | None = None,
) -> Context:
    """Choose what goes before the LLM, within a budget of tokens.

    A document is left out if another that was taken says the same: the same text but for case, white space, typography and
    spelling, or a longer text of which it is a piece. No other document is left out while there is room. Neighbouring pieces of
    one file become one part, if `start` and `end` in their metadata count the characters of their texts.

    Args:
        query: Not blank.
        ranked: As `Reranker.rerank` or `Searcher.search` gave them; never changed.
        reranker: The one that ranked them: it knows their token vectors.
        budget_tokens: Of the whole text, numbers and separators included; 0 or more.
        top_k: At most so many documents, at least 1; None for as many as fit.
        strategy: "coverage" takes what adds most to the best match of each query token, for its length; "relevance" the best
            ranked that still fits; "mmr" trades relevance against likeness to what was taken.
        order: How the parts are read: "relevance", best first; "edges", the best first and last; "source", as in their files.
        oversize: Where no document fits whole: "cut" the best ranked at a sentence, with a mark, or "drop" all.
        count_tokens: The reader's tokenizer (Hugging Face, tiktoken), or a function from a text to its number of tokens; None
            for an estimate.
        compress: Where no further document fits whole, take some by the sentences that carry nearly all that they match, with a
            mark where others are left out. Needs an encoder that can tell its tokens' places.
        neighbours: Where to look for the pieces before and after those that were taken, in their files: the retriever's
            documents, most often. They join them as far as there is room; those that the store doesn't hold are encoded.

    Returns:
        The context, and what was left out, with reasons; empty for no documents or a budget of 0.

    Raises:
        ValueError: The query is blank, the budget is below 0, `top_k` below 1, or a name isn't known.
        IncompatibleError: With `compress`, the encoder can't tell its tokens' places, or pools them.
        TypeError: `ranked` holds something else than RankedDocuments, or `count_tokens` can't count.
    """
    ranked = _checked(ranked, reranker)
    budget_tokens = _check(budget_tokens, strategy, order, oversize)
    check_top_k(top_k)
    count = counter(count_tokens)
    documents = [document for document in ranked if document.score is not None and not is_blank(document.text)]
    maxima = reranker.token_maxima(query, [document.text for document in documents])
    # No more parts than that can be numbered in the budget.
    cost = Cost(count, max(min(len(documents), budget_tokens // _SHORTEST_PART), 1))
    choice = Choice([Offer(*each) for each in zip(documents, maxima, strict=True)], maxima, strategy, reranker)
    choice.take(Room(budget_tokens + count(SEPARATOR), top_k), cost)  # after the last part there is none
    if compress:
        choice.take_shortened(query, cost)
    taken, left = grown([choice.offered[i] for i in choice.taken], cost, choice.left)
    passages = [offer.passage() for offer in taken]
    if neighbours is not None:
        passages = with_neighbours(passages, ranked, neighbours, _Space(query, reranker, count, left).matches_if_room)
    if not passages:
        alone = shrunk(
            choice.offered, query, reranker, lambda text: count(block(1, text)) <= budget_tokens, cut=oversize == "cut"
        )
        passages = [] if alone is None else [alone]
    passages = _fitting(passages, ranked, order, lambda text: count(text) <= budget_tokens)
    reasons = {id(document): "it has no text, or was not scored" for document in ranked}
    reasons |= {id(document): choice.why_not(i) for i, document in enumerate(documents)}
    inside = {id(document) for passage in passages for document in (passage.document, *passage.merged)}
    dropped = [Dropped(document, reasons[id(document)]) for document in ranked if id(document) not in inside]
    matches = np.array([passage.matches for passage in passages], dtype=np.float32).reshape(len(passages), maxima.shape[1])
    coverage = Coverage(matches.max(axis=0, initial=0), _names(reranker, query, maxima.shape[1]))
    text = text_of(passages)
    n_tokens = count(text) if text else 0
    return Context(text, _parts(passages, matches, count), n_tokens, dropped, coverage, is_estimate=count_tokens is None)


@dataclass
class _Space:
    """What is left of the budget, while neighbours ask for it."""

    query: str
    reranker: Reranker
    count: CountTokens
    left: int

    def matches_if_room(self, text: str) -> F32 | None:
        n_tokens = self.count(text)  # it joins a passage, so it needs no number and no separator
        if n_tokens > self.left:
            return None
        self.left -= n_tokens
        matches: F32 = self.reranker.token_maxima(self.query, [text])[0]
        return matches


def _fitting(
    passages: list[Passage], pieces: Sequence[RankedDocument], order: Order, fits: Callable[[str], bool]
) -> list[Passage]:
    """In reading order; without the last taken where tokenizers count more for the whole than for its parts."""
    while passages:
        laid_out = ordered(merged(passages, pieces), order)
        if fits(text_of(laid_out)):
            return laid_out
        passages = passages[:-1]
    return []


def _parts(passages: Sequence[Passage], matches: F32, count: CountTokens) -> list[ContextPart]:
    # A token of the query belongs to the best ranked of the parts that match it best.
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
            n_tokens=count(block(number, passage.text) + SEPARATOR),
            covers=tuple(np.flatnonzero(owner == number - 1).tolist()),
            merged=tuple(document.index for document in passage.merged),
            spans=None if passage.spans is None else tuple(passage.spans),
        )
        for number, passage in enumerate(passages, start=1)
    ]


def _names(reranker: Reranker, query: str, n_query_tokens: int) -> tuple[str, ...] | None:
    """The query's tokens, where the encoder can name them."""
    tokens = getattr(reranker.encoder, "tokens", None)
    named = [token for token, _, _ in tokens(query, "query")] if tokens is not None else []
    return tuple(named) if len(named) == n_query_tokens else None


def _checked(ranked: Any, reranker: Any) -> list[RankedDocument]:
    if not isinstance(reranker, Reranker):
        raise TypeError(f"reranker must be the Reranker that ranked them, got {type(reranker).__name__}: {reranker!r:.60}")
    if isinstance(ranked, (str, RankedDocument)) or not isinstance(ranked, Iterable):
        raise TypeError(f"ranked must be a list of RankedDocuments, as rerank gives them, got {type(ranked).__name__}")
    documents = list(ranked)
    for i, document in enumerate(documents):
        if not isinstance(document, RankedDocument):
            raise TypeError(f"ranked[{i}] must be a RankedDocument, as rerank gives them, got {type(document).__name__}")
    return documents


def _check(budget: Any, strategy: str, order: str, oversize: str) -> int:
    check_budget(budget)
    for name, value, known in (
        ("strategy", strategy, STRATEGIES),
        ("order", order, ORDERS),
        ("oversize", oversize, ("cut", "drop")),
    ):
        if value not in known:
            raise ValueError(f"{name} must be one of {', '.join(known)}, got {value!r:.60}")
    return int(budget)
