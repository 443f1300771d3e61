"""Late-interaction reranking for LlamaIndex: a node postprocessor, and a retriever for where none are taken."""

from importlib.metadata import version

from late_rerank.wrapping import MissingDependencyError

try:
    import llama_index.core  # noqa: F401
except ModuleNotFoundError as error:
    if error.name not in ("llama_index", "llama_index.core"):
        raise  # LlamaIndex is there, and lacks something itself
    raise MissingDependencyError("llama_index.postprocessor.late_rerank", "llama-index-core", "llama-index") from error

from llama_index.postprocessor.late_rerank.base import LateRerank
from llama_index.postprocessor.late_rerank.retriever import LateRerankRetriever

__all__ = ["LateRerank", "LateRerankRetriever", "__version__"]

__version__ = version("llama-index-postprocessor-late-rerank")
