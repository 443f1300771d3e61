"""Ranked documents -> the context: what goes into a budget of tokens, chosen by what it covers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from late_rerank.checks import check_top_k
from late_rerank.context.counting import CountTokens, counter
from late_rerank.context.layout import ORDERS, SEPARATOR, Order, Passage, block, merged, ordered, passage_of, text_of
from late_rerank.context.result import Context, ContextPart, Coverage, Dropped
from late_rerank.context.selection import ByMarginalRelevance, ByRelevance, Room, Strategy, select, select_by_coverage
from late_rerank.context.sentences import cut_to
from late_rerank.context.twins import Twins
from late_rerank.reranker import Reranker
from late_rerank.types import F32, RankedDocument

StrategyName = Literal["coverage", "relevance", "mmr"]
STRATEGIES = ("coverage", "relevance", "mmr")
Oversize = Literal["cut", "drop"]

# How much what a document matches by itself counts beside what it adds. SciFact, BM25's top 50, a budget of five documents'
# length, 100 questions each: single ones with a relevant document in the context .81 (.80 by score alone), questions of two
# parts with one for both .44 (.24 by score alone).
_OWN_SHARE = 0.3
# Of fewer candidates the median isn't what any document matches.
_MANY = 20
_DIVERSITY = 0.3


def pack_context(
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
) -> Context:
    """Choose what goes before the LLM, within a budget of tokens.

    Documents that say the same as one that was taken are left out: the same text but for white space, or by their token
    vectors. Neighbouring pieces of one file become one part.

    Args:
        query: Not blank.
        ranked: As `Reranker.rerank` or `Searcher.search` gave them; never changed.
        reranker: The one that ranked them: it knows their token vectors.
        budget_tokens: Of the whole text, numbers and separators included; 0 or more.
        top_k: At most so many documents, at least 1; None for as many as fit.
        strategy: "coverage" takes what adds most to the best match of each query token, for its length; "relevance" the best
            ranked that still fits; "mmr" trades relevance against likeness to what was taken.
        order: How the parts are read: "relevance", best first; "edges", the best first and last; "source", as in their files.
        count_tokens: The reader's tokenizer (Hugging Face, tiktoken), or a function from a text to its number of tokens; None
            for an estimate.
        oversize: Where no document fits whole: "cut" the best ranked at a sentence, with a mark, or "drop" all.

    Returns:
        The context, and what was left out, with reasons; empty for no documents or a budget of 0.

    Raises:
        ValueError: The query is blank, the budget is below 0, `top_k` below 1, or a name isn't known.
        TypeError: `ranked` holds something else than RankedDocuments, or `count_tokens` can't count.
    """
    _check(ranked, budget_tokens, strategy, order, oversize)
    check_top_k(top_k)
    count = counter(count_tokens)
    documents = [document for document in ranked if document.score is not None and document.text.strip()]
    reasons = {id(document): "it has no text, or was not scored" for document in ranked}
    maxima = reranker.token_maxima(query, [document.text for document in documents])
    chosen, why_not = _chosen(documents, maxima, reranker, count, Room(budget_tokens, top_k), strategy)
    reasons |= {id(documents[i]): reason for i, reason in why_not.items()}
    passages = [passage_of(documents[i], documents[i].text) for i in chosen]
    if not passages and oversize == "cut":
        passages = _cut(documents, count, budget_tokens)
    passages = _fitting(passages, order, count, budget_tokens)
    matches = _matches(passages, documents, maxima)
    text = text_of(passages)
    inside = {id(document) for passage in passages for document in (passage.document, *passage.merged)}
    return Context(
        text=text,
        parts=_parts(passages, matches, count),
        n_tokens=count(text) if text else 0,
        dropped=[Dropped(document, reasons[id(document)]) for document in ranked if id(document) not in inside],
        coverage=Coverage(matches.max(axis=0, initial=0), _names(reranker, query, maxima.shape[1])),
        is_estimate=count_tokens is None,
    )


def _chosen(
    documents: Sequence[RankedDocument],
    maxima: F32,
    reranker: Reranker,
    count: CountTokens,
    room: Room,
    strategy: StrategyName,
) -> tuple[list[int], dict[int, str]]:
    """Positions in the order in which they were taken, and reasons for all others."""
    texts = [document.text for document in documents]
    widest = len(documents)  # a number has no more digits than this
    costs = np.array([max(count(block(widest, text) + SEPARATOR), 1) for text in texts], dtype=np.int64)
    twin_of = Twins(texts, maxima, reranker).of
    if strategy == "coverage":
        matches = _contrast(maxima)
        taken, same = select_by_coverage(matches, _OWN_SHARE * matches.sum(axis=1), costs, room, twin_of)
    else:
        taken, same = select(_strategy(strategy, texts, maxima, reranker), costs, room, twin_of)
    reasons = {
        i: (
            f"it says the same as rank {documents[same[i]].rank}"
            if i in same
            else f"it is larger ({costs[i]} tokens) than the budget"
            if costs[i] > room.budget
            else f"{room.top_k} others were taken"
            if len(taken) == room.top_k
            else "no room was left"
        )
        for i in range(len(documents))
    }
    return taken, reasons


def _contrast(maxima: F32) -> F32:
    """How much better than most candidates each document matches each query token, squared.

    What all of them match says nothing about any; a match that stands out counts more than many that hardly do.
    """
    if not len(maxima):
        return maxima
    usual = np.median(maxima, axis=0) * min(1, len(maxima) / _MANY)
    contrast: F32 = np.maximum(maxima - usual, 0).astype(np.float32) ** 2
    return contrast


def _strategy(name: StrategyName, texts: Sequence[str], maxima: F32, reranker: Reranker) -> Strategy:
    if name == "relevance":
        return ByRelevance()
    return ByMarginalRelevance(maxima.mean(axis=1), lambda document: reranker.similarity(texts[document], texts), _DIVERSITY)


def _cut(documents: Sequence[RankedDocument], count: CountTokens, budget: int) -> list[Passage]:
    for document in documents:
        text = cut_to(document.text, lambda shorter: count(block(1, shorter)) <= budget)
        if text is not None:
            return [passage_of(document, text)]
    return []


def _fitting(passages: list[Passage], order: Order, count: CountTokens, budget: int) -> list[Passage]:
    """In reading order; without the last taken where tokenizers count more for the whole than for its parts."""
    while passages:
        laid_out = ordered(merged(passages), order)
        if count(text_of(laid_out)) <= budget:
            return laid_out
        passages = passages[:-1]
    return []


def _matches(passages: Sequence[Passage], documents: Sequence[RankedDocument], maxima: F32) -> F32:
    """(n_passages, n_query_tokens) float32, the best match of each query token in each passage."""
    rows = {id(document): i for i, document in enumerate(documents)}
    best = [maxima[[rows[id(d)] for d in (passage.document, *passage.merged)]].max(axis=0) for passage in passages]
    return np.array(best, dtype=np.float32).reshape(len(passages), maxima.shape[1])


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
        )
        for number, passage in enumerate(passages, start=1)
    ]


def _names(reranker: Reranker, query: str, n_query_tokens: int) -> tuple[str, ...] | None:
    """The query's tokens, where the encoder can name them."""
    tokens = getattr(reranker.encoder, "tokens", None)
    named = [token for token, _, _ in tokens(query, "query")] if tokens is not None else []
    return tuple(named) if len(named) == n_query_tokens else None


def _check(ranked: Sequence[RankedDocument], budget: int, strategy: str, order: str, oversize: str) -> None:
    if isinstance(budget, bool) or not isinstance(budget, int):
        raise TypeError(f"budget_tokens must be an int, got {budget!r:.60}")
    if budget < 0:
        raise ValueError(f"budget_tokens must be 0 or more, got {budget}")
    for name, value, known in (
        ("strategy", strategy, STRATEGIES),
        ("order", order, ORDERS),
        ("oversize", oversize, ("cut", "drop")),
    ):
        if value not in known:
            raise ValueError(f"{name} must be one of {', '.join(known)}, got {value!r:.60}")
    for i, document in enumerate(ranked):
        if not isinstance(document, RankedDocument):
            raise TypeError(f"ranked[{i}] must be a RankedDocument, as rerank gives them, got {type(document).__name__}")
