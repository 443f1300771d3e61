"""A Reranker and folders -> an MCP server."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from mcp.server.mcpserver import MCPServer
from mcp.types import ToolAnnotations

from late_rerank import __version__
from late_rerank.mcp.answers import sendable
from late_rerank.mcp.model import Model
from late_rerank.mcp.stdio import StdioServer
from late_rerank.mcp.tools import RERANK, Tools
from late_rerank.ranking.wanted import Wanted
from late_rerank.reranker import Reranker
from late_rerank.retrieve import Retriever

_INSTRUCTIONS = (
    "Late-interaction reranking on this machine. `search` finds passages in the folders that the user serves; `rerank` sorts "
    "texts that you bring. Read the best results and cite where they are from, a PDF file with its page; a low relevance of "
    "all of them means that the answer isn't there."
)
_ANNOTATIONS = ToolAnnotations(read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False)


def create_server(
    make_reranker: Callable[[], Reranker],
    retrievers: Mapping[str, Retriever],
    *,
    k: int,
    wanted: Wanted | None = None,
    after_search: Callable[[], None] | None = None,
) -> MCPServer[Any]:
    """Make a server with the tools `rerank` and `search`.

    Args:
        make_reranker: Makes the Reranker, called once, in a thread, when the server begins. Meanwhile the server lists its
            tools, and calls wait. If it raises, each call is answered with the reason. The Reranker is closed at the end.
        retrievers: Name of a folder -> the folder's retriever; may be empty.
        k: The first stage's depth: candidates that a search reranks.
        wanted: The options of every call; None for none. The first stage's weight and the prior count for searches alone.
        after_search: Called after each search; None for nothing.

    Raises:
        ValueError: If `k` is below 1.
    """
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    model = Model(make_reranker)
    folders = {sendable(name): retriever for name, retriever in retrievers.items()}
    tools = Tools(model, folders, k, wanted or Wanted(), after_search)
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
