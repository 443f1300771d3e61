"""What was given as documents -> the documents to rank, and what was chosen -> copies of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from haystack import Document

from late_rerank.wrapping import Chosen, finite, maxsim_of


def checked(documents: object) -> list[Document]:
    """What a retriever or a user gave as documents, if they are documents."""
    if not isinstance(documents, Iterable) or isinstance(documents, str):
        raise TypeError(f"documents must be a list of Documents, got {type(documents).__name__}: {documents!r:.60}")
    found = list(documents)
    for i, document in enumerate(found):
        if not isinstance(document, Document):
            raise TypeError(f"documents[{i}] must be a Document, got {type(document).__name__}: {document!r:.60}")
    return found


def unique(documents: list[Document]) -> list[Document]:
    """One document an id, the best scored, where the first of them stood: two retrievers often find the same."""
    best: dict[str, Document] = {}
    for document in documents:
        other = best.setdefault(document.id, document)
        score, before = finite(document.score), finite(other.score)
        if score is not None and (before is None or score > before):
            best[document.id] = document
    return list(best.values())


def chosen_document(document: Document, chosen: Chosen) -> Document:
    """A copy with its scores, and with another content where a budget had it cut, or joined with neighbours of its file."""
    result = chosen.document
    meta = dict(document.meta)
    score = finite(document.score)  # no JSON takes NumPy's, which some retrievers give, or NaN
    if score is not None:
        meta["retrieval_score"] = score
    said = {"late_rerank_score": maxsim_of(result), "late_rerank_prior": result.prior, "best_span": chosen.best_span}
    for name, value in said.items():
        meta.pop(name, None)  # an earlier reranking's, where this one gives none
        if value is not None:
            meta[name] = value
    if chosen.content is not None and chosen.start is not None:
        meta |= {"start": chosen.start, "end": chosen.end}
    content = document.content if chosen.content is None else chosen.content
    return replace(document, content=content, score=float(result.relevance or 0.0), meta=meta)
