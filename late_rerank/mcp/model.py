"""A Reranker that is loaded while the server already answers, and the threads that work with it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import anyio
import anyio.to_thread
from mcp.server.mcpserver.exceptions import ToolError

from late_rerank.errors import LateRerankError, raised_at
from late_rerank.mcp.answers import sendable
from late_rerank.reranker import Reranker

Result = TypeVar("Result")

logger = logging.getLogger("late_rerank.mcp")

# One agent asks, now and then for several things at once; each call computes with as many threads as the model takes.
_N_THREADS = 8


class Model:
    """The Reranker of a server, from when it begins to its end.

    Args:
        make_reranker: Called once, in a thread, when the server begins; what it gives is closed at the end.
    """

    def __init__(self, make_reranker: Callable[[], Reranker]) -> None:
        self._make_reranker = make_reranker

    @asynccontextmanager
    async def lifespan(self, server: Any) -> AsyncIterator[None]:  # noqa: ARG002
        """The model is being loaded; at the end what runs is finished first, since it reads the store."""
        self._threads = ThreadPoolExecutor(_N_THREADS, "late-rerank-mcp")
        self._loading = asyncio.get_running_loop().run_in_executor(self._threads, self._load)
        try:
            yield
        finally:
            with anyio.CancelScope(shield=True):
                (loaded,) = await asyncio.gather(self._loading, return_exceptions=True)
                await anyio.to_thread.run_sync(self._threads.shutdown)
                if isinstance(loaded, Reranker):
                    await anyio.to_thread.run_sync(loaded.close)

    async def work(self, call: Callable[[Reranker], Result]) -> Result:
        """What a call makes of the Reranker, in a thread, once it is loaded.

        Raises:
            ToolError: The model can't be loaded, or the call failed: what the library says of it, or, of what it didn't
                expect, the kind alone, since the words may quote documents or this machine.
        """
        reranker = await self._loaded()
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, call, reranker)
        except (LateRerankError, ValueError) as error:
            raise ToolError(sendable(str(error))) from None
        except Exception as error:  # noqa: BLE001 - the agent is told no more than that; the log where it was, not what
            logger.error("a call failed: %s at %s", type(error).__name__, raised_at(error))  # noqa: TRY400
            raise ToolError(f"late-rerank failed ({type(error).__name__}); its log on stderr says where") from None

    async def _loaded(self) -> Reranker:
        try:
            return await asyncio.shield(self._loading)  # a call that is cancelled doesn't cancel it for the others
        except Exception as error:  # noqa: BLE001 - each call says it
            expected = isinstance(error, (LateRerankError, ValueError))
            reason = sendable(str(error)) if expected else f"{type(error).__name__}; the log on stderr says more"
            raise ToolError(f"the model can't be loaded: {reason}") from None

    def _load(self) -> Reranker:
        try:
            reranker = self._make_reranker()
            reranker.encoder.encode_query(["warm"])  # the first pass takes a hundred times as long
        except Exception as error:
            logger.error("the model can't be loaded: %s: %s", type(error).__name__, error)  # noqa: TRY400 - one line is enough
            raise
        return reranker
