"""The best windows of documents at several scales, in one pass over the token vectors."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from late_rerank.maxsim.base import Kernel
from late_rerank.types import F32, I64, NO_TOKENS_SCORE, PackedVectors, TokenVectors


class WindowScores(NamedTuple):
    """The best windows of one query's documents.

    Attributes:
        mean: (n_documents,) float32, the mean of `best` over the scales. -1e9 for a document without tokens. A kernel computes
            it, since a call's documents empty the caches: three NumPy calls after it take a twentieth of its time.
        best: (n_scales, n_documents) float32, the MaxSim of each document's best window. -1e9 for a document without tokens.
        first: (n_scales, n_documents) int64, the first token of that window. Of equal windows the earliest counts, but of
            equal neighbours the last: they share what matches, and what follows a match says more than what stands before.
    """

    mean: F32
    best: F32
    first: I64


def window_scores(kernel: Kernel, query: TokenVectors, documents: PackedVectors, strides: I64) -> WindowScores:
    """Score the best windows of documents at several scales.

    At each scale a window starts at each multiple of the stride. A window holds two strides of tokens, so neighbours share half
    of their tokens. The last window ends with the document, and holds more than one stride of tokens. A document of up to two
    strides is one window.

    Args:
        kernel: Computes token maxima. If it has a method `window_scores(query, documents, strides)`, that does all of this.
        query: One query; values (n_query_tokens, dim) float32.
        documents: Packed by a codec named in `kernel.codecs`.
        strides: (n_scales,) int64, in tokens, ascending. Each is a multiple of the one before.

    Raises:
        IncompatibleError: As in `Kernel.score`.
        ValueError: As in `Kernel.score`.
    """
    own = getattr(kernel, "window_scores", None)
    if own is not None:
        found: WindowScores = own(query, documents, strides)
        return found
    document, first, lengths = _blocks(documents.lengths, int(strides[0]))
    maxima = kernel.token_maxima(query, documents.runs(document, first, lengths))
    windows = [_best_windows(maxima, document, first, int(stride)) for stride in strides] if len(documents) else []
    best = np.array([scores for scores, _ in windows], dtype=np.float32).reshape(len(strides), len(documents))
    best[:, documents.lengths == 0] = NO_TOKENS_SCORE
    mean: F32 = best.sum(axis=0) / np.float32(len(strides))
    mean[documents.lengths == 0] = NO_TOKENS_SCORE
    return WindowScores(mean, best, np.array([starts for _, starts in windows], dtype=np.int64).reshape(best.shape))


def _blocks(lengths: I64, n_tokens: int) -> tuple[I64, I64, I64]:
    """Cut documents into blocks. A document without tokens has one block without tokens.

    Returns:
        (n_blocks,) int64 each: the document, the first token in it, and the number of tokens.
    """
    n_blocks = np.maximum(-(-lengths // n_tokens), 1)
    document = np.repeat(np.arange(len(lengths), dtype=np.int64), n_blocks)
    first = (np.arange(len(document), dtype=np.int64) - np.repeat(np.cumsum(n_blocks) - n_blocks, n_blocks)) * n_tokens
    return document, first, np.minimum(lengths[document] - first, n_tokens)


def _best_windows(maxima: F32, document: I64, first: I64, stride: int) -> tuple[F32, I64]:
    """Give the score and the first token of each document's best window.

    Args:
        maxima: (n_blocks, n_query_tokens) float32.
        document: (n_blocks,) int64; each document has a block.
        first: (n_blocks,) int64, each block's first token.
        stride: A multiple of a block's tokens.
    """
    # Blocks are joined to halves of windows; a half and the next one of the same document are a window.
    begins = np.flatnonzero(first % stride == 0)
    halves, owner, start = np.maximum.reduceat(maxima, begins, axis=0), document[begins], first[begins]
    follows = np.append(owner[1:] == owner[:-1], [False])
    halves[follows] = np.maximum(halves[follows], halves[1:][follows[:-1]])
    is_window = follows | (start == 0)
    scores: F32 = halves[is_window].sum(axis=1)
    owner, start = owner[is_window], start[is_window]
    best = np.maximum.reduceat(scores, np.flatnonzero(start == 0))
    is_best = scores == best[owner]
    goes_on = np.append(is_best[1:] & (owner[1:] == owner[:-1]), [False])
    last = np.flatnonzero(is_best & ~goes_on)
    _, earliest = np.unique(owner[last], return_index=True)
    return best, start[last[earliest]]
