"""Which binary codec packs a model's vectors: the one that the store has, or one with a centre where the vectors need it."""

from __future__ import annotations

from contextlib import suppress

import numpy as np

from late_rerank.codecs import BinaryCodec, Codec, from_spec
from late_rerank.encode import Encoder
from late_rerank.encode.samples import SAMPLES
from late_rerank.errors import StoreError
from late_rerank.processes.forks import background_work
from late_rerank.stores import Space, Store
from late_rerank.types import F32
from late_rerank.vectors.encoding import check_vectors
from late_rerank.warn import warn_caller

# The mean cosine of a model's token vectors from which they get a centre. The built-in models are at .14 and .15: a centre
# changes nothing there beyond chance. At .95 binary without one loses a quarter of nDCG@10.
_LEAST_COSINE = 0.5


def binary_codec(encoder: Encoder, store: Store) -> Codec:
    """Choose the codec that `codec="binary"` stands for.

    A codec that the store has documents of is taken on: a centred one before one without a centre. So documents that are stored
    stay in use, and machines that share a store agree, though their vectors differ in rounding. Else sample texts are encoded.
    If their vectors share a large part, it becomes the centre.

    Args:
        encoder: The model.
        store: If it can't be read now, sample texts decide.
    """
    stored = _stored(encoder, store)
    if len(stored) > 1:  # counting takes a walk over all names in Redis
        stored = [(space, codec) for space, codec in stored if _holds_documents(space)] or stored
    for _, codec in stored:
        if codec.centre is not None:
            return codec
    centre = shared_part(encoder)  # before counting again: most models want no centre
    if centre is None or any(_holds_documents(space) for space, _ in stored):
        return BinaryCodec()
    return BinaryCodec(centre)


def shared_part(encoder: Encoder) -> F32 | None:
    """Measure what a model's token vectors share, on sample texts.

    Returns:
        The mean vector, (dim,) float32. None if the mean cosine of two vectors is below .5, or if the encoder can't encode the
        samples; then there is a warning.
    """
    try:
        with background_work():
            vectors = encoder.encode_document(list(SAMPLES))
        check_vectors(vectors, SAMPLES, encoder.dim, "document")
    except Exception as error:  # noqa: BLE001 - an encoder may be anybody's, and may know its own documents alone
        warn_caller(
            f'codec="binary" packs vectors without a centre, since the encoder failed on sample texts: {type(error).__name__}: '
            f"{error}. If its token vectors share a large part, give codec=BinaryCodec(their mean)",
            RuntimeWarning,
        )
        return None
    values = vectors.values.astype(np.float64)
    n = len(values)
    if n < 2:
        return None
    directions = values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-30)
    total = directions.sum(axis=0)
    cosine = (total @ total - n) / (n * (n - 1))  # of two different vectors
    return values.mean(axis=0).astype(np.float32) if cosine >= _LEAST_COSINE else None


def _stored(encoder: Encoder, store: Store) -> list[tuple[Space, Codec]]:
    """List the store's spaces of binary vectors of a model, with their codecs, oldest first."""
    found: list[tuple[Space, Codec]] = []
    with suppress(StoreError, OSError):  # the store tells when documents are asked for
        for space in store.spaces():
            spec = space.codec
            if (space.fingerprint, spec.name, spec.dim) == (encoder.fingerprint, BinaryCodec.name, encoder.dim):
                with suppress(ValueError):  # a later version's bytes
                    found.append((space, from_spec(spec)))
    return found


def _holds_documents(space: Space) -> bool:
    with suppress(StoreError, OSError):
        return len(space) > 0
    return False
