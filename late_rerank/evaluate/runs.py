"""First stages as runs: query id -> candidates in order, from a retriever or from a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from late_rerank.retrieve import Retriever
from late_rerank.types import Candidate

Run = dict[str, list[Candidate]]


def retrieve_run(retriever: Retriever, queries: Mapping[str, str], k: int, *, progress: bool = False) -> Run:
    """Ask the retriever each query.

    Args:
        retriever: Its candidates must have ids.
        queries: Query id -> text.
        k: Candidates a query.
        progress: Show a bar on stderr, if that is a terminal.
    """
    names = tqdm(queries, unit=" queries", desc="First stage", disable=None if progress else True)
    return {name: retriever.retrieve(queries[name], k) for name in names}


def read_run(path: Path, documents: Mapping[str, Candidate], k: int) -> Run:
    """A stored first stage.

    Args:
        path: Lines of query id, document id, rank, score, separated by tabs (a header is passed over), or TREC's six columns
            (query id, Q0, document id, rank, score, tag).
        documents: Document id -> document.
        k: Candidates a query; ranks beyond are left out.

    Returns:
        Each query's candidates by rank.

    Raises:
        ValueError: A line has other columns, or names a document that isn't there; names the line.
    """
    ranked: dict[str, list[tuple[int, Candidate]]] = {}
    with path.open(encoding="utf-8", errors="replace") as file:  # ids that aren't UTF-8 won't be found, and are then named
        for number, line in enumerate(file, start=1):
            fields = line.split()
            if not fields or (number == 1 and fields[0] in ("query-id", "query_id", "qid")):
                continue
            query_id, rank, candidate = _parse(fields, documents, f"{path}, line {number}")
            ranked.setdefault(query_id, []).append((rank, candidate))
    return {
        query_id: [candidate for _, candidate in sorted(rows, key=lambda row: row[0])[:k]] for query_id, rows in ranked.items()
    }


def write_run(path: Path, ranked: Mapping[str, Sequence[tuple[str, float]]], tag: str) -> None:
    """Write rankings as TREC's six columns, for trec_eval, ir_measures and other tools.

    They sort by score, and equal scores by id; so a score that isn't below the one before it is written a little lower.

    Args:
        path: The file; its folder must be there.
        ranked: Query id -> document ids with scores, best first.
        tag: What made the run.

    Raises:
        ValueError: An id or the tag holds white space or is empty, which the format can't tell from its columns.
    """
    for name in {tag, *ranked, *(document for found in ranked.values() for document, _ in found)}:
        if len(name.split()) != 1 or name != name.strip():
            raise ValueError(f"a TREC run has columns between white space, so it can't hold the name {name!r}")
    with path.open("w", encoding="utf-8") as file:
        for query, found in ranked.items():
            last = np.float32(np.inf)  # trec_eval reads scores as floats of 32 bits
            for rank, (document, score) in enumerate(found, start=1):
                last = min(np.float32(score), np.nextafter(last, np.float32(-np.inf)))
                file.write(f"{query} Q0 {document} {rank} {last:.9g} {tag}\n")


def _parse(fields: list[str], documents: Mapping[str, Candidate], place: str) -> tuple[str, int, Candidate]:
    if len(fields) == 6:
        fields = [fields[0], *fields[2:5]]
    if len(fields) != 4:
        raise ValueError(f"{place}: expected query id, document id, rank, score (or TREC's six columns), got {fields}")
    query_id, document_id, rank, score = fields
    if document_id not in documents:
        raise ValueError(f"{place}: document {document_id!r} is not in the corpus")
    document = documents[document_id]
    try:
        return query_id, int(rank), Candidate(document.text, document.id, float(score), document.metadata)
    except ValueError as error:
        raise ValueError(f"{place}: rank must be a whole number and score a number, got {rank!r} and {score!r}") from error
