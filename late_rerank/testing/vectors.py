"""Random token vectors and packed documents, for the suites."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from late_rerank.codecs import BinaryCodec, Codec, codec, from_spec
from late_rerank.types import F32, Bytes, CodecSpec, PackedVectors, TokenVectors


def random_vectors(lengths: Sequence[int], dim: int, seed: int = 0) -> TokenVectors:
    """Make unit vectors of texts of these lengths, in tokens. Every third text is marked truncated."""
    values = np.random.default_rng(seed).standard_normal((sum(lengths), dim)).astype(np.float32)
    values /= np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-9)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return TokenVectors(values, offsets, np.arange(len(lengths)) % 3 == 2)


def random_packed(lengths: Sequence[int], spec: CodecSpec, seed: int = 0) -> PackedVectors:
    """Make documents of random bytes: a store must carry bytes that no codec would write."""
    sizes = np.asarray(lengths, dtype=np.int64)
    ends = np.cumsum(sizes)
    starts, size = {}, 0
    for name, width in spec.columns.items():
        starts[name] = size + (ends - sizes) * width
        size += int(sizes.sum()) * width
    buffer = np.random.default_rng(seed).integers(0, 256, size, dtype=np.uint8)
    truncated = np.arange(len(sizes)) % 3 == 2
    return PackedVectors(spec, (buffer,), np.zeros(len(sizes), np.int32), starts, sizes, truncated)


def scattered(packed: PackedVectors) -> PackedVectors:
    """Copy each document into a buffer of its own, its columns at odd places, as a store might hold them."""
    buffers: list[Bytes] = []
    starts = {name: np.empty(len(packed), dtype=np.int64) for name in packed.codec.columns}
    for i in range(len(packed)):
        parts: list[Bytes] = [np.full(64, 255, np.uint8)]
        for name in reversed(list(packed.codec.columns)):
            starts[name][i] = sum(map(len, parts))
            column = packed.column(name, i)
            parts += [column, np.full(-len(column) % 64 + 64, 255, np.uint8)]
        buffers.append(np.concatenate(parts))
    which = np.arange(len(packed), dtype=np.int32)
    return PackedVectors(packed.codec, tuple(buffers), which, starts, packed.lengths, packed.truncated)


def same_documents(left: PackedVectors, right: PackedVectors) -> bool:
    """Whether both hold the same bytes, lengths and flags, document by document, wherever the bytes lie."""
    return (
        left.codec == right.codec
        and left.lengths.tolist() == right.lengths.tolist()
        and left.truncated.tolist() == right.truncated.tolist()
        and all(
            left.column(name, i).tobytes() == right.column(name, i).tobytes()
            for name in left.codec.columns
            for i in range(len(left))
        )
    )


def codecs_named(names: Iterable[str], dim: int) -> list[Codec]:
    """Make the codecs of these names, for vectors of `dim` components. "binary" is made without a centre, and with one too."""
    made = [codec(name) for name in sorted(names)]
    return [*made, *(BinaryCodec(random_vectors([1], dim, seed=7).values[0]) for name in names if name == BinaryCodec.name)]


def scored_by_reference(
    scored: NDArray[np.floating], query: F32, packed: PackedVectors
) -> tuple[NDArray[np.float64], list[NDArray[np.float64]]]:
    """Give a query and documents whose products in float64 are a kernel's.

    Args:
        scored: (n_query_tokens, dim), the query as the kernel multiplies it with the rows of `Codec.unpack`.
        query: (n_query_tokens, dim), the query itself.
        packed: The documents.

    Returns:
        Both with one more component if the documents' codec has a centre. It is the query's product with the centre, and 1 in
        each row.
    """
    wide, documents, centre = np.asarray(scored, np.float64), unpacked(packed), from_spec(packed.codec).centre
    if centre is None:
        return wide, documents
    products = query.astype(np.float64) @ centre.astype(np.float64)
    return np.column_stack([wide, products]), [np.column_stack([rows, np.ones(len(rows))]) for rows in documents]


def unpacked(packed: PackedVectors) -> list[NDArray[np.float64]]:
    """Unpack each document: (n_tokens, dim) float64, scaled, in the codec's rotation, without its centre."""
    spec, documents = packed.codec, []
    for i in range(len(packed)):
        rows, scales = codec(spec.name).unpack({name: packed.column(name, i) for name in spec.columns}, spec.dim)
        wide = rows.astype(np.float64)
        documents.append(wide if scales is None else wide * scales[:, None])
    return documents
