"""A log of questions and the documents that were chosen for them -> queries and judgements."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

from late_rerank.corpus.lines import placed_lines
from late_rerank.text.words import is_blank


def read_choices(
    path: Path, ids: Collection[str], *, encoding: str | None = None
) -> tuple[dict[str, str], dict[str, dict[str, int]]]:
    """Read JSON Lines of {"query", "id"}: a question, and the id of the document that answered it, or was clicked or cited.

    Args:
        path: The log. Blank lines and other fields are ignored.
        ids: Of all documents.
        encoding: Of a log that isn't UTF-8, as CorpusStream takes it.

    Returns:
        Query id -> text, and query id -> document id -> 1. A question asked several times is one query. Queries stand in the
        order of their first lines.

    Raises:
        ValueError: If a line is damaged, its query is blank, or its document isn't there; names the line.
    """
    numbers: dict[str, str] = {}
    qrels: dict[str, dict[str, int]] = {}
    for place, line in placed_lines(path, encoding):
        query, document = _choice(line, place)
        if document not in ids:
            raise ValueError(f"{place}: document {document!r} is not in the corpus")
        name = numbers.setdefault(query, str(len(numbers) + 1))
        qrels.setdefault(name, {})[document] = 1
    return {name: query for query, name in numbers.items()}, qrels


def _choice(line: str, place: str) -> tuple[str, str]:
    try:
        held: Any = json.loads(line)
        query, document = held["query"].strip(), held["id"]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f'{place} must be JSON with "query" and "id": {line!r:.80}') from error
    if is_blank(query):
        raise ValueError(f"{place}: the query is blank")
    if isinstance(document, bool) or not isinstance(document, (str, int)):
        raise ValueError(f"{place}: id must be a document's, got {document!r:.60}")
    return query, str(document)
