"""Query -> candidates. Any object with `retrieve(query, k)` is a first stage; four come with the package.

`DenseRetriever` loads tokenizers, so it is imported on first use.
"""

from typing import TYPE_CHECKING, Any

from late_rerank.retrieve.base import Retriever
from late_rerank.retrieve.bm25 import BM25Retriever
from late_rerank.retrieve.hybrid import HybridRetriever
from late_rerank.retrieve.pages import PagesRetriever

if TYPE_CHECKING:
    from late_rerank.retrieve.dense import DenseRetriever as DenseRetriever

__all__ = ["BM25Retriever", "DenseRetriever", "HybridRetriever", "PagesRetriever", "Retriever"]


def __getattr__(name: str) -> Any:
    if name == "DenseRetriever":
        from late_rerank.retrieve.dense import DenseRetriever  # noqa: PLC0415 - loads tokenizers

        return DenseRetriever
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
