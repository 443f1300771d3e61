"""A Reranker that is loaded in the background, and the threads that work with it."""

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

from late_rerank.encode.describe import warm
from late_rerank.errors import LateRerankError, raised_at
from late_rerank.mcp.answers import sendable
from late_rerank.processes.loading import Loader
from late_rerank.reranker import Reranker

Result = TypeVar("Result")

logger = logging.getLogger("late_rerank.mcp")

# One agent asks, now and then for several things at once; each call computes with as many threads as the model takes.
_N_THREADS = 8


class Model:
    """The Reranker of a server, from its beginning to its end.

    Args:
        make_reranker: Called once, in a thread, when the server begins; the Reranker is closed at the end.
    """

    def __init__(self, make_reranker: Callable[[], Reranker]) -> None:
        self._make_reranker = make_reranker

    @asynccontextmanager
    async def lifespan(self, server: Any) -> AsyncIterator[None]:  # noqa: ARG002 - the SDK passes it
        """Load the model; at the end, finish the calls that run before the store is closed, since they read it."""
        self._threads = ThreadPoolExecutor(_N_THREADS, "late-rerank-mcp")
        self._loader = Loader(self._make_reranker, warm=lambda reranker: warm(reranker.encoder), tell=_log)
        self._loader.begin()
        try:
            yield
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(self._threads.shutdown)
                await self._loader.close()

    async def work(self, call: Callable[[Reranker], Result]) -> Result:
        """Run a call with the Reranker, in a thread, once the model is loaded.

        Raises:
            ToolError: If the model can't be loaded, or the call failed. The message is the library's own. Of an unexpected
                error it names the type alone, since the words may quote documents or this machine.
        """
        reranker = await self._loaded()
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, call, reranker)
        except (LateRerankError, ValueError) as error:
            raise ToolError(sendable(str(error))) from None
        except Exception as error:  # noqa: BLE001 - the agent is told the type alone; the log names the place, no text
            logger.error("a call failed: %s at %s", type(error).__name__, raised_at(error))  # noqa: TRY400 - no traceback
            raise ToolError(f"late-rerank failed ({type(error).__name__}); its log on stderr says where") from None

    async def _loaded(self) -> Reranker:
        try:
            return await self._loader.loaded()
        except Exception as error:  # noqa: BLE001 - each call is told
            expected = isinstance(error, (LateRerankError, ValueError))
            reason = sendable(str(error)) if expected else f"{type(error).__name__}; the log on stderr says more"
            raise ToolError(f"the model can't be loaded: {reason}") from None


def _log(error: Exception) -> None:
    logger.error("the model can't be loaded: %s: %s", type(error).__name__, error)  # one line is enough
