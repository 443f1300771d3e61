"""The Kernel protocol, and the checks that every kernel makes before it reads a byte."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from late_rerank.errors import IncompatibleError
from late_rerank.types import F32, I64, PackedVectors, TokenVectors


@runtime_checkable
class Kernel(Protocol):
    """Computes MaxSim. Its law is `late_rerank.testing.KernelTests`.

    Attributes:
        name: Shown by `doctor` and `Reranker.stats()`.
        codecs: Names of the codecs whose packings the kernel scores without decoding. "float32" is always among them.
    """

    name: str
    codecs: frozenset[str]

    def score(self, query: TokenVectors, documents: PackedVectors) -> F32:
        """Score one query against packed documents by MaxSim.

        Args:
            query: One query; values (n_query_tokens, dim) float32.
            documents: Packed by a codec named in `codecs`; read in place.

        Returns:
            (n_documents,) float32, in the order of `documents`. A document without tokens scores -1e9.

        Raises:
            IncompatibleError: If `dim` of query and documents differ, or the codec isn't in `codecs`.
            ValueError: If a document holds NaN or infinity, because its bytes are damaged; the message names the document.

        Source: Khattab and Zaharia 2020 (ColBERT), equation 3; the empty rule is sentence-transformers 6.2's.
        """

    def token_maxima(self, query: TokenVectors, documents: PackedVectors) -> F32:
        """Find the best match of each query token in each document. Row sums are `score`.

        Returns:
            (n_documents, n_query_tokens) float32, in the order of `documents`.

        Raises:
            IncompatibleError: As in `score`.
            ValueError: As in `score`.
        """


def check_one_query(query: TokenVectors) -> None:
    """Refuse several queries, or none.

    Raises:
        ValueError: If `query` isn't exactly one query.
    """
    if len(query) != 1:
        raise ValueError(f"a kernel scores one query a call, got {len(query)}")


def check_scorable(kernel: Kernel, query: TokenVectors, documents: PackedVectors) -> None:
    """Refuse documents that the kernel can't score with this query.

    Raises:
        IncompatibleError: If `dim` of the two differ, or the kernel doesn't read this codec.
    """
    if query.dim != documents.codec.dim:
        raise IncompatibleError(
            f"the query has {query.dim} components a token, the documents {documents.codec.dim}: two different models"
        )
    if documents.codec.name not in kernel.codecs:
        raise IncompatibleError(
            f"kernel {kernel.name!r} scores {sorted(kernel.codecs)}, the documents are packed as {documents.codec.name!r}"
        )


def check_finite(values: NDArray[Any], lengths: I64, documents: I64) -> None:
    """Refuse NaN and infinity, to which damaged bytes decode. A maximum would drop NaN, or be NaN from there on.

    Args:
        values: (n_tokens,) or (n_tokens, dim): the scales of a block's tokens, or all their components.
        lengths: (n_documents,), in tokens; they sum to n_tokens.
        documents: (n_documents,), the documents' positions, for the message.

    Raises:
        ValueError: If a value is NaN or infinite; the message names the first such document.
    """
    # The sum of all values is finite only if every value is: one pass, no temporary array.
    with np.errstate(invalid="ignore", over="ignore"):
        if np.isfinite(values.sum(dtype=np.float32)):
            return
    finite = np.isfinite(values).reshape(len(values), -1).all(axis=1)
    if finite.all():
        return
    first = int(np.searchsorted(np.cumsum(lengths), np.flatnonzero(~finite)[0], side="right"))
    raise ValueError(
        f"document {documents[first]} holds NaN or infinity: its stored bytes are damaged, or weren't written by this codec"
    )
