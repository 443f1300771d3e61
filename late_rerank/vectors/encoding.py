"""Texts and pictures -> packed vectors, encoded now; and what an encoder must give."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np

from late_rerank.codecs import Codec
from late_rerank.encode import Encoder
from late_rerank.errors import IncompatibleError
from late_rerank.pictures import PictureError
from late_rerank.types import Encodable, PackedVectors, TokenVectors


def encode_and_pack(encoder: Encoder, codec: Codec, contents: Sequence[Encodable]) -> PackedVectors:
    """Encode documents and pack them.

    Args:
        encoder: Encodes them.
        codec: Packs them.
        contents: Texts that aren't blank, and pictures if the encoder takes them.

    Returns:
        In the order of `contents`.

    Raises:
        ValueError: If the encoder gave NaN or infinity, or not one document a content; names the document. Also if a picture is
            damaged (PictureError).
    """
    try:
        vectors = encode_contents(encoder, contents)
    except (PictureError, IncompatibleError):
        raise
    except ValueError as error:
        blamed = contents[0]
        if len(contents) > 1 or isinstance(blamed, str):
            raise
        raise PictureError(str(error), blamed) from error
    check_vectors(vectors, contents, encoder.dim, "document")
    return codec.encode(vectors)


def encode_contents(encoder: Encoder, contents: Sequence[Encodable]) -> TokenVectors:
    """Let an encoder encode documents; whether it takes pictures was checked when they were chosen."""
    # Encoders that see pictures declare wider arguments than the protocol that all encoders have.
    return encoder.encode_document(cast("Sequence[str]", contents))


def check_vectors(vectors: TokenVectors, texts: Sequence[Encodable], dim: int, kind: str) -> None:
    """Refuse vectors that no score can be computed from.

    Raises:
        TypeError: If the encoder gave no TokenVectors.
        IncompatibleError: If the vectors are not of the encoder's own `dim`.
        ValueError: If there isn't one entry a text, or a component is NaN or infinite; names the text.
    """
    if not isinstance(vectors, TokenVectors):
        raise TypeError(f"an encoder must give TokenVectors, got {type(vectors).__name__} for texts of kind {kind!r}")
    if len(vectors) != len(texts):
        raise ValueError(f"the encoder gave token vectors of {len(vectors)} texts for {len(texts)} of kind {kind!r}")
    if vectors.dim != dim:
        raise IncompatibleError(f"the encoder says dim={dim}, but gave {kind} vectors of {vectors.dim} components")
    # A sum over all is finite only if every component is: one pass, no temporary.
    with np.errstate(invalid="ignore"):
        total = vectors.values.sum(dtype=np.float64)
    if np.isfinite(total):
        return
    row = int(np.flatnonzero(~np.isfinite(vectors.values).all(axis=1))[0])
    index = int(np.searchsorted(vectors.offsets, row, side="right")) - 1
    raise ValueError(f"the encoder gave NaN or infinity for {kind} {index}: {texts[index]!r:.60}")
