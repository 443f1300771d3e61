"""What compiled kernels must give: the float64 reference, on the query rounded to integers as they round it."""

import numpy as np

from late_rerank.codecs import codec
from late_rerank.maxsim import reference
from late_rerank.testing.vectors import unpacked

FLOATS = ("float32", "float16")


def rounded_query(query, codec_name, dim, limit):
    """The query's values as a kernel uses them.

    Args:
        query: (n_query_tokens, dim) float32, not rotated.
        codec_name: Of the documents. For floats nothing is rounded.
        dim: Components of a token.
        limit: A token's largest component is rounded to this integer: 127, or 64 on "avx2".

    Returns:
        (n_query_tokens, dim) float64, rotated if the codec rotates: to be matched with rows of `unpack`.
    """
    assert query.shape[1] == dim
    assert query.dtype == np.float32
    if codec_name in FLOATS:
        return query.astype(np.float64)
    # Every step in float32, as in the kernel: a product just beside .5 is rounded to the same side.
    rotated = codec(codec_name).rotate(query)
    largest = np.abs(rotated).max(axis=1, initial=0, keepdims=True)
    # Smaller ones count as zero: their inverse would overflow. 1 stands for them, so that nothing is divided by zero.
    zero = largest < np.float32(1e-30)
    largest[zero] = 1
    codes = np.rint(rotated * (np.float32(limit) / largest)).astype(np.float64)
    return np.where(zero, 0.0, codes * (largest / np.float32(limit)))


def expected_maxima(query_values, packed):
    """(n_documents, n_query_tokens) float64, of a query from `rounded_query`."""
    rows = [reference.token_maxima(query_values, document) for document in unpacked(packed)]
    return np.array(rows, dtype=np.float64).reshape(len(packed), len(query_values))


def expected_scores(query_values, packed):
    """(n_documents,) float64, of a query from `rounded_query`."""
    return reference.score(query_values, unpacked(packed))
