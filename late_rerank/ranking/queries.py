"""Queries -> token vectors: encoded once each, checked, and warned about where the model cuts one."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Lock

import numpy as np

from late_rerank.encode import Encoder
from late_rerank.encode.describe import described, query_fingerprint
from late_rerank.encode.unknown import REMEDY, Reading
from late_rerank.processes.forks import guarded
from late_rerank.types import QueryVectors
from late_rerank.vectors.encoding import check_vectors
from late_rerank.warn import warn_caller


class Queries:
    """Encodes queries for one encoder. Safe to share between threads.

    Args:
        encoder: Encodes them.
    """

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self._lock = guarded(Lock())
        self._has_warned = False
        self._unread: set[str] = set()  # scripts

    def encode(self, queries: Sequence[str], known: Sequence[QueryVectors | None] | None = None) -> list[QueryVectors]:
        """Give each query's vectors, in order.

        Args:
            queries: None blank.
            known: For each query vectors that came with an earlier ranking, or None. They are used again if this encoder made
                them for this query; all other queries are encoded in one call.

        Raises:
            ValueError: If the encoder gave NaN or infinity, or not one entry a query.
        """
        given = known if known is not None else [None] * len(queries)
        found = [each if self._fits(each, query) else None for each, query in zip(given, queries, strict=True)]
        rest = [query for query, each in zip(queries, found, strict=True) if each is None]
        fresh = iter(self._encoded(rest)) if rest else iter(())
        return [each or next(fresh) for each in found]

    def _fits(self, known: QueryVectors | None, query: str) -> bool:
        return known is not None and known.query == query and known.fingerprint == query_fingerprint(self._encoder)

    def _encoded(self, queries: Sequence[str]) -> list[QueryVectors]:
        vectors = self._encoder.encode_query(queries)
        check_vectors(vectors, queries, self._encoder.dim, "query")
        if vectors.truncated.any():
            self._warn(queries[int(np.flatnonzero(vectors.truncated)[0])])
        if vectors.unknown.any():
            for i in np.flatnonzero(vectors.unknown).tolist():
                self._warn_of_script(queries[i])
        fingerprint = query_fingerprint(self._encoder)
        return [QueryVectors(query, fingerprint, vectors.one(i)) for i, query in enumerate(queries)]

    def _warn_of_script(self, query: str) -> None:
        """Warn of a query that the tokenizer can't read, once a script. The query isn't quoted: servers log this."""
        reading = Reading()
        reading.read(self._encoder, query, "query")
        if 2 * reading.n_unknown <= reading.n_tokens:
            return
        with self._lock:
            first = reading.script not in self._unread
            self._unread.add(reading.script)
        if first:
            n_known = reading.n_tokens - reading.n_unknown
            part = f"{n_known} of the {reading.n_tokens}" if n_known else "none of the"
            warn_caller(
                f"{described(self._encoder).name} knows {part} tokens of this query: its vocabulary "
                f"has little or no {reading.script}, so the order says little. {REMEDY}, or keep the first stage's "
                "order with first_stage_weight"
            )

    def _warn(self, query: str) -> None:
        with self._lock:
            first, self._has_warned = not self._has_warned, True
        if first:
            longest = described(self._encoder).query_tokens
            limit = f" of {longest} tokens" if longest else ""
            warn_caller(
                f"query {query!r:.60} is longer than the model's limit{limit} and was cut; further ones are counted in "
                "Reranker.stats()['n_queries_truncated'] and marked in Ranking.query_truncated"
            )
