"""Packed documents with their keys: what the store held, or what was encoded just now."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

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
