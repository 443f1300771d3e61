"""A first stage by its name on the command line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from late_rerank.retrieve import BM25Retriever, HybridRetriever, Retriever
from late_rerank.types import Candidate


def first_stage(name: str, documents: Sequence[Candidate], engine: Any, language: str | None) -> Retriever:
    """Make the retriever of a name (one of FIRST_STAGES) over documents. Dense vectors are made now, with a bar."""
    if name == "bm25":
        return BM25Retriever(documents, engine=engine, language=language)
    from late_rerank.retrieve import DenseRetriever  # loads tokenizers; BM25 doesn't need them

    dense = DenseRetriever(documents, progress=True)
    return dense if name == "dense" else HybridRetriever([BM25Retriever(documents, engine=engine, language=language), dense])
