"""Packed documents as a kernel reads them: decoded first, where it can't read their packing."""

from __future__ import annotations

from late_rerank.codecs import Codec, Float32Codec, from_spec
from late_rerank.maxsim.base import Kernel
from late_rerank.types import F32, PackedVectors, TokenVectors


def token_maxima(kernel: Kernel, codec: Codec, query: TokenVectors, documents: PackedVectors) -> F32:
    """Find the token maxima of documents by a kernel. Decode them first if the kernel can't read this packing.

    Returns:
        (n_documents, n_query_tokens) float32, in the order of `documents`.
    """
    return kernel.token_maxima(query, scorable(kernel, codec, documents))


def scorable(kernel: Kernel, codec: Codec, documents: PackedVectors) -> PackedVectors:
    """Give documents in a packing that the kernel reads."""
    if documents.codec.name in kernel.codecs:
        return documents
    return Float32Codec().encode(decoded(codec, documents))


def decoded(codec: Codec, documents: PackedVectors) -> TokenVectors:
    """Unpack documents by their codec: the given one, or that of vectors which came with their documents."""
    spec = documents.codec
    return (codec if spec == codec.spec(spec.dim) else from_spec(spec)).decode(documents)
