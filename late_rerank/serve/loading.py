"""The model of a server: loaded in the background, tried again if that fails, closed at the end."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from itertools import chain, repeat
from pathlib import Path
from typing import Any

from late_rerank import __version__
from late_rerank.encode import Encoder, as_encoder, described
from late_rerank.encode.backends.names import installed_engines
from late_rerank.encode.describe import modalities, query_encoder_name, query_fingerprint, warm
from late_rerank.encode.devices import torch_device
from late_rerank.errors import LateRerankError
from late_rerank.processes.loading import Loader
from late_rerank.reranker import Reranker
from late_rerank.serve.errors import RequestError
from late_rerank.serve.gathering import Gatherer
from late_rerank.serve.images import Images
from late_rerank.serve.limits import Limits

logger = logging.getLogger("late_rerank.serve")

MakeReranker = Callable[[], Reranker]

# Between tries: a store may be away for a while.
_RETRY_S = (1.0, 2.0, 5.0, 10.0)
# The engine that survives a fork, and whose memory children share.
_SURVIVES = "onnx"


@dataclass(frozen=True)
class LoadedModel:
    """A model that is ready to rank.

    Attributes:
        reranker: Shared by all threads.
        gatherer: Asks the reranker for the endpoints.
        images: Reads the images of requests.
        about: What /info says of the model, as JSON values.
    """

    reranker: Reranker
    gatherer: Gatherer
    images: Images
    about: dict[str, Any]

    @property
    def name(self) -> str:
        """The model's name, as clients are told it."""
        return str(self.about["model"])

    @property
    def query_encoder(self) -> str:
        """What encodes its queries, as clients are told it."""
        return str(self.about["query_encoder"])

    def close(self) -> None:
        """Finish what runs, then close the reranker."""
        self.gatherer.close()
        self.reranker.close()


# Is told a model that was loaded.
TellLoaded = Callable[[LoadedModel], object]


class ModelLoader:
    """Loads a model in the background. Its methods are called on one event loop.

    Args:
        make_reranker: Makes the Reranker, in a thread.
        limits: Of the server.
        name: What clients call the model; empty for the model's own name.
        tell_loaded: Is told each loaded model, in the thread.
    """

    def __init__(
        self, make_reranker: MakeReranker, limits: Limits, name: str = "", *, tell_loaded: TellLoaded | None = None
    ) -> None:
        self._make_reranker = make_reranker
        self._name = name
        self._limits = limits
        self._tell_loaded = tell_loaded
        self._loader = Loader(self._load, warm=self._warm, tell=partial(_log, name))

    def begin(self, *, gives_up: bool) -> None:
        """Begin to load the model, and try again where that fails.

        Args:
            gives_up: Whether to stop after a few failed tries. Needed for worker processes, which can't be told to end until
                they listen.
        """
        self._loader.begin(_RETRY_S if gives_up else chain(_RETRY_S, repeat(_RETRY_S[-1])))

    def begin_once(self) -> None:
        """Begin to load the model, with one try."""
        self._loader.begin()

    @property
    def is_ready(self) -> bool:
        """Whether it is loaded."""
        return self._loader.made is not None

    @property
    def ready(self) -> LoadedModel:
        """The model.

        Raises:
            RequestError: If it isn't loaded yet (503).
        """
        if self._loader.made is not None:
            return self._loader.made
        if self._loader.error is not None:
            raise RequestError(503, f"the model can't be loaded ({type(self._loader.error).__name__}): see the server's log")
        raise RequestError(503, "the model is being loaded; try again", retry_after_s=2)

    async def loaded(self) -> None:
        """Wait for the model.

        Raises:
            RuntimeError: If no try is left.
        """
        try:
            await self._loader.loaded()
        except Exception as error:
            raise RuntimeError("the model can't be loaded") from error

    async def close(self) -> None:
        """Try no more, finish what runs, then close the reranker."""
        await self._loader.close()

    def _load(self) -> LoadedModel:
        reranker = self._make_reranker()
        try:
            about = _about(reranker, self._name)
            images = Images(reranker, self._limits, about["model"])
            return LoadedModel(reranker, Gatherer(reranker, self._limits), images, about)
        except BaseException:
            reranker.close()
            raise

    def _warm(self, model: LoadedModel) -> None:
        warm(model.reranker.encoder)
        if self._tell_loaded is not None:
            self._tell_loaded(model)


def shared_encoder(arguments: Mapping[str, Any]) -> Encoder | None:
    """Load the encoder that forked workers share. It is what weighs; each worker opens the store for itself.

    Args:
        arguments: A Reranker's.

    Returns:
        None where each worker must load its own: without fork, if no ONNX Runtime runs the model, or if it can't be loaded now.
    """
    backend = arguments.get("backend", "auto")
    try:
        if sys.platform != "linux" or not _may_survive(backend):
            return None
        given = [arguments.get(name, default) for name, default in (("pooling", 1), ("query_encoder", "full"))]
        encoder = as_encoder(arguments.get("model", "minilm"), backend, None, *given)
        with Reranker(encoder) as reranker:
            reranker.rerank("warm", ["warm"])  # what the first call makes is shared as well
        import_module("late_rerank.stores.disk")  # each worker that imported it would need 2 MB for itself
    except Exception:  # whatever it is, each worker meets it too, and tries again
        logger.exception("the model can't be loaded before the workers begin: each worker will load its own")
        return None
    return encoder if described(encoder).backend.name == _SURVIVES else None


def _may_survive(backend: str) -> bool:
    """Tell whether the engine that survives may be the one that runs a model, before another engine is loaded for nothing."""
    engines = installed_engines() if backend == "auto" else [backend]
    return engines[:1] == [_SURVIVES] and torch_device(None, backend) is None


def _log(name: str, error: Exception) -> None:
    # An error of ours says what to do. Its traceback would hide that.
    trace = None if isinstance(error, LateRerankError) else error
    logger.error("the model%s can't be loaded: %s: %s", f" {name}" if name else "", type(error).__name__, error, exc_info=trace)


def _about(reranker: Reranker, name: str) -> dict[str, Any]:
    """Say what /info says. The store isn't asked: counting may take long, and it may be down."""
    encoder = reranker.encoder
    about: dict[str, Any] = {
        "codec": reranker.codec.name,
        "pooling": described(encoder).pooling,
        "backend": described(encoder).backend.name,
        "kernel": reranker.kernel.name,
        "fingerprint": encoder.fingerprint,
        "query_encoder": _public(query_encoder_name(encoder)),
        "query_fingerprint": query_fingerprint(encoder),
        "modalities": sorted(modalities(encoder)),
        "scoring": reranker.scoring.name,
        "window_tokens": list(reranker.scoring.window_tokens),
    }
    name = name or _public(reranker.model_name)
    about |= {"model": name, "model_id": name, "model_type": {"reranker": {}}, "version": __version__}
    return about | {"dim": encoder.dim, "store": type(reranker.store).__name__}


def _public(name: str) -> str:
    """Give a name, and of a folder the last part: where it lies on this machine is nobody else's business."""
    return Path(name).name if Path(name).exists() else name
