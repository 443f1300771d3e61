"""What is wrong with training data, said before hours are spent on it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from late_rerank.train.examples import Example

FEWEST_PAIRS = 32
_WORD = re.compile(r"\w+")


def check_examples(examples: Mapping[str, Example], held_out: Iterable[str] = ()) -> list[str]:
    """Refuse what can't work, and say what looks wrong.

    Args:
        examples: What would be trained on.
        held_out: Queries that the result will be measured on.

    Returns:
        Warnings, each a sentence; empty where nothing looks wrong.

    Raises:
        ValueError: There are too few pairs; or queries of the evaluation are among those of the training.
    """
    n_pairs = sum(len(example.documents) for example in examples.values())
    if n_pairs < FEWEST_PAIRS:
        raise ValueError(
            f"got {n_pairs} pairs of a query and a document; at least {FEWEST_PAIRS} are needed, and hundreds before held-out "
            "queries gain. With a corpus alone, train without labels."
        )
    measured = {_words(query) for query in held_out}
    leaked = [name for name, example in examples.items() if _words(example.query) in measured]
    if leaked:
        raise ValueError(
            f"{len(leaked)} of {len(examples)} training queries are also among the queries that the result is measured on, "
            f"{examples[leaked[0]].query!r:.60} first: the figures would mean nothing. Take them out of one of the two."
        )
    return [*_contradictions(examples), *_copies(examples)]


def without_contradictions(example: Example) -> Example:
    """The example without documents that were judged relevant and not relevant."""
    both = set(example.documents) & set(example.not_relevant)
    kept = tuple(document for document in example.documents if document not in both)
    return Example(example.query, kept, example.not_relevant, example.shown) if both else example


def _contradictions(examples: Mapping[str, Example]) -> list[str]:
    both = [name for name, example in examples.items() if set(example.documents) & set(example.not_relevant)]
    by_words: dict[tuple[str, ...], str] = {}
    crossed = []
    for name, example in examples.items():
        other = by_words.setdefault(_words(example.query), name)
        if other != name and set(example.documents) & set(examples[other].not_relevant):
            crossed.append(name)
    found = [*both, *crossed]
    if not found:
        return []
    return [
        f"{len(found)} of {len(examples)} queries have a document that is judged relevant and not relevant, query {found[0]!r} "
        "first: such documents are left out"
    ]


def _copies(examples: Mapping[str, Example]) -> list[str]:
    n_copied = sum(
        example.query in document for example in examples.values() for document in example.documents if not example.shown
    )
    n_pairs = sum(len(example.documents) for example in examples.values())
    if n_copied * 2 <= n_pairs:
        return []
    return [
        f"in {n_copied} of {n_pairs} pairs the document holds the query word for word: the model would learn to find copies, "
        "not answers"
    ]


def _words(text: str) -> tuple[str, ...]:
    return tuple(_WORD.findall(text.casefold()))
