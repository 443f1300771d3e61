"""Packed documents with their keys: what the store held, or what was encoded just now."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from late_rerank.types import PackedVectors


@dataclass(frozen=True)
class KeyedDocuments:
    """Packed documents and their keys, each key once."""

    keys: list[bytes]
    packed: PackedVectors

    @cached_property
    def rows(self) -> dict[bytes | None, int]:
        """Where each key's document stands. None, the key of blank texts, stands nowhere."""
        return dict(zip(self.keys, range(len(self.keys)), strict=True))

    def only(self, keys: Set[bytes]) -> KeyedDocuments:
        """Give the documents of these keys, of which each has one, over the same buffers."""
        if len(keys) == len(self.keys):
            return self
        rows = [row for row, key in enumerate(self.keys) if key in keys]
        return KeyedDocuments([self.keys[row] for row in rows], self.packed.take(np.array(rows, dtype=np.int64)))
