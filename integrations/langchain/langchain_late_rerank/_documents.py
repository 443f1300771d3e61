"""LangChain's documents -> candidates, and ranked documents -> LangChain's. What retriever and compressor share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from langchain_core.documents import Document

from late_rerank import Candidate, RankedDocument
from late_rerank.wrapping import Chosen, finite

# What other rerankers and retrievers write; where there are both, a reranker came last.
_SCORE_KEYS = ("retrieval_score", "relevance_score", "score")


def checked(documents: object, whose: str, *, texts: bool = False) -> list[Document]:
    """What somebody gave as documents, if they are documents.

    Args:
        documents: A list of Documents, it is hoped; None is refused like anything else.
        whose: Who gave them, for the error.
        texts: Whether a str may stand for a Document.

    Raises:
        TypeError: They are something else; names the first that isn't a Document.
    """
    if not isinstance(documents, Iterable) or isinstance(documents, (str, Document)):
        raise TypeError(f"{whose} must be a list of Documents, got {type(documents).__name__}: {documents!r:.60}")
    found = [Document(item) if texts and isinstance(item, str) else item for item in documents]
    for i, document in enumerate(found):
        if not isinstance(document, Document):
            expected = "a str or a Document" if texts else "a Document"
            raise TypeError(f"{whose}[{i}] must be {expected}, got {type(document).__name__}: {document!r:.60}")
    return found


def candidates(documents: Sequence[Document]) -> list[Candidate]:
    """Documents as the reranker takes them, in the same order."""
    return [Candidate(d.page_content, d.id, retrieval_score(d.metadata), d.metadata) for d in documents]


def chosen_documents(documents: Sequence[Document], chosen: Iterable[Chosen]) -> list[Document]:
    """New documents, in the order of `chosen`, which was chosen from their candidates.

    They differ from the given ones in their metadata, and in their text where a budget had it cut or joined with neighbours.
    """
    return [_ranked(documents[each.document.index], each) for each in chosen]


def relevance(result: RankedDocument) -> float:
    """In [0, 1]; 0 where the reranker left the document unscored."""
    return 0.0 if result.relevance is None else float(result.relevance)


def retrieval_score(metadata: dict[str, Any]) -> float | None:
    """The first stage's score, if it left one: another reranker's counts as the first stage's."""
    for key in _SCORE_KEYS:
        number = finite(metadata.get(key))
        if number is not None:
            return number
    return None


def _ranked(document: Document, chosen: Chosen) -> Document:
    result = chosen.document
    metadata = dict(document.metadata)
    if "retrieval_score" not in metadata and result.candidate_score is not None:
        metadata["retrieval_score"] = result.candidate_score
    metadata["relevance_score"] = relevance(result)
    metadata.pop("late_rerank_score", None)  # an earlier reranking's, where this one gives none
    if result.score is not None:
        metadata["late_rerank_score"] = float(result.score)
    changes: dict[str, Any] = {"metadata": metadata}
    if chosen.content is not None:
        changes["page_content"] = chosen.content
        if chosen.start is not None:
            metadata |= {"start": chosen.start, "end": chosen.end}
    # Not Document(...): that would lose the id and the fields of a subclass.
    return document.model_copy(update=changes)
