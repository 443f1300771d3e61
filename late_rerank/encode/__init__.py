"""Texts or pictures -> token vectors. In: a checkpoint and documents. Out: TokenVectors, and the fingerprint of what made them.

`TextEncoder` and `VisualEncoder` load tokenizers, so they are imported on first use.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from late_rerank.arguments.numbers import whole_number
from late_rerank.encode.backends.names import check_backend
from late_rerank.encode.base import (
    Box,
    CanUnpool,
    DescribesItself,
    Encoder,
    HasQueryEncoder,
    SeesPictures,
    TellsTokens,
    TellsUnknown,
)
from late_rerank.encode.describe import Description, described, modalities, unpooled
from late_rerank.encode.devices import as_device
from late_rerank.encode.query_side.names import FULL, as_query_encoder, refused_by_pages

if TYPE_CHECKING:
    from late_rerank.encode.text import TextEncoder as TextEncoder
    from late_rerank.encode.visual.encoder import VisualEncoder as VisualEncoder

__all__ = [
    "Box",
    "CanUnpool",
    "DescribesItself",
    "Description",
    "Encoder",
    "HasQueryEncoder",
    "SeesPictures",
    "TellsTokens",
    "TellsUnknown",
    "TextEncoder",
    "VisualEncoder",
    "as_device",
    "as_encoder",
    "described",
    "is_of_pictures",
    "modalities",
    "unpooled",
]


def __getattr__(name: str) -> Any:
    if name == "TextEncoder":
        from late_rerank.encode.text import TextEncoder  # noqa: PLC0415

        return TextEncoder
    if name == "VisualEncoder":
        from late_rerank.encode.visual.encoder import VisualEncoder  # noqa: PLC0415

        return VisualEncoder
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def as_encoder(
    given: str | os.PathLike[str] | Encoder,
    backend: str,
    device: str | None,
    pooling: int = 1,
    query_encoder: str | os.PathLike[str] = FULL,
) -> Encoder:
    """Load a model by its name or folder, a text model or a page-image model; an Encoder as it is.

    Raises:
        ModelError: If the model or the query encoder can't be found, or can't be what it says.
        MissingDependencyError: If the named backend isn't installed.
        IncompatibleError: If `pooling` is above 1, and the model pools its tokens already. Also if the query encoder is another
            model's, or the model is one of page images.
        ValueError: If the backend is unknown or can't run the model, the device isn't here, or `pooling` is below 1, or above
            it with an Encoder. Also if another query encoder than "full" is asked of an Encoder.
        TypeError: If it is neither, `pooling` is no whole number, or `query_encoder` is neither str nor path.
    """
    check_backend(backend)
    pooling, query_encoder = whole_number("pooling", pooling), as_query_encoder(query_encoder)
    if isinstance(given, (str, os.PathLike)):
        if is_of_pictures(given):
            if query_encoder != FULL:
                raise refused_by_pages(query_encoder, given)
            from late_rerank.encode.visual.encoder import VisualEncoder  # noqa: PLC0415 - text models don't need it

            return VisualEncoder(given, backend=backend, device=device, pooling=pooling)
        from late_rerank.encode.text import TextEncoder  # noqa: PLC0415 - a user's own encoder may not need it

        return TextEncoder(given, backend=backend, device=device, pooling=pooling, query_encoder=query_encoder)
    if isinstance(given, Encoder):
        if pooling != 1:
            raise ValueError(
                f"pooling={pooling} is for a model given by name or folder, got an Encoder ({type(given).__name__}), which "
                f"pools by itself or not at all: TextEncoder(name, pooling={pooling}) does"
            )
        if query_encoder != FULL:
            raise ValueError(
                f"query_encoder={query_encoder!r} is for a model given by name or folder, got an Encoder "
                f"({type(given).__name__}), which encodes its queries itself: give it to TextEncoder(name, query_encoder=...)"
            )
        return given
    raise TypeError(
        "model must be a name, a folder, or an Encoder (dim, fingerprint, encode_query, encode_document), "
        f"got {type(given).__name__}"
    )


def is_of_pictures(name: str | os.PathLike[str]) -> bool:
    """Tell whether a model is one of page images.

    Raises:
        ModelError: If it can't be found.
    """
    from late_rerank.encode.builtin import BUILT_IN  # noqa: PLC0415 - a user's own encoder needs none of these
    from late_rerank.encode.sources import local_folder  # noqa: PLC0415
    from late_rerank.encode.visual.families import sees_pictures  # noqa: PLC0415

    return name not in BUILT_IN and sees_pictures(local_folder(name))
