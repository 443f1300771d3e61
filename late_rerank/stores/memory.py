"""A store in this process's memory, bounded by bytes; least recently used documents go first."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any, NoReturn

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
    # One array a document, not one arena. An eviction must not overwrite memory that a reader is scoring: the reader's
    # PackedVectors keeps the array alive, and malloc reuses the rest.
    payload: Bytes
    length: int
    truncated: bool

    @property
    def size_bytes(self) -> int:
        return self.payload.nbytes + _OVERHEAD_BYTES


class _Documents:
    """The documents of all spaces of a store, least recently used first. Safe to share between threads.

    Attributes:
        by_name: Least recently used first.
        max_bytes: What they may take; None for no bound.
        lock: Held by whoever is alone.
    """

    def __init__(self, max_bytes: int | None) -> None:
        self.by_name: OrderedDict[_Name, _Document] = OrderedDict()
        self.max_bytes = max_bytes
        self._counts: Counter[bytes] = Counter()  # documents by prefix
        self._size_bytes = 0
        self._n_evicted = 0
        self.lock = guarded(Lock())

    def put(self, names: Sequence[_Name], documents: Sequence[_Document]) -> None:
        """Keep documents; the caller is alone."""
        for name, document in zip(names, documents, strict=True):
            # Larger than the bound by itself: letting it in would throw everything else out first.
            if self.max_bytes is not None and document.size_bytes > self.max_bytes:
                self._remove(name)
            else:
                self._add(name, document)

    def find(self, names: Sequence[_Name]) -> list[_Document | None]:
        """Find documents, None where there is none; each found one counts as used."""
        with self.lock:
            found = list(map(self.by_name.get, names))
            for name, document in zip(names, found, strict=True):
                if document is not None:
                    self.by_name.move_to_end(name)
        return found

    def delete(self, names: Sequence[_Name]) -> int:
        """Forget documents. Returns how many were here."""
        with self.lock:
            return sum(map(self._remove, names))

    def delete_all_of(self, prefixes: set[bytes]) -> int:
        """Forget every document of some spaces; the caller is alone. Returns how many there were."""
        names = [name for name in self.by_name if name[:_PREFIX_BYTES] in prefixes]
        return sum(map(self._remove, names))

    def count(self, prefix: bytes) -> int:
        """Count the documents of a space."""
        with self.lock:
            return self._counts[prefix]

    def stats(self) -> dict[str, Any]:
        """Count documents, bytes and evictions."""
        with self.lock:
            return {
                "n_documents": len(self.by_name),
                "size_bytes": self._size_bytes,
                "max_bytes": self.max_bytes,
                "n_evicted": self._n_evicted,
            }

    def clear(self) -> None:
        """Forget all; the caller is alone."""
        self.by_name.clear()
        self._counts.clear()
        self._size_bytes = 0

    def _add(self, name: _Name, document: _Document) -> None:
        self._remove(name)
        self.by_name[name] = document
        self._counts[name[:_PREFIX_BYTES]] += 1
        self._size_bytes += document.size_bytes
        while self.max_bytes is not None and self._size_bytes > self.max_bytes:
            self._remove(next(iter(self.by_name)))
            self._n_evicted += 1

    def _remove(self, name: _Name) -> bool:
        document = self.by_name.pop(name, None)
        if document is not None:
            self._counts[name[:_PREFIX_BYTES]] -= 1
            self._size_bytes -= document.size_bytes
        return document is not None


class MemoryStore(Store):
    """Token vectors in memory, until the process ends. Safe to share between threads.

    Args:
        max_bytes: The most bytes that the documents of all spaces may take together. None sets no bound. A document that is
            larger than the bound isn't kept.

    Raises:
        ValueError: If `max_bytes` is below 0.
    """

    def __init__(self, max_bytes: int | None = 2**30) -> None:
        if max_bytes is not None and max_bytes < 0:
            raise ValueError(f"max_bytes must be at least 0, or None for no bound, got {max_bytes}")
        self.max_bytes = max_bytes
        self._documents = _Documents(max_bytes)
        self._spaces: dict[_SpaceName, _MemorySpace] = {}
        self._prefixes: dict[_SpaceName, bytes] = {}  # a dropped space that is opened again keeps its prefix

    def space(self, fingerprint: str, codec: CodecSpec) -> Space:
        name = (fingerprint, repr(codec))
        with self._documents.lock:
            if name not in self._spaces:
                prefix = self._prefixes.setdefault(name, len(self._prefixes).to_bytes(_PREFIX_BYTES, "big"))
                self._spaces[name] = _MemorySpace(self._documents, self._spaces, name, prefix, codec)
            return self._spaces[name]

    def spaces(self) -> list[Space]:
        with self._documents.lock:
            return list(self._spaces.values())

    def drop(self, fingerprint: str) -> int:
        with self._documents.lock:
            for space in [space for space in self._spaces if space[0] == fingerprint]:
                del self._spaces[space]
            return self._documents.delete_all_of({prefix for name, prefix in self._prefixes.items() if name[0] == fingerprint})

    def stats(self) -> dict[str, Any]:
        return self._documents.stats()

    def close(self) -> None:
        """Forget every document and space. Fetched documents stay valid."""
        with self._documents.lock:
            self._documents.clear()
            self._spaces.clear()

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "a MemoryStore can't be pickled or copied: its documents are this process's. Make one in each process, or share a "
            "DiskStore"
        )


class _MemorySpace(Space):
    def __init__(
        self,
        documents: _Documents,
        spaces: dict[_SpaceName, _MemorySpace],
        name: _SpaceName,
        prefix: bytes,
        codec: CodecSpec,
    ) -> None:
        super().__init__(name[0], codec)
        self.name = name
        self.prefix = prefix
        self._documents = documents
        self._spaces = spaces

    def get(self, keys: Sequence[bytes]) -> Fetched:
        answers = self._documents.find(self._names(keys))
        payloads = [None if answer is None else answer.payload for answer in answers]
        documents = [answer for answer in answers if answer is not None]
        lengths = [document.length for document in documents]
        return one_buffer_each(self.codec, payloads, lengths, [document.truncated for document in documents])

    def missing(self, keys: Sequence[bytes]) -> I64:
        answers = self._documents.find(self._names(keys))
        return np.array([i for i, answer in enumerate(answers) if answer is None], dtype=np.int64)

    def delete(self, keys: Sequence[bytes]) -> int:
        return self._documents.delete(self._names(keys))

    def __len__(self) -> int:
        return self._documents.count(self.prefix)

    def _put(self, keys: Sequence[bytes], packed: PackedVectors) -> None:
        starts, sizes = layout(self.codec.columns, packed.lengths)
        documents = []
        for i, size in enumerate(sizes):
            payload = np.empty(size, dtype=np.uint8)
            copy_columns(packed, i, starts, payload)
            payload.setflags(write=False)  # fetched documents are this memory itself
            documents.append(_Document(payload, int(packed.lengths[i]), bool(packed.truncated[i])))
        with self._documents.lock:
            self._spaces.setdefault(self.name, self)  # it may have been dropped while somebody held it
            self._documents.put(self._names(keys), documents)

    def _names(self, keys: Sequence[bytes]) -> list[_Name]:
        return [self.prefix + key for key in keys]
