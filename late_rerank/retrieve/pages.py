"""A first stage over pages, of which some have no text: it finds by words, and leaves those to the reranker."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from late_rerank.arguments.given import as_candidates
from late_rerank.pictures import Picture
from late_rerank.retrieve.base import Retriever, check_query
from late_rerank.text.words import is_blank
from late_rerank.types import Candidate


class PagesRetriever:
    """Finds pages by their text, and gives all pages without text besides: only a model that sees them can judge these.

    Up to `k` pages in all are candidates whatever their words are. Scans may make it more than `k` candidates.

    Args:
        retriever: The first stage over the pages' text.
        documents: All documents that it searches, pages without text too.

    Raises:
        TypeError: If `retriever` has no `retrieve`, or a document is neither a str nor a Candidate.
    """

    def __init__(self, retriever: Retriever, documents: Iterable[str | Candidate]) -> None:
        if not isinstance(retriever, Retriever):
            raise TypeError(f"retriever must have retrieve(query, k) -> list[Candidate], got {type(retriever).__name__}")
        self.retriever = retriever
        self.documents = list(as_candidates(documents, "documents"))
        self._without_text = [document for document in self.documents if document.image is not None and is_blank(document.text)]

    def retrieve(self, query: str, k: int = 100) -> list[Candidate]:
        """Give the retriever's `k` candidates, best first, then the pages without text that are not among them.

        A page that wasn't found by words has the score 0, or the lowest one that was found if that is below 0.

        Raises:
            TypeError: If the query isn't a str, or `k` isn't an int.
            ValueError: If `k` is below 1.
        """
        check_query(query, k)
        found = self.retriever.retrieve(query, k)
        rest = self.documents if len(self.documents) <= k else self._without_text
        lowest = min([0.0, *(candidate.score for candidate in found if candidate.score is not None)])
        pictures: dict[tuple[str, str], list[Picture | None]] = {}
        for candidate in found:
            pictures.setdefault(_name(candidate), []).append(candidate.image)
        return found + [
            replace(document, score=lowest)
            for document in rest
            if not any(_are_same(document.image, picture) for picture in pictures.get(_name(document), ()))
        ]


def _name(document: Candidate) -> tuple[str, str]:
    """Give a document's id and text. An id may be of a type that can't be hashed."""
    return repr(document.id), document.text


def _are_same(one: Picture | None, other: Picture | None) -> bool:
    """Tell whether two candidates have the same picture. A retriever may give copies, or what it pickled."""
    if one is None or other is None or one is other:
        return one is other
    try:
        return one.key() == other.key()
    except (OSError, ValueError):  # the file is gone: the reranker tells which one
        return False
