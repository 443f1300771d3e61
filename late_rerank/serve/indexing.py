"""Documents -> the store, ahead of queries: one request at a time, as far as its time goes."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import astuple
from threading import Event, Lock

from late_rerank.errors import StoreError
from late_rerank.reranker import Reranker
from late_rerank.serve.errors import RequestError
from late_rerank.types import Candidate
from late_rerank.vectors.contents import BATCH_CHARS, Contents
from late_rerank.vectors.indexing import IndexReport
from late_rerank.vectors.sharing import SHARED_BATCH

logger = logging.getLogger("late_rerank.serve")


class Indexer:
    """Indexes for one process. Safe to share between threads.

    Args:
        reranker: Encodes and stores.
        timeout_s: A request's time, in seconds.
    """

    def __init__(self, reranker: Reranker, timeout_s: float) -> None:
        self._reranker = reranker
        self._timeout_s = timeout_s
        self._contents = Contents(reranker.encoder)
        # Two requests at once would be no faster, and documents that are in both would be encoded twice.
        self._turn = Lock()
        self._is_ending = Event()

    def index(self, documents: Sequence[str | Candidate], arrived: float) -> IndexReport:
        """Encode and store documents.

        Args:
            documents: Documents in the store already cost nothing.
            arrived: When they came, of `time.monotonic()`.

        Raises:
            RequestError: If the time is up (504), or the server ends or its store can't keep the documents (503). Those stored
                until then stay. Also if the store is in object storage (400).
        """
        try:
            self._reranker.store.refuse_index()
        except StoreError as error:
            raise RequestError(
                400,
                "this server's store is in object storage, and is only read here: add documents by `late-rerank index PATH "
                "--store URL` or `late-rerank store publish DIR URL`; this server finds them soon",
            ) from error
        until = arrived + self._timeout_s
        if not self._turn.acquire(timeout=max(0.0, until - time.monotonic())):
            raise RequestError(504, "documents of other requests are being encoded; try again", retry_after_s=10)
        try:
            return self._indexed(documents, until)
        except StoreError as error:
            logger.warning("the store can't keep documents: %s", type(error).__name__)
            raise RequestError(503, "the store can't keep documents now; try again", retry_after_s=30) from error
        finally:
            self._turn.release()

    def close(self) -> None:
        """End a request that runs after its current part."""
        self._is_ending.set()

    def _indexed(self, documents: Sequence[str | Candidate], until: float) -> IndexReport:
        done = IndexReport(0, 0, 0, 0, 0, 0.0)
        for part in self._parts(documents):
            is_ending = self._is_ending.is_set()
            if done.n_documents and (is_ending or time.monotonic() > until):
                raise RequestError(
                    503 if is_ending else 504,
                    f"{done.n_documents} of {len(documents)} documents are stored by now: send all of them again, those cost "
                    "nothing, or fewer at once",
                    retry_after_s=1,
                )
            report = self._reranker.index(part)
            done = IndexReport(*(a + b for a, b in zip(astuple(done), astuple(report), strict=True)))
        return done

    def _parts(self, documents: Sequence[str | Candidate]) -> Iterator[list[str | Candidate]]:
        """Split documents into parts, each as large as a shared batch; the clock is looked at between parts alone."""
        part: list[str | Candidate] = []
        n_chars = 0
        for document in documents:
            part.append(document)
            content = document if isinstance(document, str) else self._reranker.content_of(document)
            n_chars += self._contents.weight(content)
            if len(part) == SHARED_BATCH or n_chars >= BATCH_CHARS:
                yield part
                part, n_chars = [], 0
        if part:
            yield part
