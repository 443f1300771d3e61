"""Packed documents with their keys: what the store held, what was encoded just now, or what came with the candidates."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from late_rerank.codecs import codec
from late_rerank.types import GivenVectors, PackedVectors


@dataclass(frozen=True)
class KeyedDocuments:
    """Packed documents and their keys, each key once."""

    keys: list[bytes]
    packed: PackedVectors

    @cached_property
    def rows(self) -> dict[bytes | None, int]:
        """Where each key's document stands. None, the key of blank texts, stands nowhere."""
        return dict(zip(self.keys, range(len(self.keys)), strict=True))

    def under(self, names: Mapping[bytes, bytes]) -> KeyedDocuments:
        """Give documents under other keys, over the same buffers.

        Args:
            names: The other key -> the key here. Documents that aren't here are left out.
        """
        rows = {name: self.rows[key] for name, key in names.items() if key in self.rows}
        return KeyedDocuments(list(rows), self.packed.take(np.array(list(rows.values()), dtype=np.int64)))

    def only(self, keys: Set[bytes]) -> KeyedDocuments:
        """Give the documents of these keys, of which each has one, over the same buffers."""
        if len(keys) == len(self.keys):
            return self
        rows = [row for row, key in enumerate(self.keys) if key in keys]
        return KeyedDocuments([self.keys[row] for row in rows], self.packed.take(np.array(rows, dtype=np.int64)))


def packed_as_given(given: Mapping[bytes, GivenVectors]) -> Iterator[KeyedDocuments]:
    """Give token vectors that came with candidates as packed documents: where they lie, in their own precision.

    Returns:
        One batch for each dtype, since a kernel call takes one packing.
    """
    for dtype in dict.fromkeys(vectors.dtype for vectors in given.values()):
        chosen = {key: vectors for key, vectors in given.items() if vectors.dtype == dtype}
        rows = list(chosen.values())
        spec = codec(dtype.name).spec(rows[0].dim)
        n = len(rows)
        packed = PackedVectors(
            spec,
            tuple(vectors.buffer for vectors in rows),
            np.arange(n, dtype=np.int32),
            {name: np.zeros(n, dtype=np.int64) for name in spec.columns},
            np.array([len(vectors) for vectors in rows], dtype=np.int64),
            np.zeros(n, dtype=np.bool_),
        )
        yield KeyedDocuments(list(chosen), packed)
