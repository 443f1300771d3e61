"""A corpus with judgements, with pairs, or alone -> what `late-rerank train` trains on, and what it holds out to measure on."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from late_rerank.corpus import read_judged
from late_rerank.train.examples import Example, judged_examples, paired_examples, unlabelled_examples
from late_rerank.train.held_out import HeldOut
from late_rerank.types import Candidate
from late_rerank.warn import warn_caller

Qrels = Mapping[str, Mapping[str, int]]

# Of judged queries every tenth is held out, where nothing else is.
_HELD_OUT = 10
_MOST_HELD_OUT = 500


@dataclass(frozen=True)
class TrainingSet:
    """Examples to train on, and queries that are measured on instead: the arguments of `adapt`.

    Attributes:
        examples: Name -> a query with the documents that answer it.
        held_out: Queries that no example asks; None to measure nothing.
        name: What the examples are, for the model's card.
    """

    examples: dict[str, Example]
    held_out: HeldOut | None
    name: str


def judged_set(
    folder: Path,
    documents: Sequence[Candidate],
    *,
    split: str = "train",
    held_out: HeldOut | None = None,
    n_queries: int | None = None,
    seed: int = 0,
    encoding: str | None = None,
) -> TrainingSet:
    """Make a training set of a BEIR folder's judgements.

    Args:
        folder: With queries.jsonl and qrels/SPLIT.tsv.
        documents: The folder's corpus.
        split: The judgements to train on.
        held_out: Queries to measure on, as `held_out_split` gives; None for a tenth of the split's, 500 at most.
        n_queries: Train on at most so many queries, drawn by chance; None for all.
        seed: Of that draw.
        encoding: Of files that aren't UTF-8, as CorpusStream takes it.

    Raises:
        FileNotFoundError: If the folder has no queries.jsonl, or no such split.
        ValueError: If a line is damaged, or no judged query has a text and a relevant document.
    """
    name = f"{folder.resolve().name} {split}"
    queries, qrels = read_judged(folder, split, encoding)
    examples = judged_examples(documents, queries, qrels)
    if held_out is None:
        held_out = _tenth(examples, queries, qrels, name, ignore_identical_ids=not answers_own(qrels))
        examples = _without(examples, held_out)
    return _set(examples, held_out, name, n_queries, seed)


def paired_set(
    pairs: Path,
    documents: Sequence[Candidate],
    *,
    corpus_name: str = "your documents",
    held_out: HeldOut | None = None,
    n_queries: int | None = None,
    seed: int = 0,
    encoding: str | None = None,
) -> TrainingSet:
    """Make a training set of a file of pairs.

    Args:
        pairs: JSON Lines, as `paired_examples` reads them.
        documents: The corpus.
        corpus_name: For the set's name.
        held_out: Queries to measure on, as `held_out_split` gives; None for a tenth of the pairs, 500 at most. Only pairs
            count whose documents stand in the corpus letter for letter, since the retriever can't find other texts.
        n_queries: Train on at most so many queries, drawn by chance; None for all.
        seed: Of that draw.
        encoding: Of files that aren't UTF-8, as CorpusStream takes it.

    Raises:
        ValueError: If a line is no pair; names the line.
    """
    name = f"{corpus_name}, {pairs.name}"
    examples = paired_examples(pairs, documents, encoding=encoding)
    if held_out is None:
        qrels = _pairs_in(documents, examples)
        if len(qrels) < len(examples):
            warn_caller(
                f"the documents of {len(examples) - len(qrels)} of {len(examples)} pairs don't stand in the corpus letter for "
                f"letter: measured is a tenth of the other {len(qrels)} alone; --eval-split measures on judgements"
            )
        queries = {each: example.query for each, example in examples.items()}
        held_out = _tenth(examples, queries, qrels, name, ignore_identical_ids=False)
        examples = _without(examples, held_out)
    return _set(examples, held_out, name, n_queries, seed)


def unlabelled_set(
    documents: Sequence[Candidate],
    *,
    corpus_name: str = "your documents",
    held_out: HeldOut | None = None,
    n_queries: int | None = None,
    seed: int = 0,
) -> TrainingSet:
    """Make a training set of a corpus alone: sentences ask for their documents.

    Args:
        documents: The corpus.
        corpus_name: For the set's name.
        held_out: Queries to measure on, as `held_out_split` gives; None to measure nothing.
        n_queries: At most so many; None for 2000.
        seed: Of all that is drawn by chance.

    Raises:
        ValueError: If no document has two sentences and enough words.
    """
    examples = unlabelled_examples(documents, n=n_queries or 2000, seed=seed)
    return TrainingSet(examples, held_out, f"{corpus_name}, without labels")


def held_out_split(folder: Path, split: str, encoding: str | None = None) -> HeldOut:
    """Read the queries of one split of a BEIR folder, to measure on.

    Candidates with their query's id are left out, unless the split judges one relevant: then it is an answer, not the query.

    Raises:
        FileNotFoundError: If the folder has no queries.jsonl, or no such split.
        ValueError: If a line is damaged, or a judged query has no text.
    """
    queries, qrels = read_judged(folder, split, encoding)
    asked = {name: queries[name] for name in qrels}
    return HeldOut(asked, qrels, f"{folder.resolve().name} {split}", ignore_identical_ids=not answers_own(qrels))


def _set(examples: dict[str, Example], held_out: HeldOut, name: str, n_queries: int | None, seed: int) -> TrainingSet:
    """Draw the examples that are trained on."""
    if n_queries is not None and n_queries < len(examples):
        examples = {each: examples[each] for each in random.Random(seed).sample(sorted(examples), n_queries)}
    return TrainingSet(examples, held_out if held_out.queries else None, name)


def _without(examples: Mapping[str, Example], held_out: HeldOut) -> dict[str, Example]:
    return {name: example for name, example in examples.items() if name not in held_out.queries}


def _tenth(
    examples: Mapping[str, Example], queries: Mapping[str, str], qrels: Qrels, name: str, *, ignore_identical_ids: bool
) -> HeldOut:
    """Hold out every tenth judged query, drawn by chance, 500 at most."""
    names = [each for each in sorted(examples) if each in qrels]
    random.Random(0).shuffle(names)  # the same queries whatever the seed: two trainings can be compared
    kept = names[::_HELD_OUT][:_MOST_HELD_OUT]
    return HeldOut(
        {each: queries[each] for each in kept},
        {each: qrels[each] for each in kept},
        f"{len(kept)} queries of {name}",
        ignore_identical_ids=ignore_identical_ids,
    )


def answers_own(qrels: Qrels) -> bool:
    """Tell whether a document with its query's id is an answer, as it is to training; else it is the query itself."""
    return any(judged.get(query, 0) > 0 for query, judged in qrels.items())


def _pairs_in(documents: Sequence[Candidate], examples: Mapping[str, Example]) -> dict[str, dict[str, int]]:
    """Give judgements of the pairs whose documents are all in the corpus, letter for letter."""
    ids = {document.text: str(document.id) for document in documents if document.id is not None}
    return {
        name: {ids[text]: 1 for text in example.documents}
        for name, example in examples.items()
        if all(text in ids for text in example.documents)
    }
