"""A first stage over pages, of which some have no text: it finds by words, and leaves those to the reranker."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from late_rerank.arguments.given import as_candidates
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
        # Candidates get a score from the retriever, but keep their picture.
        pictures = {id(candidate.image) for candidate in found}
        texts = {(candidate.id, candidate.text) for candidate in found if candidate.image is None}
        rest = self.documents if len(self.documents) <= k else self._without_text
        lowest = min([0.0, *(candidate.score for candidate in found if candidate.score is not None)])
        return found + [
            replace(document, score=lowest)
            for document in rest
            if (id(document.image) not in pictures if document.image is not None else (document.id, document.text) not in texts)
        ]
