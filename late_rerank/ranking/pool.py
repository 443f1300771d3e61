"""One query's candidates while they are scored: keys in, scores by position, a ranking out."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import cast

import numpy as np

from late_rerank import codecs, maxsim
from late_rerank.arguments.given import as_candidate, as_many
from late_rerank.ranking.fusion import FirstStageWeight, falling, first_stage_scores, fused_order
from late_rerank.ranking.relevance import Calibration, relevance
from late_rerank.types import (
    F32,
    I64,
    NO_TOKENS_SCORE,
    Candidate,
    PackedVectors,
    RankedDocument,
    Ranking,
    TokenVectors,
)
from late_rerank.vectors.documents import KeyedDocuments
from late_rerank.vectors.indexing import keys_of

# Two float32 sums of the same products in another order differ by less, a query token.
ROUNDING = 1e-6

_UNSCORED = -np.inf
_ALL = slice(None)


@dataclass(frozen=True)
class Cut:
    """Which results a caller wants: at most `top_k`, of at least `min_relevance`. None for all."""

    top_k: int | None = None
    min_relevance: float | None = None

    def kept(self, relevances: F32) -> I64 | slice:
        """Which of these, best first. Where a first stage counts too, relevance doesn't fall from rank to rank."""
        if self.min_relevance is None:
            return slice(self.top_k)
        # As float64, since a caller reads it as a Python float. Of the unscored, at -inf, it is 0.
        return np.flatnonzero(relevances.astype(np.float64) >= self.min_relevance)[: self.top_k]


class CandidatePool:
    """One query's candidates while they are scored. Blank ones have no key; unscored ones score -inf until the end.

    Args:
        candidates: Texts or Candidates, mixed.
        first_stage_weight: How much their own scores count for the order; 0 for not at all.
        max_tokens: Only so many of a document's tokens are scored, the first; None for all.

    Raises:
        TypeError: A candidate is neither a str nor a Candidate; names it.
        ValueError: With a weight, a candidate has no finite score; names it.
    """

    def __init__(
        self,
        candidates: Iterable[str | Candidate],
        first_stage_weight: FirstStageWeight = 0.0,
        max_tokens: int | None = None,
    ) -> None:
        # Made before the query is encoded: that empties the processor's caches, and each text, id and metadata touched after
        # it is fetched from memory again. 100 documents take 70 us here, and took 180 afterwards.
        self._documents = list(_unranked(candidates))
        self.texts = [document.text for document in self._documents]
        self.keys = keys_of(self.texts)
        self._weight = first_stage_weight
        self._max_tokens = max_tokens
        scores = (document.candidate_score for document in self._documents)
        self._first_stage = first_stage_scores(scores) if first_stage_weight else None
        self.query: TokenVectors | None = None
        self._scores = np.full(len(self.keys), _UNSCORED, dtype=np.float32)
        self._scores[[key is None for key in self.keys]] = NO_TOKENS_SCORE
        self._truncated = np.zeros(len(self.keys), dtype=np.bool_)
        self._maxsim_ms = 0.0
        self._n_tokens = 0

    def by_key(self) -> dict[bytes, str]:
        """Key -> text of the candidates that aren't blank."""
        texts = dict(zip(self.keys, self.texts, strict=True))
        texts.pop(None, None)
        return cast("dict[bytes, str]", texts)

    def select(self, found: KeyedDocuments) -> tuple[I64 | slice, I64 | slice, PackedVectors]:
        """This pool's candidates among packed documents.

        Returns:
            Their positions among the candidates, which of the chosen documents each one is, and the chosen documents, each
            once: two results of one kernel call may differ in the last bit, and duplicates must tie.
        """
        if found.keys == self.keys:
            return _ALL, _ALL, found.packed
        row = np.array([found.rows.get(key, -1) for key in self.keys], dtype=np.int64)
        positions = np.flatnonzero(row >= 0)
        which = row[positions]
        wanted = np.zeros(len(found.packed), dtype=np.bool_)
        wanted[which] = True
        if wanted.all():
            return positions, which, found.packed
        return positions, (np.cumsum(wanted) - 1)[which], found.packed.take(np.flatnonzero(wanted))

    def score(self, kernel: maxsim.Kernel, codec: codecs.Codec, found: KeyedDocuments) -> None:
        """Write the scores of those candidates that are among `found`."""
        positions, which, chosen = self.select(found)
        if self.query is None or not len(chosen):
            return
        if self._max_tokens is not None:
            chosen = chosen.first(self._max_tokens)
        started = time.perf_counter()
        self._scores[positions] = maxsim.score(kernel, codec, self.query, chosen)[which]
        self._maxsim_ms += (time.perf_counter() - started) * 1000
        self._truncated[positions] = chosen.truncated[which]
        self._n_tokens += int(chosen.lengths[which].sum())

    def ranking(
        self, cut: Cut, missing: frozenset[bytes], timings_ms: Mapping[str, float], calibration: Calibration | None = None
    ) -> Ranking:
        """Best first; `missing` are the keys that the store didn't hold."""
        n_misses = sum(key in missing for key in self.keys) if missing else 0
        n_query_tokens = len(self.query.values) if self.query else 0
        order, scores = self._ordered(n_query_tokens)
        relevances = relevance(scores, n_query_tokens, calibration)
        wanted = cut.kept(relevances)
        order, scores, relevances = order[wanted], scores[wanted], relevances[wanted]
        # Python's own numbers, made at once: one NumPy scalar after the other takes a tenth of a millisecond for 100 documents.
        columns = (order, scores, relevances, self._truncated[order])
        rows = zip(*(column.tolist() for column in columns), strict=True)
        ranked = []
        for rank, (index, score, relevant, truncated) in enumerate(rows, start=1):
            document = self._documents[index]
            document.rank, document.truncated = rank, truncated
            if score != _UNSCORED:
                document.score, document.relevance = score, relevant
            ranked.append(document)
        return Ranking(
            ranked,
            timings_ms={**timings_ms, "maxsim": self._maxsim_ms},
            n_hits=len(self.keys) - self.keys.count(None) - n_misses,
            n_misses=n_misses,
            n_unscored=int((self._scores == _UNSCORED).sum()),
            n_tokens=n_query_tokens + self._n_tokens,
            query_truncated=self.query is not None and bool(self.query.truncated[0]),
        )

    def _ordered(self, n_query_tokens: int) -> tuple[I64, F32]:
        """Positions and their scores, best first; equal ones in the candidates' order; the unscored, -inf, last."""
        order, fallen = falling(self._scores, ROUNDING * max(n_query_tokens, 1))
        if self._first_stage is None:
            return order, fallen
        scores = np.empty_like(fallen)
        scores[order] = fallen
        order = fused_order(scores, self._first_stage, self._weight)
        return order, scores[order]


def _unranked(given: Iterable[str | Candidate]) -> Iterator[RankedDocument]:
    # Arguments by position: by name they take half as long again.
    for i, item in enumerate(as_many(given, "candidates")):
        if type(item) is str:
            yield RankedDocument(item, None, None, None, 0, i, None, False, {})  # noqa: FBT003
            continue
        candidate = as_candidate(item, i, "candidates")
        id_, score, metadata = candidate.id, candidate.score, candidate.metadata
        yield RankedDocument(candidate.text, id_, None, None, 0, i, score, False, metadata)  # noqa: FBT003
