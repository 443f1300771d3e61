"""One space of a RemoteStore: keys in, documents out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from late_rerank.stores.base import Space
from late_rerank.stores.remote import keys as keys_
from late_rerank.stores.remote.counting import count
from late_rerank.stores.remote.reading import Answer, nothing, read
from late_rerank.stores.remote.shared import Shared
from late_rerank.stores.remote.snapshot import Snapshot
from late_rerank.types import I64, CodecSpec, Fetched, PackedVectors


class RemoteSpace(Space):
    """The documents of one encoder under one codec, in object storage. Read-only."""

    def __init__(self, shared: Shared, name: str, fingerprint: str, codec: CodecSpec) -> None:
        super().__init__(fingerprint, codec)
        self.name = name
        self._shared = shared

    def get(self, keys: Sequence[bytes]) -> Fetched:
        self._shared.refuse_if_closed()
        answer = self._shared.ask(lambda snapshot: self._get(snapshot, keys), len(keys)) if len(keys) else None
        if answer is None:
            return nothing(self.codec, len(keys))
        self._shared.count_damage(answer.n_damaged)
        return answer.fetched

    def missing(self, keys: Sequence[bytes]) -> I64:
        """Find out which documents are missing, by their keys alone."""
        self._shared.refuse_if_closed()
        places = self._shared.ask(lambda snapshot: self._find(snapshot, keys), len(keys)) if len(keys) else None
        if places is None:
            return np.arange(len(keys), dtype=np.int64)
        self._shared.count_damage(places.n_damaged)
        return np.flatnonzero(places.run < 0)

    def delete(self, keys: Sequence[bytes]) -> int:  # noqa: ARG002 - a space's interface
        """Raise a StoreError: nothing can be deleted through an open store."""
        self._shared.refuse_change()

    def __len__(self) -> int:
        """Count the documents here. If several runs have large keys, a document in two of them counts twice."""
        return count(self._shared.objects, self._shared.snapshot(), self.name).n_documents

    def _put(self, keys: Sequence[bytes], packed: PackedVectors) -> None:  # noqa: ARG002 - a space's interface
        self._shared.refuse_if_closed()
        if keys:
            self._shared.refuse_change()

    def _find(self, snapshot: Snapshot, keys: Sequence[bytes]) -> keys_.Places:
        return keys_.find(self._shared.objects, snapshot.keys_of(self.name), keys)

    def _get(self, snapshot: Snapshot, keys: Sequence[bytes]) -> Answer:
        runs = snapshot.keys_of(self.name)
        places = keys_.find(self._shared.objects, runs, keys)
        return read(self._shared.objects, runs, self.codec, keys, places)
