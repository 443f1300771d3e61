"""Candidates that the store doesn't hold: they are encoded for the query, and kept where the store can keep them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from threading import Lock

from late_rerank.codecs import Codec
from late_rerank.encode import Encoder
from late_rerank.errors import StoreError
from late_rerank.processes.forks import guarded
from late_rerank.stores import Space
from late_rerank.timing import Timer
from late_rerank.vectors.documents import KeyedDocuments
from late_rerank.vectors.indexing import encode_and_pack
from late_rerank.vectors.sharing import SharedEncoding
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
        self._lock = guarded(Lock())
        self._keeps = True
        self._is_closed = False
        self._shared = SharedEncoding(self._encoded, batch_size, is_kept=lambda: self._keeps)
        self.n_not_stored = 0

    @property
    def n_waiting(self) -> int:
        """Documents that are being encoded, for whatever call, or wait for it."""
        return self._shared.n_waiting

    def encode(
        self,
        keys: list[bytes],
        texts: Mapping[bytes, str],
        timer: Timer,
        *,
        until: float | None = None,
        looked: float | None = None,
    ) -> Iterator[KeyedDocuments]:
        """The documents of these keys, batch by batch, possibly with others; each batch is in the store before it is given.

        Args:
            keys: In this order; what another call has begun with isn't encoded twice.
            texts: Of the keys, and possibly of others.
            timer: "encode_missing" is counted.
            until: Of `time.monotonic()`: what isn't there by then is not given, but encoded later, behind what calls wait for.
            looked: When the store was asked for them, of `time.monotonic()`; None for now.

        Raises:
            ValueError: The encoder gave NaN or infinity, or not one document a text; names the document.
        """
        if not keys:
            return
        documents = self._shared.documents({key: texts[key] for key in keys}, until, looked=looked)
        while True:
            with timer.stage("encode_missing"):
                found = next(documents, None)
            if found is None:
                return
            yield found

    def close(self) -> None:
        """Encode no more of what calls didn't wait for. What runs isn't waited for."""
        self._is_closed = True
        self._shared.close()

    def _encoded(self, texts: Mapping[bytes, str], stored: set[bytes]) -> list[KeyedDocuments]:
        found = self._fetched([key for key in texts if key in stored]) if stored else []
        rest = [key for key in texts if not any(key in documents.rows for documents in found)]
        if rest:
            documents = KeyedDocuments(rest, encode_and_pack(self._encoder, self._codec, [texts[key] for key in rest]))
            self._keep(documents)
            found.append(documents)
        return found

    def _fetched(self, keys: list[bytes]) -> list[KeyedDocuments]:
        fetched = self._space.get(keys)
        if not len(fetched.found):
            return []
        return [KeyedDocuments([keys[i] for i in fetched.positions.tolist()], fetched.found)]

    def _keep(self, documents: KeyedDocuments) -> None:
        try:
            self._space.put(documents.keys, documents.packed)
            self._keeps = True
        except StoreError as error:
            # A full disk or a read-only store must not cost an answer: the vectors are here. The next batch is tried
            # again, since a disk may have room by then.
            if self._is_closed:  # and the store with it: nobody waits for what still runs
                return
            self._keeps = False
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
