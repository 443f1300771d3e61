"""First stages as runs: query id -> candidates in order, from a retriever or from a file."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np

from late_rerank.corpus.columns import by_tabs, by_white_space, is_comment, text_lines, with_space_in_document
from late_rerank.evaluate.identical import Run, best, n_own
from late_rerank.observing.progress import progress_bar
from late_rerank.retrieve import Retriever
from late_rerank.types import Candidate

__all__ = ["Run", "read_run", "retrieve_run", "write_run"]

_TSV, _TREC = 4, 6  # columns
_Number = TypeVar("_Number", int, float)
_HEADINGS = ("query-id", "query_id", "qid", "query", "topic")


def retrieve_run(
    retriever: Retriever,
    queries: Mapping[str, str],
    k: int,
    *,
    ignore_identical_ids: bool = True,
    progress: bool = False,
) -> Run:
    """Retrieve candidates for each query.

    Args:
        retriever: A retriever whose candidates have ids.
        queries: Query id -> text.
        k: Candidates for each query.
        ignore_identical_ids: If a candidate has the query's id, ask for one more. That candidate is left out when the run is
            measured.
        progress: Show a bar on stderr, if stderr is a terminal.

    Returns:
        `k` candidates for each query. A candidate with the query's id doesn't count. There are fewer if the retriever has no
        more.
    """
    names = progress_bar(queries, unit=" queries", desc="First stage", progress=progress)
    if not ignore_identical_ids:
        return {name: retriever.retrieve(queries[name], k) for name in names}
    return {name: retrieve_others(retriever, name, queries[name], k) for name in names}


def retrieve_others(retriever: Retriever, name: str, query: str, k: int) -> list[Candidate]:
    """Retrieve the best `k` without the query's id, and any candidate with it that stands before the last of them."""
    asked = k
    while True:
        found = retriever.retrieve(query, asked)
        needed = k + n_own(name, found)
        if needed <= asked or len(found) < asked:
            return best(name, found, k)
        asked = needed


def read_run(
    path: Path,
    documents: Mapping[str, Candidate],
    k: int,
    *,
    ignore_identical_ids: bool = True,
    tell: Callable[[str], None] | None = None,
) -> Run:
    """Read a stored first stage, as trec_eval reads it.

    The scores decide the order, as 32-bit floats. In six columns, equal scores are ordered by id, the last id first. In four
    columns, which trec_eval doesn't know, equal scores are ordered by rank. If a query has a document twice, the better place
    counts.

    Args:
        path: A file with four or six columns. Four are query id, document id, rank and score, separated by tabs; a heading is
            ignored. Six are TREC's: query id, Q0, document id, rank, score, tag. Blank lines and comments are ignored. gzip is
            unpacked.
        documents: Document id -> document.
        k: Candidates for each query. A candidate with the query's id doesn't count. Later ranks are left out.
        ignore_identical_ids: Don't count a candidate with the query's id. It is left out when the run is measured.
        tell: Takes a sentence if ranks contradict scores, and one if a query has a document twice.

    Returns:
        Each query's candidates, best first.

    Raises:
        ValueError: If a line has other columns, a score isn't a number, or a document is unknown. The message names the line.
            Also if the file holds no candidates.

    Source: trec_eval's get_trec_results.c and form_res_rels.c; BEIR's save_runfile, which writes ids with spaces.
    """
    ranked: dict[str, list[_Row]] = {}
    for row in _rows(path, documents):
        ranked.setdefault(row.query, []).append(row)
    if not ranked:
        raise ValueError(f"{path} holds no candidates; expected lines of query id, document id, rank, score")
    ordered = {name: _ordered(rows) for name, rows in ranked.items()}
    for odd in (_contradictions(ordered), _repetitions(ordered)):
        if odd and tell is not None:
            tell(f"{path}: {odd}")
    run = {name: _distinct(rows) for name, rows in ordered.items()}
    return {name: best(name, found, k) if ignore_identical_ids else found[:k] for name, found in run.items()}


def write_run(path: Path, ranked: Mapping[str, Sequence[tuple[str, float]]], tag: str) -> None:
    """Write rankings as TREC's six columns, for trec_eval, ir_measures and other tools.

    Other tools sort by score, and equal scores by id. So a score that isn't below the score before it is written a little
    lower. Other tools refuse a repeated document. So it is written once, at its better place, as the measures count it.

    Args:
        path: The file. Its folder must be there.
        ranked: Query id -> document ids with scores, best first.
        tag: The name of the run.

    Raises:
        ValueError: If an id or the tag is empty or holds white space. White space separates the columns.
    """
    for name in {tag, *ranked, *(document for found in ranked.values() for document, _ in found)}:
        if len(name.split()) != 1 or name != name.strip():
            raise ValueError(
                f"{path} is not written: a TREC run has columns between white space, so it can't hold the name {name!r}. Use "
                "ids without white space in the corpus, the queries and the judgements"
            )
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for query, found in ranked.items():
            last = np.float32(np.inf)  # trec_eval reads scores as floats of 32 bits
            for rank, (document, score) in enumerate(once(found), start=1):
                last = min(np.float32(score), np.nextafter(last, np.float32(-np.inf)))
                file.write(f"{query} Q0 {document} {rank} {last:.9g} {tag}\n")


def once(found: Sequence[tuple[str, float]]) -> list[tuple[str, float]]:
    """Give each document of a ranking once, at its better place. Two documents may share an id, as pieces of one do."""
    distinct: dict[str, float] = {}
    for document, score in found:
        distinct.setdefault(document, score)
    return list(distinct.items())


class _Row(NamedTuple):
    """A line of a run. `rank` decides between equal scores; `told` is the rank in the line, where that is a number."""

    query: str
    candidate: Candidate
    rank: int
    told: int | None


def _rows(path: Path, documents: Mapping[str, Candidate]) -> Iterator[_Row]:
    first = True
    for number, line in enumerate(text_lines(path), start=1):
        if is_comment(line, (_TSV, _TREC)):
            continue
        heading = first and by_white_space(line)[0].casefold() in _HEADINGS
        first = False
        if not heading:
            yield _row(line, documents, f"{path}, line {number}")


def _row(line: str, documents: Mapping[str, Candidate], place: str) -> _Row:
    """Read a line in the first way that fits; otherwise report what is wrong with the first way."""
    wrong: list[str] = []
    for columns in _readings(line):
        found = _parse(columns, documents)
        if isinstance(found, _Row):
            return found
        wrong.append(found)
    wrong.append(f"expected query id, document id, rank, score (or TREC's six columns), got {by_white_space(line)}")
    raise ValueError(f"{place}: {wrong[0]}")


def _readings(line: str) -> Iterator[list[str]]:
    if "\t" in line and len(tabs := by_tabs(line)) in (_TSV, _TREC):
        yield tabs
    words = by_white_space(line)
    if len(words) in (_TSV, _TREC):
        yield words
    if len(words) > _TREC:
        yield with_space_in_document(line)
        yield words[:_TREC]  # a tag of several words: trec_eval ignores all but the first


def _parse(columns: list[str], documents: Mapping[str, Candidate]) -> _Row | str:
    """Give a row, or the reason why the columns are none."""
    if trec := len(columns) == _TREC:
        query_id, _, document_id, rank, score, _ = columns
    else:
        query_id, document_id, rank, score = columns
    if document_id not in documents:
        return f"document {document_id!r} is not in the corpus"
    value, told = _number(float, score), _number(int, rank)
    if value is None or math.isnan(value) or (told is None and not trec):
        return f"rank must be a whole number and score a number, got {rank!r} and {score!r}"
    document = documents[document_id]
    candidate = Candidate(document.text, document.id, value, document.metadata)
    return _Row(query_id, candidate, 0 if trec or told is None else told, told)  # trec_eval doesn't read ranks


def _number(kind: Callable[[str], _Number], text: str) -> _Number | None:
    try:
        return kind(text)
    except ValueError:
        return None


def _ordered(rows: Sequence[_Row]) -> list[_Row]:
    """Order rows as trec_eval would: by score, then by id byte by byte, the last first. In four columns ranks come between."""
    scores = _as_read([row.candidate.score or 0.0 for row in rows])
    ids = [str(row.candidate.id).encode("utf-8", "surrogateescape") for row in rows]
    order = sorted(range(len(rows)), key=lambda i: ids[i], reverse=True)
    return [rows[i] for i in sorted(order, key=lambda i: (-scores[i], rows[i].rank))]


def _as_read(scores: Sequence[float]) -> list[float]:
    with np.errstate(over="ignore"):  # a number too large for 32 bits is infinite, as in trec_eval
        found: list[float] = np.array(scores, dtype=np.float64).astype(np.float32).tolist()
    return found


def _distinct(rows: Sequence[_Row]) -> list[Candidate]:
    found: dict[str, Candidate] = {}
    for row in rows:
        found.setdefault(str(row.candidate.id), row.candidate)
    return list(found.values())


def _repetitions(ordered: Mapping[str, Sequence[_Row]]) -> str:
    seen: set[tuple[str, str]] = set()
    repeated = []
    for name, rows in ordered.items():
        for row in rows:
            pair = (name, str(row.candidate.id))
            if pair in seen:
                repeated.append(pair)
            seen.add(pair)
    if not repeated:
        return ""
    query, document = repeated[0]
    return (
        f"{len(repeated)} lines name a document that their query has already, {document!r} of query {query!r} first: each "
        "counts once, at its better place"
    )


def _contradictions(ordered: Mapping[str, Sequence[_Row]]) -> str:
    wrong = [name for name, rows in ordered.items() if _contradicts(rows)]
    if not wrong:
        return ""
    return (
        f"ranks contradict scores for {len(wrong)} of {len(ordered)} queries, {wrong[0]!r} first: the scores decide, as in "
        "trec_eval"
    )


def _contradicts(rows: Sequence[_Row]) -> bool:
    scores = _as_read([row.candidate.score or 0.0 for row in rows])
    told = [row.told for row in rows]
    return any(
        before is not None and after is not None and before > after and scores[i] > scores[i + 1]
        for i, (before, after) in enumerate(pairwise(told))
    )
