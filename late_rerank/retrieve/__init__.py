"""Query -> candidates. Any object with `retrieve(query, k)` is a first stage; four come with the package.

`DenseRetriever` loads tokenizers, so it is imported on first use. `QdrantVectors` scores inside Qdrant.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from late_rerank.retrieve.base import Retriever
from late_rerank.retrieve.bm25 import BM25Retriever
from late_rerank.retrieve.hybrid import HybridRetriever
from late_rerank.retrieve.pages import PagesRetriever

if TYPE_CHECKING:
    from late_rerank.retrieve.dense import DenseRetriever as DenseRetriever
    from late_rerank.retrieve.qdrant import QdrantVectors as QdrantVectors

_HOMES = {"DenseRetriever": "late_rerank.retrieve.dense", "QdrantVectors": "late_rerank.retrieve.qdrant"}

__all__ = ["BM25Retriever", "DenseRetriever", "HybridRetriever", "PagesRetriever", "QdrantVectors", "Retriever"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
