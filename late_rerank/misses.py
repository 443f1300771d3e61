"""Candidates that the store doesn't hold: they are encoded for the query, and kept where the store can keep them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from threading import Lock

from late_rerank.codecs import Codec
from late_rerank.encode import Encoder
from late_rerank.errors import StoreError
from late_rerank.index import encode_and_pack
from late_rerank.pool import KeyedDocuments
from late_rerank.stores import Space
from late_rerank.timing import Timer
from late_rerank.warn import warn_caller


class MissEncoder:
    """Encodes misses of one space. Safe to share between threads.

    Args:
        encoder: Whose fingerprint the space has.
        codec: Which the space was opened with.
        space: Where they go.
        batch_size: Documents encoded between two puts.

    Attributes:
        n_not_stored: Documents that were encoded, but that the store could not keep.
    """

    def __init__(self, encoder: Encoder, codec: Codec, space: Space, batch_size: int) -> None:
        self._encoder = encoder
        self._codec = codec
        self._space = space
        self._batch_size = batch_size
        self._lock = Lock()
        self.n_not_stored = 0

    def encode(self, keys: list[bytes], texts: Mapping[bytes, str], timer: Timer) -> Iterator[KeyedDocuments]:
        """The documents of these keys, batch by batch; each batch is put into the store before it is given.

        Raises:
            ValueError: The encoder gave NaN or infinity, or not one document a text; names the document.
        """
        for start in range(0, len(keys), self._batch_size):
            with timer.stage("encode_missing"):
                documents = self._encoded(keys[start : start + self._batch_size], texts)
                self._keep(documents)
            yield documents

    def _encoded(self, keys: list[bytes], texts: Mapping[bytes, str]) -> KeyedDocuments:
        return KeyedDocuments(keys, encode_and_pack(self._encoder, self._codec, [texts[key] for key in keys]))

    def _keep(self, documents: KeyedDocuments) -> None:
        try:
            self._space.put(documents.keys, documents.packed)
        except StoreError as error:
            # A full disk or a read-only store must not cost an answer: the vectors are here. The next batch is tried
            # again, since a disk may have room by then.
            with self._lock:
                first = self.n_not_stored == 0
                self.n_not_stored += len(documents.keys)
            if first:
                _warn(error)


def _warn(error: StoreError) -> None:
    warn_caller(
        "the store can't keep new documents, so they are encoded anew for each query (Reranker.stats()['n_not_stored'] counts "
        f"them): {error}"
    )
