"""A store in this process's memory, bounded by bytes; least recently used documents go first."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any

import numpy as np

from late_rerank.processes.forks import guarded
from late_rerank.stores.base import Space, Store
from late_rerank.stores.record import copy_columns, layout, one_buffer_each
from late_rerank.types import I64, Bytes, CodecSpec, Fetched, PackedVectors

_SpaceName = tuple[str, str]
# 8 bytes for the space, then the key: faster to make and to hash than a tuple.
_Name = bytes
_PREFIX_BYTES = 8

# What Python itself takes for one document: array, key, entry. Else a million empty documents would cost nothing.
_OVERHEAD_BYTES = 400


@dataclass(frozen=True, slots=True)
class _Document:
    # One array a document, not one arena: memory freed by an eviction can't be written over while a reader scores in
    # it, since the reader's PackedVectors keeps the array alive. malloc does the rest.
    payload: Bytes
    length: int
    truncated: bool

    @property
    def size_bytes(self) -> int:
        return self.payload.nbytes + _OVERHEAD_BYTES


class MemoryStore(Store):
    """Token vectors in memory, gone with the process. Safe to share between threads.

    Args:
        max_bytes: What the documents of all spaces together may take; None for no bound. A document that is larger
            than the bound by itself is not kept.

    Raises:
        ValueError: `max_bytes` is below 0.
    """

    def __init__(self, max_bytes: int | None = 2**30) -> None:
        if max_bytes is not None and max_bytes < 0:
            raise ValueError(f"max_bytes must be at least 0, or None for no bound, got {max_bytes}")
        self.max_bytes = max_bytes
        self._documents: OrderedDict[_Name, _Document] = OrderedDict()  # least recently used first
        self._spaces: dict[_SpaceName, _MemorySpace] = {}
        self._prefixes: dict[_SpaceName, bytes] = {}  # a dropped space that is opened again keeps its prefix
        self._counts: Counter[bytes] = Counter()  # documents by prefix
        self._size_bytes = 0
        self._n_evicted = 0
        self._lock = guarded(Lock())

    def space(self, fingerprint: str, codec: CodecSpec) -> Space:
        name = (fingerprint, repr(codec))
        with self._lock:
            if name not in self._spaces:
                prefix = self._prefixes.setdefault(name, len(self._prefixes).to_bytes(_PREFIX_BYTES, "big"))
                self._spaces[name] = _MemorySpace(self, name, prefix, codec)
            return self._spaces[name]

    def spaces(self) -> list[Space]:
        with self._lock:
            return list(self._spaces.values())

    def drop(self, fingerprint: str) -> int:
        with self._lock:
            dropped = {prefix for name, prefix in self._prefixes.items() if name[0] == fingerprint}
            names = [name for name in self._documents if name[:_PREFIX_BYTES] in dropped]
            for name in names:
                self._remove(name)
            for space in [space for space in self._spaces if space[0] == fingerprint]:
                del self._spaces[space]
        return len(names)

    def stats(self) -> dict[str, Any]:
        with self._lock:
            return {
                "n_documents": len(self._documents),
                "size_bytes": self._size_bytes,
                "max_bytes": self.max_bytes,
                "n_evicted": self._n_evicted,
            }

    def close(self) -> None:
        with self._lock:
            self._documents.clear()
            self._spaces.clear()
            self._counts.clear()
            self._size_bytes = 0

    # What follows is called by the spaces; `_remove` and `_add` with the lock held.

    def _add(self, name: _Name, document: _Document) -> None:
        self._remove(name)
        self._documents[name] = document
        self._counts[name[:_PREFIX_BYTES]] += 1
        self._size_bytes += document.size_bytes
        while self.max_bytes is not None and self._size_bytes > self.max_bytes:
            self._remove(next(iter(self._documents)))
            self._n_evicted += 1

    def _remove(self, name: _Name) -> bool:
        document = self._documents.pop(name, None)
        if document is not None:
            self._counts[name[:_PREFIX_BYTES]] -= 1
            self._size_bytes -= document.size_bytes
        return document is not None

    def _put(self, space: _MemorySpace, names: Sequence[_Name], documents: Sequence[_Document]) -> None:
        with self._lock:
            self._spaces.setdefault(space.name, space)  # it may have been dropped while somebody held it
            for name, document in zip(names, documents, strict=True):
                # Too large for the bound by itself: letting it in would throw everything else out first.
                if self.max_bytes is not None and document.size_bytes > self.max_bytes:
                    self._remove(name)
                else:
                    self._add(name, document)

    def _find(self, names: Sequence[_Name]) -> list[_Document | None]:
        with self._lock:
            found = list(map(self._documents.get, names))
            for name, document in zip(names, found, strict=True):
                if document is not None:
                    self._documents.move_to_end(name)
        return found

    def _delete(self, names: Sequence[_Name]) -> int:
        with self._lock:
            return sum(self._remove(name) for name in names)

    def _count(self, prefix: bytes) -> int:
        with self._lock:
            return self._counts[prefix]


class _MemorySpace(Space):
    def __init__(self, store: MemoryStore, name: _SpaceName, prefix: bytes, codec: CodecSpec) -> None:
        super().__init__(name[0], codec)
        self._store = store
        self._prefix = prefix
        self.name = name

    def _put(self, keys: Sequence[bytes], packed: PackedVectors) -> None:
        starts, sizes = layout(self.codec.columns, packed.lengths)
        documents = []
        for i, size in enumerate(sizes):
            payload = np.empty(size, dtype=np.uint8)
            copy_columns(packed, i, starts, payload)
            payload.setflags(write=False)  # fetched documents are this memory itself
            documents.append(_Document(payload, int(packed.lengths[i]), bool(packed.truncated[i])))
        self._store._put(self, self._names(keys), documents)  # noqa: SLF001 - a space is a part of its store

    def get(self, keys: Sequence[bytes]) -> Fetched:
        answers = self._store._find(self._names(keys))  # noqa: SLF001
        payloads = [None if answer is None else answer.payload for answer in answers]
        documents = [answer for answer in answers if answer is not None]
        lengths = [document.length for document in documents]
        return one_buffer_each(self.codec, payloads, lengths, [document.truncated for document in documents])

    def missing(self, keys: Sequence[bytes]) -> I64:
        answers = self._store._find(self._names(keys))  # noqa: SLF001
        return np.array([i for i, answer in enumerate(answers) if answer is None], dtype=np.int64)

    def delete(self, keys: Sequence[bytes]) -> int:
        return self._store._delete(self._names(keys))  # noqa: SLF001

    def __len__(self) -> int:
        return self._store._count(self._prefix)  # noqa: SLF001

    def _names(self, keys: Sequence[bytes]) -> list[_Name]:
        return [self._prefix + key for key in keys]
