"""The compiled kernel: what module.cpp gives Python."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from late_rerank.types import F32, I64

def levels() -> list[str]:
    """The levels that this processor can run, fastest first."""

def query_limit(level: str) -> int:
    """The largest integer that a level rounds a query's components to."""

def peak(level: str, codec: str, n: int) -> float:
    """Multiply-adds a second of the instruction that scores this codec, run n times on registers alone."""

def score_into(
    level: str,
    codec: str,
    query: F32,
    query_offsets: I64,
    buffers: tuple[NDArray[np.uint8], ...],
    buffer: NDArray[np.int32],
    codes: I64 | None,
    scales: I64 | None,
    lengths: I64,
    rotation: tuple[F32, NDArray[np.int32], NDArray[np.int32]] | None,
    scores: F32 | None,
    maxima: F32 | None,
    n_threads: int,
    windows: tuple[I64, F32, I64] | None,
) -> None:
    """Write scores (n_queries, n_documents) and maxima (n_documents, n_query_tokens) of documents where they lie.

    `windows` are strides (n_scales,), and what is written for one query: best and first (n_scales, n_documents). `scores` are
    the mean of the best windows then.
    """
