"""A Model and texts -> token vectors. No torch here."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from late_rerank.encode.batches import in_batches
from late_rerank.encode.inputs import Inputs
from late_rerank.encode.model import Model
from late_rerank.encode.samples import PROBE
from late_rerank.encode.windows import Piece
from late_rerank.errors import ModelError
from late_rerank.types import F32, TokenVectors

BATCH_QUERIES = 64


def encode_queries(model: Model, texts: Sequence[str]) -> TokenVectors:
    """Encode queries with the model's own markers and expansion, in the order given.

    Returns:
        `truncated` marks queries that were cut, `unknown` those with a token that the tokenizer doesn't know.
    """
    rows: list[F32] = []
    truncated: list[bool] = []
    unknown: list[bool] = []
    for start in range(0, len(texts), BATCH_QUERIES):
        inputs, cut = model.queries(texts[start : start + BATCH_QUERIES])
        rows += model.query_forward(inputs, "query")
        truncated += cut
        unknown += _unknown(inputs, model.layout.unknown_id)
    return TokenVectors.from_arrays(rows, model.dim, truncated, unknown if True in unknown else None)


def _unknown(inputs: Inputs, unknown_id: int | None) -> list[bool]:
    """Tell which texts have an unknown token. Every query passes here: two calls of numpy for most, some 2 us."""
    if unknown_id is None:
        return [False] * len(inputs.ids)
    found = inputs.ids == unknown_id
    if not found.any():
        return [False] * len(found)
    marks: list[bool] = (found & inputs.real).any(axis=1).tolist()  # some tokenizers pad with it
    return marks


def encode_documents(model: Model, texts: Sequence[str]) -> TokenVectors:
    """Encode documents whole, in the order given, window by window; the windows' vectors are joined."""
    layout = model.layout
    pieces: list[Piece] = []
    owners: list[int] = []
    truncated = []
    for i, text in enumerate(texts):
        own, cut = layout.document_pieces(text)
        pieces += own
        owners += [i] * len(own)
        truncated.append(cut)
    # An upper bound: pooling models give fewer vectors, and some models leave out words of a list.
    most = [len(piece.ids) if layout.pooled else len(piece.ids[piece.keep]) for piece in pieces]

    def encode(batch: Sequence[Piece]) -> list[F32]:
        return model.forward(layout.documents(batch), "document")

    values, n_rows = in_batches(pieces, most, model.dim, encode)
    offsets = np.zeros(len(texts) + 1, dtype=np.int64)
    np.add.at(offsets, np.array(owners, dtype=np.int64) + 1, n_rows)
    return TokenVectors(values, np.cumsum(offsets), np.array(truncated, dtype=np.bool_))


def check_encodes(model: Model, name: str) -> None:
    """Encode one query and one document, so that parts that don't fit each other fail here, not in the middle of an index.

    Args:
        model: A model that was just loaded.
        name: Its name, for errors.

    Raises:
        ModelError: If encoding fails, or gives vectors that MaxSim can't use.
    """
    for kind, encode in (("query", encode_queries), ("document", encode_documents)):
        try:
            values = encode(model, [PROBE]).values
        except (IndexError, RuntimeError, ValueError) as error:
            raise ModelError(f"{name} can't encode a {kind}: {error}") from error
        _check_vectors(values, model.dim, f"{name} gives {kind} vectors")


def _check_vectors(values: F32, dim: int, what: str) -> None:
    if values.shape[1] != dim or not np.isfinite(values).all():
        raise ModelError(f"{what} of {values.shape[1]} components (expected {dim}), or NaN")
    norms = np.linalg.norm(values, axis=1)
    if np.abs(norms - 1).max() > 1e-2:
        raise ModelError(
            f"{what} of lengths {norms.min():.2f} to {norms.max():.2f}, not 1: MaxSim over "
            "them is no sum of cosines. Its modules lack a Normalize."
        )
