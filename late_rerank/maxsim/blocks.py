"""MaxSim block by block: the part that the NumPy and the torch kernel share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from late_rerank.codecs import NAMES, from_spec
from late_rerank.maxsim.base import check_finite, check_one_query, check_scorable
from late_rerank.maxsim.centre import add_centre
from late_rerank.types import F32, I64, NO_TOKENS_SCORE, PackedVectors, TokenVectors

# Tokens in a block. Its float32 rows (6 MB at dim 384) should stay in the cache between the cast and the product.
BLOCK_TOKENS = 4096


class BlockKernel(ABC):
    """Joins documents into blocks. A subclass computes the maxima of one block."""

    name: str
    codecs = NAMES  # every codec unpacks its own bytes

    def score(self, query: TokenVectors, documents: PackedVectors) -> F32:
        """As in Kernel."""
        scores: F32 = self.token_maxima(query, documents).sum(axis=1)
        scores[documents.lengths == 0] = NO_TOKENS_SCORE
        return scores

    def token_maxima(self, query: TokenVectors, documents: PackedVectors) -> F32:
        """As in Kernel."""
        check_one_query(query)
        check_scorable(self, query, documents)
        n_query_tokens = len(query.values)
        empty = NO_TOKENS_SCORE / max(n_query_tokens, 1)
        maxima = np.full((len(documents), n_query_tokens), empty, dtype=np.float32)
        codec = from_spec(documents.codec)
        rotated = codec.rotate(query.values)
        for block in _blocks(documents):
            columns = {name: np.concatenate([documents.column(name, i) for i in block]) for name in documents.codec.columns}
            rows, scales = codec.unpack(columns, documents.codec.dim)
            check_finite(rows if scales is None else scales, documents.lengths[block], block)
            maxima[block] = self._block_maxima(rotated, rows, scales, documents.lengths[block])
        add_centre(query, documents, maxima=maxima)
        return maxima

    @abstractmethod
    def _block_maxima(self, query: F32, rows: NDArray[Any], scales: F32 | None, lengths: I64) -> F32:
        """Find the token maxima of documents of at least one token each.

        Args:
            query: (n_query_tokens, dim) float32.
            rows: (n_tokens, dim) as the codec unpacks them.
            scales: (n_tokens,) float32, a factor for each row; or None.
            lengths: (n_documents,), each at least 1; they sum to n_tokens.

        Returns:
            (n_documents, n_query_tokens) float32.
        """


def _blocks(documents: PackedVectors) -> Iterator[NDArray[np.int64]]:
    """Cut the positions of documents with tokens into runs of at most BLOCK_TOKENS tokens; a longer document is alone."""
    positions = np.flatnonzero(documents.lengths)
    ends = np.cumsum(documents.lengths[positions])
    first = 0
    while first < len(positions):
        done = ends[first - 1] if first else 0
        stop = max(first + 1, int(np.searchsorted(ends, done + BLOCK_TOKENS, side="right")))
        yield positions[first:stop]
        first = stop
