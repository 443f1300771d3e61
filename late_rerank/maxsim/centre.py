"""What a codec's centre adds to scores. Kernels match a query with differences to the centre, and call this afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from late_rerank.codecs import from_spec
from late_rerank.types import F32, PackedVectors, TokenVectors


def add_centre(
    queries: TokenVectors, documents: PackedVectors, *, maxima: F32 | None = None, scores: Sequence[F32 | None] = ()
) -> None:
    """Add the queries' products with the centre of the documents' codec, in place. Without a centre nothing changes.

    A document's vector d is the centre m and a difference, so q.d = q.m + q.(d - m). The first term is the same for all vectors
    of all documents: it moves the maxima and changes no best match and no best window. Documents without tokens keep their
    scores.

    Args:
        queries: One or several.
        documents: Any.
        maxima: (n_documents, n_query_tokens), of one query.
        scores: Arrays (n_queries, n_documents); or (n_scales, n_documents), of one query.
    """
    centre = from_spec(documents.codec).centre
    if centre is None:
        return
    # Not by a BLAS, which would make a query's products depend on the queries beside it.
    products = (queries.values * centre).sum(axis=1)
    has_tokens = documents.lengths > 0
    if maxima is not None:
        np.add(maxima, products, out=maxima, where=has_tokens[:, None])
    sums = np.array([products[start:end].sum() for start, end in pairwise(queries.offsets.tolist())], dtype=np.float32)
    for array in scores:
        if array is not None:
            np.add(array, sums[:, None], out=array, where=has_tokens)
