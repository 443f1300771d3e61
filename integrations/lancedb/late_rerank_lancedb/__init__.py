"""Late-interaction reranking for LanceDB: a reranker for vector, full-text and hybrid search."""

from importlib.metadata import version

from late_rerank.wrapping import MissingDependencyError

try:
    import lancedb  # noqa: F401
except ModuleNotFoundError as error:
    if error.name != "lancedb":
        raise
    raise MissingDependencyError("late_rerank_lancedb", "lancedb", "lancedb") from error

from late_rerank_lancedb.reranker import LateRerankReranker

__all__ = ["LateRerankReranker", "__version__"]

__version__ = version("late-rerank-lancedb")
