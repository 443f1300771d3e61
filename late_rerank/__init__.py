"""late-rerank: the late-interaction reranking stage for RAG.

In: a query and candidates from any first stage. Out: the same candidates in a better order.
Names load on first use, so that `import late_rerank` costs nothing: no torch, no transformers, no NumPy.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from late_rerank.context import Context as Context
    from late_rerank.context import pack_context as pack_context
    from late_rerank.explanation import Explanation as Explanation
    from late_rerank.explanation import explain as explain
    from late_rerank.fused import FusedReranker as FusedReranker
    from late_rerank.reranker import Reranker as Reranker
    from late_rerank.searcher import Searcher as Searcher
    from late_rerank.types import Candidate as Candidate
    from late_rerank.types import RankedDocument as RankedDocument
    from late_rerank.types import Ranking as Ranking
    from late_rerank.vectors.indexing import IndexReport as IndexReport

__version__ = "0.1.0"

_HOMES = {
    "Candidate": "late_rerank.types",
    "Context": "late_rerank.context",
    "Explanation": "late_rerank.explanation",
    "FusedReranker": "late_rerank.fused",
    "IndexReport": "late_rerank.vectors.indexing",
    "RankedDocument": "late_rerank.types",
    "Ranking": "late_rerank.types",
    "Reranker": "late_rerank.reranker",
    "Searcher": "late_rerank.searcher",
    "explain": "late_rerank.explanation",
    "pack_context": "late_rerank.context",
}

__all__ = [
    "Candidate",
    "Context",
    "Explanation",
    "FusedReranker",
    "IndexReport",
    "RankedDocument",
    "Ranking",
    "Reranker",
    "Searcher",
    "__version__",
    "explain",
    "pack_context",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
