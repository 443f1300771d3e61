"""MaxSim compiled for the processor. Documents are read in place: nothing is joined, padded, converted or copied."""

from __future__ import annotations

from typing import Any

import numpy as np

from late_rerank.codecs import from_spec
from late_rerank.codecs.centre import CENTRE
from late_rerank.codecs.rotation import Rotation, rotation
from late_rerank.maxsim import _native
from late_rerank.maxsim.base import check_one_query, check_scorable
from late_rerank.maxsim.centre import add_centre
from late_rerank.maxsim.windows import WindowScores
from late_rerank.types import F32, I64, CodecSpec, PackedVectors, TokenVectors


class NativeKernel:
    """The fastest kernel on a CPU. Safe to share between threads; the GIL is released while it scores.

    float32 and float16 documents are multiplied in float32. For int8, int4 and binary documents the query is rounded to
    integers too, each token by its own scale (127 steps from zero, 64 on "avx2"). Products are summed in integers: a score
    is the same to the last bit on any number of threads and beside any other documents.

    Args:
        level: "avx512vnni", "avxvnni", "avx2" or "neon"; None for the processor's best level (`levels()`).
        n_threads: Threads that share the documents of one call, at most 1,024. The calling thread works too, and never waits
            for a thread that hasn't begun. More than one pays off from about 1,000 documents on.

    Raises:
        ValueError: If this processor can't run that level, or `n_threads` is no int from 1 to 1,024.
    """

    codecs = frozenset({"float32", "float16", "int8", "int4", "binary"})

    def __init__(self, level: str | None = None, *, n_threads: int = 1) -> None:
        here = levels()
        if not here:
            raise ValueError("this processor has none of the kernel's levels; use NumpyKernel")
        if level is not None and level not in here:
            raise ValueError(f"level={level!r} can't run on this processor; it has {', '.join(map(repr, here))}")
        if isinstance(n_threads, bool) or not isinstance(n_threads, int) or not 1 <= n_threads <= _MAX_THREADS:
            raise ValueError(f"n_threads must be an int from 1 to {_MAX_THREADS}, got {n_threads!r}")
        self.level = level or here[0]
        self.n_threads = n_threads
        self.name = f"native:{self.level}"

    def score(self, query: TokenVectors, documents: PackedVectors) -> F32:
        """As in Kernel."""
        check_one_query(query)
        scores: F32 = self.score_batch(query, documents)[0]
        return scores

    def score_batch(self, queries: TokenVectors, documents: PackedVectors) -> F32:
        """Score several queries against the same documents. The documents are read once.

        Returns:
            (n_queries, n_documents) float32; each row equals `score` of that query.

        Raises:
            IncompatibleError: As in `score`.
            ValueError: As in `score`.
        """
        scores = np.empty((len(queries), len(documents)), dtype=np.float32)
        self._into(queries, documents, scores=scores)
        return scores

    def window_scores(self, query: TokenVectors, documents: PackedVectors, strides: I64) -> WindowScores:
        """Score the best windows of documents, as the function `window_scores` does."""
        check_one_query(query)
        mean = np.empty((1, len(documents)), dtype=np.float32)
        best = np.empty((len(strides), len(documents)), dtype=np.float32)
        first = np.empty((len(strides), len(documents)), dtype=np.int64)
        self._into(query, documents, scores=mean, windows=(strides, best, first))
        return WindowScores(mean[0], best, first)

    def token_maxima(self, query: TokenVectors, documents: PackedVectors) -> F32:
        """As in Kernel."""
        check_one_query(query)
        maxima = np.empty((len(documents), len(query.values)), dtype=np.float32)
        self._into(query, documents, maxima=maxima)
        return maxima

    def _into(
        self,
        queries: TokenVectors,
        documents: PackedVectors,
        *,
        scores: F32 | None = None,
        maxima: F32 | None = None,
        windows: tuple[I64, F32, I64] | None = None,
    ) -> None:
        check_scorable(self, queries, documents)
        spec = documents.codec
        turned = _rotation(spec)
        try:
            _native.score_into(
                self.level,
                spec.name,
                np.require(queries.values, requirements=["C", "ALIGNED"]),
                np.require(queries.offsets, requirements=["C", "ALIGNED"]),
                documents.buffers,
                documents.buffer,
                documents.starts.get(next(iter(spec.columns))),
                documents.starts.get("scales"),
                documents.lengths,
                None if turned is None else (turned.signs, turned.permutation, turned.blocks),
                scores,
                maxima,
                self.n_threads,
                windows,
            )
        except TypeError:
            raise TypeError(_unfit(documents)) from None
        if CENTRE in spec.config:
            add_centre(queries, documents, maxima=maxima, scores=(scores, None if windows is None else windows[1]))


_MAX_THREADS = 1024


def levels() -> list[str]:
    """Name the levels that this processor can run, fastest first."""
    return _native.levels()


def _rotation(spec: CodecSpec) -> Rotation | None:
    """Find the rotation of the codes, if they are rotated. Columns and configs that this version doesn't write are refused."""
    from_spec(spec)
    if "rotation" not in spec.config:
        return None
    return rotation(spec.config["seed"], spec.dim)


def _unfit(documents: PackedVectors) -> str:
    arrays: dict[str, Any] = {"buffer": documents.buffer, "lengths": documents.lengths}
    arrays |= {f"starts[{name!r}]": starts for name, starts in documents.starts.items()}
    given = [
        f"{name} {array.shape} {array.dtype} with strides {array.strides}"
        if isinstance(array, np.ndarray)
        else f"{name} a {type(array).__name__}"
        for name, array in arrays.items()
    ]
    return (
        "packed documents must hold a tuple of 1-d uint8 buffers, and contiguous arrays of one entry a document: buffer int32, "
        f"lengths and the starts of columns {list(documents.codec.columns)} int64; got "
        f"{type(documents.buffers).__name__} of buffers, {', '.join(given)}"
    )
