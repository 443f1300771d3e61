"""A BEIR folder's development queries, to measure query encoders on."""

from __future__ import annotations

import random
from pathlib import Path

from late_rerank.corpus import read_json_lines, read_judged, splits_of
from late_rerank.retrieve import BM25Retriever
from late_rerank.train.distil.measuring import Development
from late_rerank.train.held_out import HeldOut
from late_rerank.train.training_set import answers_own

_SPLIT = "dev"


def has_development(folder: Path) -> bool:
    """Tell whether a folder has judgements of development queries."""
    return _SPLIT in splits_of(folder)


def development_in(folder: Path, n_queries: int, encoding: str | None = None) -> Development:
    """Read the development queries of a BEIR folder, with BM25 as the first stage over its corpus.

    Args:
        folder: The folder.
        n_queries: At most so many, the same ones each time.
        encoding: Of files that aren't UTF-8, as CorpusStream takes it.

    Raises:
        FileNotFoundError: If the folder has no queries.jsonl, or no such split.
        ValueError: If it is no BEIR folder, or a line is damaged.
    """
    queries, qrels = read_judged(folder, _SPLIT, encoding)  # first: a wrong split shows at once
    documents = read_json_lines(folder / "corpus.jsonl", encoding)
    names = sorted(name for name, judged in qrels.items() if judged)
    drawn = random.Random(0).sample(names, min(n_queries, len(names)))
    held_out = HeldOut(
        {name: queries[name] for name in drawn},
        {name: qrels[name] for name in drawn},
        f"{folder.resolve().name} {_SPLIT}",
        ignore_identical_ids=not answers_own(qrels),
    )
    return Development(BM25Retriever(documents), held_out)
