"""Checks of training data, made before hours are spent on it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from late_rerank.train.examples import Example, words_of
from late_rerank.train.negatives import Row
from late_rerank.warn import warn_caller

FEWEST_PAIRS = 32


def checked_examples(examples: Mapping[str, Example], held_out: Iterable[str] = ()) -> dict[str, Example]:
    """Choose the examples that can be trained on. Warn of examples that are left out, and of examples that look wrong.

    Args:
        examples: As given.
        held_out: Queries that the result will be measured on; examples of the same words are left out.

    Raises:
        ValueError: If too few pairs are left, or most examples are also measured on.
    """
    kept = _without_contradictions(_without_leaks(examples, held_out))
    n_pairs = sum(len(example.documents) for example in kept.values())
    if n_pairs < FEWEST_PAIRS:
        raise ValueError(
            f"got {n_pairs} pairs of a query and a document, beside what is held out; at least {FEWEST_PAIRS} are needed, and "
            "hundreds before held-out queries gain. With a corpus alone, train without labels."
        )
    _warn_of_copies(kept, n_pairs)
    return kept


def checked_rows(rows: Sequence[Row], examples: Mapping[str, Example], n_negatives: int) -> Sequence[Row]:
    """Check that enough rows could be made; warn of queries that have none.

    Args:
        rows: As `mine` gives them.
        examples: Of which they were made.
        n_negatives: Of a row.

    Returns:
        The rows.

    Raises:
        ValueError: If there are too few.
    """
    trained_on = {row.query for row in rows}
    n_left_out = sum(example.query not in trained_on for example in examples.values())
    if len(rows) < FEWEST_PAIRS:
        raise ValueError(
            f"only {len(rows)} rows of training data: the corpus has {n_negatives} other documents for too few of the "
            f"{len(examples)} queries. Is it the corpus that these queries are asked of?"
        )
    if n_left_out:
        warn_caller(
            f"{n_left_out} of {len(examples)} queries are not trained on: the corpus has no {n_negatives} others to "
            "tell their documents from"
        )
    return rows


def _without_leaks(examples: Mapping[str, Example], held_out: Iterable[str]) -> dict[str, Example]:
    measured = {words_of(query) for query in held_out}
    leaked = [name for name, example in examples.items() if words_of(example.query) in measured]
    if not leaked:
        return dict(examples)
    told = f"{len(leaked)} of {len(examples)} training queries are also among the queries that the result is measured on"
    first = repr(examples[leaked[0]].query[:60])
    if len(leaked) * 2 > len(examples):
        raise ValueError(f"{told}, {first} first: the figures would mean nothing. Measure on another split.")
    warn_caller(f"{told}, {first} first: they are not trained on")
    left_out = set(leaked)
    return {name: example for name, example in examples.items() if name not in left_out}


def _without_contradictions(examples: Mapping[str, Example]) -> dict[str, Example]:
    both = [name for name, example in examples.items() if set(example.documents) & set(example.not_relevant)]
    if not both:
        return dict(examples)
    warn_caller(
        f"{len(both)} of {len(examples)} queries have a document that is judged relevant and not relevant, query {both[0]!r} "
        "first: such documents are left out"
    )
    contradicted = set(both)
    kept = {name: _undisputed(example) if name in contradicted else example for name, example in examples.items()}
    return {name: example for name, example in kept.items() if example.documents}


def _undisputed(example: Example) -> Example:
    disputed = set(example.documents) & set(example.not_relevant)
    return replace(
        example,
        documents=tuple(text for text in example.documents if text not in disputed),
        not_relevant=tuple(text for text in example.not_relevant if text not in disputed),
    )


def _warn_of_copies(examples: Mapping[str, Example], n_pairs: int) -> None:
    n_copied = sum(
        example.query in document for example in examples.values() if not example.shown for document in example.documents
    )
    if n_copied * 2 > n_pairs:
        warn_caller(
            f"in {n_copied} of {n_pairs} pairs the document holds the query word for word: the model would learn to find "
            "copies, not answers"
        )
