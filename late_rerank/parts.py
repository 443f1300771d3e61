"""What a Reranker's arguments stand for: names and places -> the parts themselves."""

from __future__ import annotations

import os
from typing import Any

from late_rerank import codecs, maxsim
from late_rerank.encode import Encoder
from late_rerank.encode.arguments import check_pooling
from late_rerank.encode.backends.names import check_backend
from late_rerank.stores import MemoryStore, Store, open_store


def resolve_codec(codec: str | codecs.Codec) -> codecs.Codec:
    """A codec by its name; a Codec as it is.

    Raises:
        ValueError: No codec has that name.
        TypeError: It is neither.
    """
    if isinstance(codec, codecs.Codec):
        return codec
    if isinstance(codec, str):
        return codecs.codec(codec)
    raise TypeError(f"codec must be a name or a Codec, got {type(codec).__name__}")


def resolve_kernel(kernel: str | maxsim.Kernel, device: str | None) -> maxsim.Kernel:
    """A kernel by its name; a Kernel as it is.

    Raises:
        ValueError: No kernel has that name, or it doesn't run here.
        TypeError: It is neither.
    """
    if isinstance(kernel, str):
        return maxsim.kernel(kernel, device)
    if isinstance(kernel, maxsim.Kernel) and not isinstance(kernel, type):
        return kernel
    raise TypeError(f"kernel must be a name or a Kernel (name, codecs, score, token_maxima), got {type(kernel).__name__}")


def resolve_store(store: str | os.PathLike[str] | Store | None) -> Store:
    """A Store as it is; else one that the caller is to close.

    Raises:
        TypeError: It is of none of these kinds.
        ValueError: A URL of a kind that isn't known.
        StoreError: What is there can't be opened.
    """
    if store is None:
        return MemoryStore()
    if isinstance(store, Store):
        return store
    if isinstance(store, (str, os.PathLike)):
        return open_store(store)
    raise TypeError(
        "store must be None or ':memory:' (this process's memory), a folder, a Redis URL or a Store, "
        f"got {type(store).__name__}: {store!r:.60}"
    )


def resolve_device(device: Any) -> str | None:
    """A device that is here, by its name or as a torch.device; None as it is.

    Raises:
        ValueError: If there is no such device here.
        TypeError: If it is none of these kinds.
    """
    if device is None:
        return None
    from late_rerank.encode.devices import checked_device  # noqa: PLC0415 - loads torch

    return checked_device(device)


def resolve_encoder(model: str | os.PathLike[str] | Encoder, backend: str, device: str | None, pooling: int = 1) -> Encoder:
    """The model by its name or folder; an Encoder as it is.

    Raises:
        ModelError: The model can't be found, or can't be what it says.
        MissingDependencyError: The named backend isn't installed.
        IncompatibleError: `pooling` is above 1, and the model pools its tokens already.
        ValueError: The backend isn't known, the device isn't here, or `pooling` is below 1, or above it with an Encoder.
        TypeError: It is neither, or `pooling` is no whole number.
    """
    check_backend(backend)
    check_pooling(pooling)
    if isinstance(model, (str, os.PathLike)):
        from late_rerank.encode import TextEncoder  # noqa: PLC0415 - loads torch, which a user's own encoder may not need

        return TextEncoder(model, backend=backend, device=device, pooling=pooling)
    if isinstance(model, Encoder):
        if pooling != 1:
            raise ValueError(
                f"pooling={pooling} is for a model given by name or folder, got an Encoder ({type(model).__name__}), which "
                f"pools by itself or not at all: TextEncoder(name, pooling={pooling}) does"
            )
        return model
    raise TypeError(
        "model must be a name, a folder, or an Encoder (dim, fingerprint, encode_query, encode_document), "
        f"got {type(model).__name__}"
    )
