"""A Jupyter notebook -> pieces of its cells, each with its place. Outputs are left out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from late_rerank.corpus.blobs import blobs
from late_rerank.corpus.split import split
from late_rerank.types import Candidate


def cell_documents(text: str, name: str) -> Iterator[Candidate]:
    """Split each cell's source: Markdown, code, and raw text.

    Args:
        text: The notebook's JSON.
        name: Its name in metadata and ids.

    Raises:
        ValueError: If it is no notebook.
    """
    for number, source in enumerate(_sources(text), start=1):
        for i, (piece, start, end) in enumerate(split(source, left_out=blobs(source))):
            cell = f"{name}#cell={number}"
            metadata = {"path": name, "cell": number, "start": start, "end": end}
            yield Candidate(piece, f"{cell}&start={start}" if i else cell, None, metadata)


def _sources(text: str) -> list[str]:
    try:
        notebook = json.loads(text)
        # Before version 4 of the format (2014) cells stood in worksheets, and code was called "input".
        sheets = notebook.get("worksheets") or [notebook]
        return [_source(cell) for sheet in sheets for cell in sheet["cells"]]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"no Jupyter notebook: {type(error).__name__}: {error}") from error


def _source(cell: dict[str, Any]) -> str:
    source = cell.get("source", cell.get("input", ""))
    return source if isinstance(source, str) else "".join(source)
