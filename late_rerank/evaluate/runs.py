"""First stages as runs: query id -> candidates in order, from a retriever or from a file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

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
