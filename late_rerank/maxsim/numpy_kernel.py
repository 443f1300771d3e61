"""MaxSim in NumPy: a matrix product a block of documents, then `maximum.reduceat`."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from late_rerank.maxsim.base import check_scorable
from late_rerank.types import F32, NO_TOKENS_SCORE, PackedVectors, TokenVectors

# Tokens a block: its float32 rows (6 MB at dim 384) should stay in the cache between the cast and the product.
BLOCK_TOKENS = 4096

_DTYPES = {"float32": ("values", np.float32), "float16": ("values", np.float16), "int8": ("codes", np.int8)}


class NumpyKernel:
    """Runs everywhere. Casts a block of documents to float32, multiplies, and applies int8's scales to the products."""

    name = "numpy"
    codecs = frozenset(_DTYPES)

    def score(self, query: TokenVectors, documents: PackedVectors) -> F32:
        """As in Kernel."""
        scores: F32 = self.token_maxima(query, documents).sum(axis=1)
        scores[documents.lengths == 0] = NO_TOKENS_SCORE
        return scores

    def token_maxima(self, query: TokenVectors, documents: PackedVectors) -> F32:
        """As in Kernel."""
        check_scorable(self, query, documents)
        n_query_tokens = len(query.values)
        empty = NO_TOKENS_SCORE / max(n_query_tokens, 1)
        maxima = np.full((len(documents), n_query_tokens), empty, dtype=np.float32)
        for block in blocks(documents):
            values, scales = packed_rows(documents, block)
            products = query.values @ values.astype(np.float32, copy=False).T
            if scales is not None:
                products *= scales
            lengths = documents.lengths[block]
            # `reduceat` reads an empty segment as the row at its start, so `blocks` leaves empty documents out.
            maxima[block] = np.maximum.reduceat(products, np.cumsum(lengths) - lengths, axis=1).T
        return maxima


def blocks(documents: PackedVectors) -> Iterator[np.ndarray]:
    """Positions of the documents that have tokens, in runs of at most BLOCK_TOKENS tokens (a longer document is alone)."""
    positions = np.flatnonzero(documents.lengths)
    first = 0
    ends = np.cumsum(documents.lengths[positions])
    while first < len(positions):
        done = ends[first - 1] if first else 0
        stop = max(first + 1, int(np.searchsorted(ends, done + BLOCK_TOKENS, side="right")))
        yield positions[first:stop]
        first = stop


def packed_rows(documents: PackedVectors, block: np.ndarray) -> tuple[np.ndarray, F32 | None]:
    """The rows of a block, joined: (n_tokens, dim) in the packed dtype, and the scale of each row if the codec has scales."""
    column, dtype = _DTYPES[documents.codec.name]
    rows = np.concatenate([documents.column(column, i) for i in block]).view(dtype).reshape(-1, documents.codec.dim)
    if "scales" not in documents.codec.columns:
        return rows, None
    return rows, np.concatenate([documents.column("scales", i) for i in block]).view(np.float32)
