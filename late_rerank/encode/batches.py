"""Pieces of documents -> their token vectors, in batches of about one length, each vector held once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from late_rerank.encode.windows import Piece
from late_rerank.types import F32, I64

# Padded tokens in a forward pass: enough to fill two cores, few enough to stay in their caches.
BATCH_TOKENS = 2048


def in_batches(
    pieces: Sequence[Piece], most: Sequence[int], dim: int, encode: Callable[[Sequence[Piece]], list[F32]]
) -> tuple[F32, I64]:
    """Encode pieces in batches, longest first, so that little of a batch is padding.

    Vectors are written where they belong: none is held twice.

    Args:
        pieces: The windows to encode.
        most: The most vectors that each piece can give.
        dim: Components of a vector.
        encode: A batch of pieces -> (n, dim) float32 for each.

    Returns:
        All vectors in the order of the pieces, (n_tokens, dim) float32; and how many each piece has, (n_pieces,) int64.
    """
    starts = np.cumsum([0, *most], dtype=np.int64)
    values = np.empty((int(starts[-1]), dim), dtype=np.float32)
    n_rows = np.zeros(len(pieces), dtype=np.int64)
    order = sorted(range(len(pieces)), key=lambda i: len(pieces[i].ids), reverse=True)
    while order:
        n = max(1, BATCH_TOKENS // len(pieces[order[0]].ids))
        batch, order = order[:n], order[n:]
        for i, kept in zip(batch, encode([pieces[i] for i in batch]), strict=True):
            values[starts[i] : starts[i] + len(kept)] = kept
            n_rows[i] = len(kept)
    return _closed_up(values, starts, n_rows), n_rows


def _closed_up(values: F32, starts: I64, n_rows: I64) -> F32:
    """Move the first `n_rows[i]` rows from each `starts[i]` together, in the same memory."""
    stop = 0
    if n_rows.sum() < len(values):
        for start, n in zip(starts.tolist(), n_rows.tolist(), strict=False):
            values[stop : stop + n] = values[start : start + n]
            stop += n
        values.resize((stop, values.shape[1]), refcheck=False)
    return values
