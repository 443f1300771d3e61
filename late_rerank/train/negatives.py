"""Hard negatives: documents that look like answers and aren't, found by the model that will be adapted."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from late_rerank.evaluate import retrieve_run
from late_rerank.evaluate.evaluation import longest_first
from late_rerank.observing.progress import progress_bar
from late_rerank.ranking.fusion import fused
from late_rerank.reranker import Reranker
from late_rerank.retrieve import Retriever
from late_rerank.stores.tiered import near_is_enough
from late_rerank.text.words import is_blank
from late_rerank.train.examples import Example
from late_rerank.train.recipe import Recipe
from late_rerank.types import Candidate

# Documents further down in the first stage aren't hard.
_DEPTH = 100
# With this weight of BM25, MaxSim ranks better than alone: +.004 nDCG@10 on queries of four collections (ranking/README.md).
_FIRST_STAGE_WEIGHT = 0.15
# A judgement adds this to the teacher's score, in mean MaxSim: about one standard deviation of a query's candidates.
_JUDGED = 0.04


@dataclass(frozen=True)
class Row:
    """One line of training data.

    Attributes:
        query: Text.
        positive: A document that answers it.
        negatives: Documents that don't, `Recipe.n_negatives` of them.
        scores: The teacher's scores of the positive and of each negative, in mean MaxSim; empty without distillation.
        answers: All texts that are known to answer the query, the positive too.
    """

    query: str
    positive: str
    negatives: tuple[str, ...]
    scores: tuple[float, ...] = ()
    answers: tuple[str, ...] = ()


def mine(
    reranker: Reranker, retriever: Retriever, examples: Mapping[str, Example], recipe: Recipe, *, progress: bool = False
) -> list[Row]:
    """Make rows: each pair once an epoch, each time with other negatives, drawn from those that the model ranks highest.

    Args:
        reranker: The model as it is before training.
        retriever: Over the corpus.
        examples: Queries with the documents that answer them.
        recipe: How many pairs a query, how many negatives, from where, for how many epochs; and whether a teacher scores them.
        progress: Show a bar on stderr, if that is a terminal.

    Returns:
        Rows in the examples' order, epoch by epoch. A query for which the corpus has too few other documents is left out.

        A mined document is no negative if it contains, or is contained in, one of the query's answers (a pair's text may be
        part of a document); nor if it is the query's own document; nor, where queries are sentences of the corpus, if it
        contains the sentence. Documents that were judged not to answer are always among those that negatives are drawn from.
    """
    queries = {name: example.query for name, example in examples.items()}  # names need not be ids of queries
    found = retrieve_run(retriever, queries, _DEPTH, ignore_identical_ids=False, progress=progress)
    with near_is_enough():
        reranker.index(longest_first(found), progress=progress)
    bar = progress_bar(examples.items(), unit=" queries", desc="Hard negatives", progress=progress)
    all_choices = [_choices(reranker, example, found[name], recipe) for name, example in bar]
    chance = random.Random(recipe.seed)
    return [
        row
        for _ in range(recipe.epochs)
        for choices in all_choices
        if len(choices.negatives) >= recipe.n_negatives
        for row in choices.drawn(recipe, chance)
    ]


class _Choices(NamedTuple):
    """The texts that a query's rows are drawn from, and the teacher's score of each."""

    example: Example
    positives: list[str]
    negatives: list[str]
    teacher: dict[str, float]

    def drawn(self, recipe: Recipe, chance: random.Random) -> Iterator[Row]:
        """Draw an epoch's rows."""
        positives = self.positives
        if len(positives) > recipe.documents_per_query:
            positives = chance.sample(positives, recipe.documents_per_query)
        for positive in positives:
            negatives = tuple(chance.sample(self.negatives, recipe.n_negatives))
            taught = [self.teacher[positive] + _JUDGED, *map(self.teacher.__getitem__, negatives)] if self.teacher else []
            answers = tuple(dict.fromkeys([*self.example.documents, *self.example.shown]))
            yield Row(self.example.query, positive, negatives, tuple(taught), answers)


def _choices(reranker: Reranker, example: Example, found: Sequence[Candidate], recipe: Recipe) -> _Choices:
    others = [candidate for candidate in found if not _is_own(candidate.text, example)]
    ranked = reranker.rerank(example.query, others, top_k=recipe.negatives_from)
    positives = list(example.shown or example.documents)
    negatives = list(dict.fromkeys([*example.not_relevant, *(document.text for document in ranked)]))
    texts = dict.fromkeys([*positives, *negatives, *(candidate.text for candidate in others)])
    teacher = _teacher(reranker, example.query, list(texts), found) if recipe.distil else {}
    return _Choices(example, positives, negatives, teacher)


def _teacher(reranker: Reranker, query: str, texts: Sequence[str], found: Sequence[Candidate]) -> dict[str, float]:
    """Score texts by mean MaxSim, adjusted by the first-stage score. Texts that it missed get its lowest score."""
    maxsim = reranker.token_maxima(query, texts).mean(axis=1)
    known = {candidate.text: candidate.score for candidate in found if candidate.score is not None}
    last = min(known.values(), default=0.0)
    first_stage = np.array([known.get(text, last) for text in texts], dtype=np.float64)
    taught = maxsim.mean() + maxsim.std() * fused(maxsim, first_stage, _FIRST_STAGE_WEIGHT)
    return dict(zip(texts, taught.tolist(), strict=True))


def _is_own(text: str, example: Example) -> bool:
    if is_blank(text) or text in example.own or any(text in own or own in text for own in example.documents):
        return True
    return bool(example.shown) and example.query in text
