"""Rows of somebody else's table -> packed documents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np

from late_rerank.errors import StoreError
from late_rerank.stores.base import Packs, Space
from late_rerank.stores.existing.rows import Rows, joined
from late_rerank.types import I64, CodecSpec, Fetched, PackedVectors, RowKey


class Table(Protocol):
    """What a space asks for rows: an ExistingVectorsStore."""

    place: str
    dim: int

    def fetch(self, names: Sequence[str]) -> Mapping[str, Rows]:
        """Read rows."""

    def present(self, names: Sequence[str]) -> set[str]:
        """Find out which rows are there."""

    def count(self) -> int:
        """Count the rows."""

    def refuse_if_closed(self) -> None:
        """Raise a StoreError if the store was closed."""


class ExistingSpace(Space):
    """The rows of one table, packed by one codec. Read-only.

    Args:
        table: Has the rows.
        packs: Packs them.
        fingerprint: Of the model that the rows were declared to be of.
        codec: The spec of what `packs` gives.
    """

    def __init__(self, table: Table, packs: Packs, fingerprint: str, codec: CodecSpec) -> None:
        super().__init__(fingerprint, codec)
        self._table, self._packs = table, packs

    def get(self, keys: Sequence[bytes]) -> Fetched:
        """Find rows by their keys, in one round trip. Keys that stand for no row are missing.

        Raises:
            StoreFormatError: If a row holds no vectors of this width, or NaN.
            StoreError: If the table can't be read.
        """
        self._table.refuse_if_closed()
        wanted = dict.fromkeys(key.row for key in keys if isinstance(key, RowKey))
        fetched = self._table.fetch(list(wanted)) if wanted else {}
        place = {name: i for i, name in enumerate(fetched)}
        packed = self._packs.encode(joined(fetched, self._table.dim, self._table.place))
        which = _which(keys, place)
        positions = np.flatnonzero(which >= 0)
        return Fetched(packed.take(which[positions]), positions, np.flatnonzero(which < 0))

    def missing(self, keys: Sequence[bytes]) -> I64:
        """Find out which rows are missing, without fetching the others."""
        self._table.refuse_if_closed()
        wanted = dict.fromkeys(key.row for key in keys if isinstance(key, RowKey))
        present = self._table.present(list(wanted)) if wanted else set()
        return np.flatnonzero(_which(keys, dict.fromkeys(present, 0)) < 0)

    def _put(self, keys: Sequence[bytes], packed: PackedVectors) -> None:
        raise StoreError(
            f"{len(keys)} documents of {packed.n_tokens} tokens can't be kept in {self._table.place}, whose rows are somebody "
            "else's; put a near store before it, TieredStore(near, far), which keeps them"
        )

    def delete(self, keys: Sequence[bytes]) -> int:
        """Refuse: the rows are somebody else's.

        Raises:
            StoreError: Always.
        """
        raise StoreError(f"{len(keys)} documents can't be deleted from {self._table.place}, whose rows are somebody else's")

    def __len__(self) -> int:
        self._table.refuse_if_closed()
        return self._table.count()


def _which(keys: Sequence[bytes], place: Mapping[str, int]) -> I64:
    """Give the place of each key's row, (n_keys,) int64; -1 where there is none."""
    return np.array([place.get(key.row, -1) if isinstance(key, RowKey) else -1 for key in keys], dtype=np.int64)
