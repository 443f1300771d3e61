"""Hard negatives: documents that look like answers and aren't, found by the model that is to be adapted."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass

from tqdm import tqdm

from late_rerank.evaluate import retrieve_run
from late_rerank.evaluate.evaluation import longest_first
from late_rerank.reranker import Reranker
from late_rerank.retrieve import Retriever
from late_rerank.train.examples import Example
from late_rerank.train.recipe import Recipe

# Beyond this depth of the first stage nothing is hard.
_DEPTH = 100


@dataclass(frozen=True)
class Row:
    """One line of training data.

    Attributes:
        query: Text.
        positive: A document that answers it.
        negatives: Documents that don't, `Recipe.n_negatives` of them.
    """

    query: str
    positive: str
    negatives: tuple[str, ...]


def mine(
    reranker: Reranker, retriever: Retriever, examples: Mapping[str, Example], recipe: Recipe, *, progress: bool = False
) -> list[Row]:
    """Each pair once an epoch, each time with other negatives: those that the model ranks highest among the first stage's.

    Args:
        reranker: The model as it is before training.
        retriever: Over the corpus.
        examples: What is to be learnt.
        recipe: How many negatives, from where, for how many epochs.
        progress: Show a bar on stderr, if that is a terminal.

    Returns:
        In the examples' order, epoch by epoch; a query for which the corpus has too few other documents is left out. What
        holds one of a query's documents, or stands in one, is none of its negatives: a pair's text may be part of the corpus's.
    """
    chance = random.Random(recipe.seed)
    found = retrieve_run(retriever, {name: example.query for name, example in examples.items()}, _DEPTH, progress=progress)
    reranker.index(longest_first(found), progress=progress)
    hard: dict[str, list[str]] = {}
    for name in tqdm(examples, unit=" queries", desc="Hard negatives", disable=None if progress else True):
        example = examples[name]
        others = [candidate for candidate in found[name] if not _is_own(candidate.text, example)]
        ranked = reranker.rerank(example.query, others, top_k=recipe.negatives_from)
        hard[name] = list(dict.fromkeys([*example.not_relevant, *(document.text for document in ranked)]))
    return [
        Row(example.query, positive, tuple(chance.sample(hard[name], recipe.n_negatives)))
        for _ in range(recipe.epochs)
        for name, example in examples.items()
        if len(hard[name]) >= recipe.n_negatives
        for positive in (example.shown or example.documents)
    ]


def _is_own(text: str, example: Example) -> bool:
    return not text.strip() or any(text in own or own in text for own in example.documents)
