"""A Reranker and folders -> an MCP server."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from mcp.server.mcpserver import MCPServer
from mcp.types import ToolAnnotations

from late_rerank import __version__
from late_rerank.arguments.checks import check_first_stage_weight, check_min_relevance
from late_rerank.mcp.answers import sendable
from late_rerank.mcp.model import Model
from late_rerank.mcp.stdio import StdioServer
from late_rerank.mcp.tools import RERANK, Tools
from late_rerank.ranking.fusion import FirstStageWeight
from late_rerank.reranker import Reranker
from late_rerank.retrieve import Retriever

_INSTRUCTIONS = (
    "Late-interaction reranking on this machine. `search` finds passages in the folders that the user serves; `rerank` sorts "
    "texts that you bring. Read the best results and cite where they are from; a low relevance of all of them means that the "
    "answer isn't there."
)
_ANNOTATIONS = ToolAnnotations(read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False)


def create_server(
    make_reranker: Callable[[], Reranker],
    retrievers: Mapping[str, Retriever],
    *,
    k: int,
    first_stage_weight: FirstStageWeight = 0.0,
    min_relevance: float | None = None,
) -> MCPServer[Any]:
    """A server with the tools `rerank` and `search`.

    Args:
        make_reranker: Called once, in a thread, when the server begins; it says what it can do meanwhile, and calls wait for
            the model. Closed at the end. Where it raises, each call is answered with the reason.
        retrievers: Name of a folder -> what finds candidates there; may be empty.
        k: The first stage's depth: candidates that a search reranks.
        first_stage_weight: How much the first stage's scores count for the order of a search, as a Searcher takes it.
        min_relevance: From 0 to 1: documents of lower relevance are left out; None for all.

    Raises:
        TypeError: `first_stage_weight` or `min_relevance` is of another type.
        ValueError: One of the numbers is out of its range.
    """
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    check_first_stage_weight(first_stage_weight)
    check_min_relevance(min_relevance)
    model = Model(make_reranker)
    folders = {sendable(name): retriever for name, retriever in retrievers.items()}
    tools = Tools(model, folders, k, first_stage_weight, min_relevance)
    # Below WARNING the SDK logs what clients were told, which may quote what they sent.
    server = StdioServer(
        "late-rerank",
        title="late-rerank",
        instructions=_INSTRUCTIONS,
        version=__version__,
        log_level="WARNING",
        lifespan=model.lifespan,
    )
    server.add_tool(tools.rerank, title="Rerank texts", description=RERANK, annotations=_ANNOTATIONS)
    server.add_tool(tools.search, title="Search folders", description=tools.search_description(), annotations=_ANNOTATIONS)
    return server
