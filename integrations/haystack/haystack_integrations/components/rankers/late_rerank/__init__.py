"""Late-interaction reranking as a Haystack component."""

from importlib.metadata import version

from late_rerank.wrapping import MissingDependencyError

try:
    import haystack  # noqa: F401
except ModuleNotFoundError as error:
    if error.name != "haystack":
        raise
    raise MissingDependencyError("LateRerankRanker", "haystack-ai", "haystack") from error

from haystack_integrations.components.rankers.late_rerank.ranker import LateRerankRanker

__all__ = ["LateRerankRanker", "__version__"]

__version__ = version("late-rerank-haystack")
