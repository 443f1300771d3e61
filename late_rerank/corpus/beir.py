"""BEIR folders: documents (JSON Lines like any other), queries, judgements."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from late_rerank.corpus.json_lines import read_json_lines
from late_rerank.types import Candidate


class Collection(NamedTuple):
    """A BEIR folder with the judgements of one split.

    Attributes:
        documents: The corpus.
        queries: Query id -> text.
        qrels: Query id -> document id -> judgement.
    """

    documents: list[Candidate]
    queries: dict[str, str]
    qrels: dict[str, dict[str, int]]


def read_collection(folder: Path, split: str) -> Collection:
    """All of a BEIR folder that a measurement needs.

    Raises:
        FileNotFoundError: The folder has no queries.jsonl, or no such split.
        ValueError: It is no BEIR folder, holds no documents, or a line is damaged; names it.
    """
    path = folder / "corpus.jsonl"
    if not path.is_file():
        raise ValueError(f"{folder} is no BEIR folder: it has no corpus.jsonl")
    queries, qrels = read_queries(folder), read_qrels(folder, split)  # first: a wrong split shows at once
    documents = read_json_lines(path)
    if not documents:
        raise ValueError(f"{path} holds no documents")
    return Collection(documents, queries, qrels)


def read_queries(folder: Path) -> dict[str, str]:
    """Query id -> text, in the file's order.

    Raises:
        FileNotFoundError: The folder has no queries.jsonl.
        ValueError: A line is damaged, or has no id; names it.
    """
    path = folder / "queries.jsonl"
    if not path.is_file():
        raise FileNotFoundError(f"{folder} is no BEIR folder: it has no queries.jsonl")
    queries = {}
    for query in read_json_lines(path):
        if not query.text.strip():
            raise ValueError(f"{path}: the query {query.id!r} is blank")
        if query.id is None:
            raise ValueError(f'{path}: the query {query.text!r:.60} has no "_id"')
        queries[query.id] = query.text
    return queries


def splits_of(folder: Path) -> list[str]:
    """The names of a BEIR folder's judgements: "dev", "test", "train"."""
    return sorted(file.stem for file in (folder / "qrels").glob("*.tsv"))


def read_qrels(folder: Path, split: str) -> dict[str, dict[str, int]]:
    """Query id -> document id -> judgement, from qrels/SPLIT.tsv.

    Raises:
        FileNotFoundError: The folder has no such split; names those that it has.
        ValueError: A line is not query id, document id and a whole number; names it.
    """
    path = folder / "qrels" / f"{split}.tsv"
    if not path.is_file():
        raise FileNotFoundError(f"{folder} has no qrels/{split}.tsv; its splits: {', '.join(splits_of(folder)) or 'none'}")
    qrels: dict[str, dict[str, int]] = {}
    for number, line in enumerate(_lines(path), start=1):
        fields = line.split("\t")
        if not line.strip() or (number == 1 and fields[-1].strip() == "score"):
            continue
        try:
            query_id, document_id, judgement = fields
            qrels.setdefault(query_id, {})[document_id] = int(judgement)
        except ValueError as error:
            raise ValueError(f"{path}, line {number} must be query-id, corpus-id, score: {line!r:.80}") from error
    return qrels


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 at byte {error.start}") from error
