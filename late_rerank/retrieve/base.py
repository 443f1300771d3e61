"""The Retriever protocol, and what all retrievers here share: the top k of an array of scores, and documents on disk."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from late_rerank.arguments.numbers import whole_number
from late_rerank.errors import SavedRetrieverError
from late_rerank.types import Candidate

FORMAT_VERSION = 1


@runtime_checkable
class Retriever(Protocol):
    """A first stage. `late_rerank.testing.RetrieverTests` says what it must do."""

    def retrieve(self, query: str, k: int) -> list[Candidate]:
        """Give at most `k` candidates, best first, each with its score."""


def check_query(query: str, k: int) -> None:
    """Check the arguments of `retrieve`.

    Raises:
        TypeError: If the query is no str, or `k` is no int.
        ValueError: If `k` is below 1.
    """
    if not isinstance(query, str):
        raise TypeError(f"query must be a str, got {type(query).__name__}: {query!r:.60}")
    whole_number("k", k)


def best(documents: Sequence[Candidate], scores: NDArray[np.floating], k: int) -> list[Candidate]:
    """Give the `k` documents of highest score, with their scores; equal scores keep the documents' order."""
    k = min(k, len(documents))
    if k < len(scores):
        # All documents that reach the k-th score, so that ties at the cut keep their order too.
        kth = np.partition(scores, len(scores) - k)[len(scores) - k]
        chosen = np.flatnonzero(scores >= kth)
    else:
        chosen = np.arange(len(scores))
    order = chosen[np.argsort(-scores[chosen], kind="stable")][:k]
    return [replace(documents[i], score=float(scores[i])) for i in order]


@contextmanager
def saving(folder: Path) -> Iterator[Path]:
    """Give a new folder to write into. When all is written it replaces `folder`; until then the old one stays.

    Raises:
        FileExistsError: If `folder` holds something else than a saved retriever.
    """
    folder = folder.resolve()
    if folder.exists() and (not folder.is_dir() or (any(folder.iterdir()) and not (folder / "retriever.json").is_file())):
        raise FileExistsError(f"{folder} holds other files; save into a new or empty folder")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as beside:
        new, old = Path(beside, "new"), Path(beside, "old")
        new.mkdir()
        yield new
        if folder.exists():
            folder.rename(old)
        new.rename(folder)


def save_documents(folder: Path, documents: Sequence[Candidate], kind: str, settings: Mapping[str, Any]) -> None:
    """Write documents and settings into `folder`.

    Raises:
        TypeError: If a document's metadata is no JSON.
    """
    rows = [_row(document, i) for i, document in enumerate(documents)]
    (folder / "documents.jsonl").write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")
    header = {"format": FORMAT_VERSION, "kind": kind, "n_documents": len(rows), "settings": dict(settings)}
    (folder / "retriever.json").write_text(json.dumps(header, indent=1) + "\n", encoding="utf-8")


def load_documents(folder: Path, kind: str) -> tuple[list[Candidate], dict[str, Any]]:
    """Read the documents and settings that `save_documents` wrote.

    Raises:
        FileNotFoundError: If `folder` holds no saved retriever.
        SavedRetrieverError: If the saved retriever is of another kind or version, or damaged.
    """
    if not (folder / "retriever.json").is_file():
        raise FileNotFoundError(f"{folder} holds no saved retriever (no retriever.json)")
    try:
        header = json.loads((folder / "retriever.json").read_text(encoding="utf-8"))
        rows = [json.loads(line) for line in (folder / "documents.jsonl").read_text(encoding="utf-8").splitlines()]
        documents = [Candidate(row["text"], row["id"], None, row["metadata"]) for row in rows]
        found = {name: header[name] for name in ("format", "kind", "n_documents")}
        settings = dict(header["settings"])
    except (KeyError, TypeError, ValueError, OSError) as error:
        raise SavedRetrieverError(f"{folder} is damaged: {error!r}; build the retriever anew and save it") from error
    expected = {"format": FORMAT_VERSION, "kind": kind, "n_documents": len(documents)}
    if found != expected:
        raise SavedRetrieverError(f"{folder} was saved as {found}, expected {expected}; build the retriever anew and save it")
    return documents, settings


def _row(document: Candidate, index: int) -> str:
    try:
        return json.dumps({"id": document.id, "text": document.text, "metadata": dict(document.metadata)})
    except TypeError as error:
        raise TypeError(f"the metadata of document {index} can't be saved as JSON: {error}") from error
