"""The model, from when a server begins to its end: loaded beside the event loop, and tried again where that fails."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain, repeat
from pathlib import Path
from typing import Any

from late_rerank import __version__
from late_rerank.reranker import Reranker
from late_rerank.serve.dialects import RequestError
from late_rerank.serve.gathering import Gatherer
from late_rerank.serve.limits import Limits

logger = logging.getLogger("late_rerank.serve")

# Between tries.
_RETRY_S = (1.0, 2.0, 5.0, 10.0)


@dataclass(frozen=True)
class LoadedModel:
    """What ranks.

    Attributes:
        reranker: Shared by all threads.
        gatherer: Who asks it.
        about: What /info says of it, as JSON values.
    """

    reranker: Reranker
    gatherer: Gatherer
    about: dict[str, Any]

    @property
    def name(self) -> str:
        """As clients are told it."""
        return str(self.about["model"])


class ModelLoader:
    """Loads a model in a thread. Its methods are called on one event loop.

    Args:
        make_reranker: What loads it.
        limits: Of the server.
    """

    def __init__(self, make_reranker: Callable[[], Reranker], limits: Limits) -> None:
        self._make_reranker = make_reranker
        self._limits = limits
        self._loaded: LoadedModel | None = None
        self._failed: BaseException | None = None
        self._is_ending = asyncio.Event()

    @property
    def ready(self) -> LoadedModel:
        """The model.

        Raises:
            RequestError: 503: it isn't loaded yet.
        """
        if self._loaded is not None:
            return self._loaded
        if self._failed is not None:
            raise RequestError(503, f"the model can't be loaded ({type(self._failed).__name__}): see the server's log")
        raise RequestError(503, "the model is being loaded; try again", retry_after_s=2)

    async def load(self, *, gives_up: bool) -> None:
        """Load it, again and again where that fails: a store may only be away for a while.

        Args:
            gives_up: After some tries. Before it listens a process can't be told to end, so then it must.

        Raises:
            RuntimeError: It gave up.
        """
        for wait_s in chain(_RETRY_S, () if gives_up else repeat(_RETRY_S[-1])):
            try:
                self._loaded = await asyncio.to_thread(self._load)
                return
            except Exception as error:
                self._failed = error
                logger.exception("the model can't be loaded")
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._is_ending.wait(), wait_s)
                return
        raise RuntimeError("the model can't be loaded") from self._failed

    def end(self) -> None:
        """Try no more."""
        self._is_ending.set()

    async def close(self) -> None:
        """Finish what runs, then close the reranker."""
        if self._loaded is not None:
            await asyncio.to_thread(self._loaded.gatherer.close)
            await asyncio.to_thread(self._loaded.reranker.close)

    def _load(self) -> LoadedModel:
        reranker = self._make_reranker()
        try:
            reranker.encoder.encode_query(["warm"])  # the first pass takes a hundred times as long
            return LoadedModel(reranker, Gatherer(reranker, self._limits), _told_of(reranker))
        except BaseException:
            reranker.close()
            raise


def _told_of(reranker: Reranker) -> dict[str, Any]:
    stats = reranker.stats()
    told = {name: stats[name] for name in ("codec", "pooling", "backend", "kernel", "fingerprint")}
    # Where a model lies on this machine is nobody's business.
    name = Path(reranker.model_name).name if Path(reranker.model_name).exists() else reranker.model_name
    told |= {"model": name, "model_id": name, "model_type": {"reranker": {}}, "version": __version__}
    return told | {"dim": reranker.encoder.dim, "store": type(reranker.store).__name__}
