"""Late-interaction reranking for LangChain: a retriever that reranks what another one finds, and a document compressor."""

from importlib.metadata import version

from late_rerank.wrapping import MissingDependencyError

try:
    import langchain_core  # noqa: F401
except ModuleNotFoundError as error:
    if error.name != "langchain_core":
        raise
    raise MissingDependencyError("langchain_late_rerank", "langchain-core", "langchain") from error

from langchain_late_rerank.document_compressors import LateRerankCompressor, RerankResult
from langchain_late_rerank.retrievers import LateRerankRetriever

__all__ = ["LateRerankCompressor", "LateRerankRetriever", "RerankResult", "__version__"]

__version__ = version("langchain-late-rerank")
