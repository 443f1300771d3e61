"""BEIR folders: documents (JSON Lines like any other), queries, judgements."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from late_rerank.corpus.columns import by_csv, by_tabs, by_white_space, is_comment, text_lines
from late_rerank.corpus.json_lines import read_json_lines
from late_rerank.text.words import is_blank
from late_rerank.types import Candidate

_WHOLE = re.compile(r"[+-]?[0-9]+(\.0*)?")  # pandas writes whole numbers as 1.0
# trec_eval reserves memory for every grade up to the largest: 2**31 takes 16 GB, 10**12 crashes it.
_LARGEST = 1_000_000
_HEADINGS = {"score", "relevance", "rel", "label", "judgement", "judgment", "grade", "relevancy"}

Qrels = dict[str, dict[str, int]]


class Collection(NamedTuple):
    """A BEIR folder with the judgements of one split.

    Attributes:
        documents: The corpus.
        queries: Query id -> text.
        qrels: Query id -> document id -> judgement.
    """

    documents: list[Candidate]
    queries: dict[str, str]
    qrels: Qrels


def read_collection(folder: Path, split: str) -> Collection:
    """Read the parts of a BEIR folder that a measurement needs.

    Raises:
        FileNotFoundError: If the folder has no queries.jsonl, or no such split.
        ValueError: If it is no BEIR folder, holds no documents, a line is damaged, or a judged query has no text; names it.
    """
    path = folder / "corpus.jsonl"
    if not path.is_file():
        raise ValueError(f"{folder} is no BEIR folder: it has no corpus.jsonl")
    queries, qrels = read_judged(folder, split)  # first: a wrong split shows at once
    documents = read_json_lines(path)
    if not documents:
        raise ValueError(f"{path} holds no documents")
    return Collection(documents, queries, qrels)


def read_judged(folder: Path, split: str, encoding: str | None = None) -> tuple[dict[str, str], Qrels]:
    """Read the queries, and the judgements of one split. All measurements read them here.

    Args:
        folder: A BEIR folder.
        split: The judgements' name.
        encoding: Of files that aren't UTF-8, as CorpusStream takes it.

    Returns:
        Query id -> text, for all queries; query id -> document id -> judgement.

    Raises:
        FileNotFoundError: If the folder has no queries.jsonl, or no such split.
        ValueError: If a line is damaged, or a judged query has no text; names it.
    """
    queries, qrels = read_queries(folder, encoding), read_qrels(folder, split, encoding)
    unknown = [name for name in qrels if name not in queries]
    if unknown:
        raise ValueError(
            f"{folder}: {len(unknown)} judged queries of qrels/{split}.tsv have no text in queries.jsonl, {unknown[0]!r} first"
            f"{_like(unknown[0], queries)}"
        )
    return queries, qrels


def absent_text(documents: Iterable[Candidate], qrels: Mapping[str, Mapping[str, int]], split: str) -> str | None:
    """Say which judged documents the corpus lacks; None if it lacks none. They count as not found, as in trec_eval."""
    there = {str(document.id) for document in documents if document.id is not None}
    judged = {document: None for found in qrels.values() for document in found}
    absent = [document for document in judged if document not in there]
    if not absent:
        return None
    return (
        f"{len(absent)} of {len(judged)} documents judged in qrels/{split}.tsv are not in the corpus, {absent[0]!r} first"
        f"{_like(absent[0], there)}: a relevant one counts as not found"
    )


def read_queries(folder: Path, encoding: str | None = None) -> dict[str, str]:
    """Read query id -> text, in the file's order.

    Raises:
        FileNotFoundError: If the folder has no queries.jsonl.
        ValueError: If a line is damaged, blank, has no id, or has an id of a query with another text; names it.
    """
    path = folder / "queries.jsonl"
    if not path.is_file():
        raise FileNotFoundError(f"{folder} is no BEIR folder: it has no queries.jsonl")
    queries: dict[str, str] = {}
    for query in read_json_lines(path, encoding):
        if is_blank(query.text):
            raise ValueError(f"{path}: the query {query.id!r} is blank")
        if query.id is None:
            raise ValueError(f'{path}: the query {query.text!r:.60} has no "_id"')
        if queries.setdefault(query.id, query.text) != query.text:
            raise ValueError(f"{path}: {query.id!r} is the id of two queries with different texts; give each its own")
    return queries


def splits_of(folder: Path) -> list[str]:
    """List the splits that a BEIR folder has judgements for: "dev", "test", "train"."""
    return sorted(file.stem for file in (folder / "qrels").glob("*.tsv"))


def read_qrels(folder: Path, split: str, encoding: str | None = None) -> Qrels:
    """Read query id -> document id -> judgement, from qrels/SPLIT.tsv.

    Lines are BEIR's (query id, document id, judgement between tabs, with or without a heading) or TREC's four columns (query
    id, an ignored column, document id, judgement). Blank lines and comments are ignored.

    Raises:
        FileNotFoundError: If the folder has no such split; names its splits.
        ValueError: If a line is neither, the judgement is no whole number, or a document has two different judgements; names
            the line.

    Source: trec_eval's get_qrels.c; BEIR's GenericDataLoader.
    """
    path = folder / "qrels" / f"{split}.tsv"
    if not path.is_file():
        raise FileNotFoundError(f"{folder} has no qrels/{split}.tsv; its splits: {', '.join(splits_of(folder)) or 'none'}")
    qrels: Qrels = {}
    width: int | None = None
    for number, line in enumerate(text_lines(path, encoding), start=1):
        if is_comment(line, (3, 4)):
            continue
        place = f"{path}, line {number}"
        if width is None and (width := _heading(line)):
            continue
        width = width or _width(line)
        _keep(qrels, _judgement(line, width, place), place)
    if not qrels:
        raise ValueError(f"{path} holds no judgements; expected lines of query-id, corpus-id, score")
    return qrels


def _heading(line: str) -> int | None:
    """Count the columns that a heading announces; None if the line is no heading."""
    columns = by_tabs(line) if "\t" in line else by_white_space(line)
    return len(columns) if len(columns) in (3, 4) and columns[-1].casefold() in _HEADINGS else None


def _width(line: str) -> int:
    return 3 if len(by_tabs(line)) == 3 else 4


def _judgement(line: str, width: int, place: str) -> tuple[str, str, int]:
    columns = _columns(line, width)
    if len(columns) != width or not _WHOLE.fullmatch(columns[-1]) or not columns[0] or not columns[-2]:
        raise ValueError(
            f"{place} must be query-id, corpus-id, score (a whole number) between tabs, or TREC's four columns: {line!r:.80}"
        )
    grade = int(columns[-1].partition(".")[0])
    if abs(grade) > _LARGEST:
        raise ValueError(f"{place}: the judgement must be at most {_LARGEST}, got {grade}")
    return columns[0], columns[-2], grade


def _columns(line: str, width: int) -> list[str]:
    columns = by_tabs(line)
    if width == 3:
        quoted = by_csv(line) if '"' in line else []
        return quoted if len(quoted) == width else columns
    return columns if len(columns) == width else by_white_space(line)


def _keep(qrels: Qrels, judgement: tuple[str, str, int], place: str) -> None:
    query, document, grade = judgement
    before = qrels.setdefault(query, {}).setdefault(document, grade)
    if before != grade:
        raise ValueError(
            f"{place}: {document!r} is judged {grade} for {query!r}, and {before} further up; keep one of the lines"
        )


def _like(name: str, names: Iterable[str]) -> str:
    """Point to an id that a reader would take for this one: it differs in case or Unicode form only."""
    found = next((other for other in names if _folded(other) == _folded(name)), None)
    return "" if found is None else f" (there is {found!r}, which is another id)"


def _folded(name: str) -> str:
    return unicodedata.normalize("NFKC", name).casefold().strip("\ufeff \t")
