"""One query's candidates while they are scored: keys in, scores by position, a ranking out."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from late_rerank import codecs, maxsim
from late_rerank.index import is_blank, key_of
from late_rerank.relevance import relevance
from late_rerank.types import NO_TOKENS_SCORE, Candidate, PackedVectors, RankedDocument, Ranking, TokenVectors, as_candidates

# Two float32 sums of the same products in another order differ by less, a query token.
ROUNDING = 1e-6


class CandidatePool:
    """One query's candidates while they are scored. Blank ones have no key; unscored ones score -inf until the end."""

    def __init__(self, candidates: Iterable[str | Candidate]) -> None:
        self.candidates = list(as_candidates(candidates, "candidates"))
        self.keys = [None if is_blank(candidate.text) else key_of(candidate.text) for candidate in self.candidates]
        self.query: TokenVectors | None = None
        self._scores = np.full(len(self.keys), -np.inf, dtype=np.float32)
        self._scores[[key is None for key in self.keys]] = NO_TOKENS_SCORE
        self._truncated = np.zeros(len(self.keys), dtype=np.bool_)
        self._maxsim_ms = 0.0

    def texts(self) -> Iterator[tuple[bytes, str]]:
        """Key and text of each candidate that isn't blank."""
        pairs = zip(self.keys, self.candidates, strict=True)
        return ((key, candidate.text) for key, candidate in pairs if key is not None)

    def select(
        self, rows: Mapping[bytes, int], packed: PackedVectors
    ) -> tuple[NDArray[np.int64], NDArray[np.intp], PackedVectors]:
        """This pool's candidates among packed documents; `rows` says which document each key is.

        Returns:
            Their positions among the candidates, which of the chosen documents each one is, and the chosen documents, each
            once: two results of one kernel call may differ in the last bit, and duplicates must tie.
        """
        pairs = [(i, rows[key]) for i, key in enumerate(self.keys) if key is not None and key in rows]
        positions = np.array([i for i, _ in pairs], dtype=np.int64)
        chosen, which = np.unique(np.array([row for _, row in pairs], dtype=np.int64), return_inverse=True)
        return positions, which, packed if len(chosen) == len(packed) else packed.take(chosen)

    def score(self, kernel: maxsim.Kernel, codec: codecs.Codec, rows: Mapping[bytes, int], packed: PackedVectors) -> None:
        """Write the scores of those candidates that are among `packed`."""
        positions, which, chosen = self.select(rows, packed)
        if self.query is None or not len(positions):
            return
        started = time.perf_counter()
        self._scores[positions] = maxsim.score(kernel, codec, self.query, chosen)[which]
        self._maxsim_ms += (time.perf_counter() - started) * 1000
        self._truncated[positions] = chosen.truncated[which]

    def ranking(self, top_k: int | None, missing: frozenset[bytes], timings_ms: Mapping[str, float]) -> Ranking:
        """Best first; `missing` are the keys that the store didn't hold."""
        n_misses = sum(key in missing for key in self.keys)
        n_query_tokens = len(self.query.values) if self.query else 0
        order = self._order(n_query_tokens)[:top_k]
        # Python's own numbers, made at once: one NumPy scalar after the other takes a tenth of a millisecond for 100 documents.
        columns = (order, self._scores[order], relevance(self._scores[order], n_query_tokens), self._truncated[order])
        rows = zip(*(column.tolist() for column in columns), strict=True)
        return Ranking(
            (self._document(rank, *row) for rank, row in enumerate(rows, start=1)),
            timings_ms={**timings_ms, "maxsim": self._maxsim_ms},
            n_hits=sum(key is not None for key in self.keys) - n_misses,
            n_misses=n_misses,
            query_truncated=self.query is not None and bool(self.query.truncated[0]),
        )

    def _order(self, n_query_tokens: int) -> NDArray[np.int64]:
        """Positions, best first; equal scores in the candidates' order; the unscored, -inf, last.

        Scores that only float32's rounding parts are made equal first: the last bit depends on a document's place in the
        kernel's call, and that must not decide an order.
        """
        order = np.argsort(-self._scores, kind="stable")
        falling = self._scores[order]
        with np.errstate(invalid="ignore"):  # -inf - -inf
            apart = np.diff(-falling) > ROUNDING * max(n_query_tokens, 1)
        group = np.concatenate([[0], np.cumsum(apart)])[: len(order)]
        first = np.concatenate([[0], np.flatnonzero(apart) + 1])
        self._scores[order] = falling[first][group] if len(order) else falling
        return order[np.lexsort((order, group))]

    def _document(self, rank: int, index: int, score: float, relevance: float, truncated: bool) -> RankedDocument:  # noqa: FBT001
        candidate = self.candidates[index]
        scored = score != -np.inf
        return RankedDocument(
            text=candidate.text,
            id=candidate.id,
            score=score if scored else None,
            relevance=relevance if scored else None,
            rank=rank,
            index=index,
            candidate_score=candidate.score,
            truncated=truncated,
            metadata=candidate.metadata,
        )
