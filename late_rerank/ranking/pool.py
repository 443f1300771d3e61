"""One query's candidates while they are scored: packed documents in, scores by position, a Ranking out."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from late_rerank import codecs, maxsim
from late_rerank.arguments.given import as_candidate, as_many
from late_rerank.encode import Encoder
from late_rerank.encode.places import span_of
from late_rerank.observing.tracing import span
from late_rerank.ranking.fusion import falling, first_stage_scores, ordered
from late_rerank.ranking.prior import of_candidates
from late_rerank.ranking.relevance import Calibration, relevance
from late_rerank.ranking.wanted import Wanted
from late_rerank.types import (
    F32,
    I64,
    NO_TOKENS_SCORE,
    Candidate,
    Content,
    Document,
    GivenVectors,
    NamedText,
    QueryVectors,
    RankedBy,
    RankedDocument,
    Ranking,
)
from late_rerank.types.passages import PassagePlace
from late_rerank.vectors.contents import Contents
from late_rerank.vectors.documents import KeyedDocuments
from late_rerank.vectors.keys import KeyedContents

# Two float32 sums of the same products in another order differ by less, a query token.
ROUNDING = 1e-6

_UNSCORED = -np.inf


class CandidatePool:
    """One query's candidates while they are scored. Blank ones have no key; unscored ones score -inf until the end.

    Args:
        candidates: Texts, Pictures or Candidates, mixed.
        wanted: The options of the rerank.
        choose: Chooses what is encoded of a candidate.
        scoring: How token maxima become a score.
        prior: What is added to the standard scores: a function of a Candidate, a tuple of numbers, or None.

    Attributes:
        contents: What is encoded of the candidates, with their keys.
        query: The query's token vectors; None until they are set.

    Raises:
        TypeError: If a candidate is no str, Picture or Candidate; names it.
        IncompatibleError: If the encoder can't encode what a candidate has; names it.
        OSError: If a candidate is a picture in a file that can't be read.
        ValueError: If, with a weight, a candidate has no finite score; names it. Also if the prior gives one no finite number.
    """

    def __init__(
        self,
        candidates: Iterable[Document],
        wanted: Wanted,
        choose: Contents,
        scoring: maxsim.Scoring = maxsim.MAXSIM,
        *,
        prior: Any = None,
    ) -> None:
        given: Any = list(as_many(candidates, "candidates")) if callable(prior) else candidates  # which may be a generator
        # Made before the query is encoded: that empties the processor's caches, and each text, id and metadata touched after
        # it is fetched from memory again. 100 documents take 70 us here, and took 180 afterwards.
        self._documents = list(_unranked(given))
        self.contents = KeyedContents(choose.of_all(self._documents, "candidates"))
        self._wanted = wanted
        self._scoring = scoring
        scores = (document.candidate_score for document in self._documents)
        self._weight = wanted.first_stage_weight
        self._first_stage = first_stage_scores(scores) if self._weight else None
        self._prior = None if prior is None else of_candidates(prior, given if callable(prior) else self._documents)
        self.query: QueryVectors | None = None
        keys = self.contents.keys
        self._scores = np.full(len(keys), _UNSCORED, dtype=np.float32)
        if None in keys:
            self._scores[[key is None for key in keys]] = NO_TOKENS_SCORE
        self._truncated = np.zeros(len(keys), dtype=np.bool_)
        self._first = np.zeros(len(keys), dtype=np.int64)
        self._lengths = np.zeros(len(keys), dtype=np.int64)
        self._maxsim_ms = 0.0

    def __len__(self) -> int:
        return len(self._documents)

    @property
    def documents(self) -> Sequence[RankedDocument]:
        """The candidates, in the order given; ranked once `ranking` was called."""
        return self._documents

    def score(self, kernel: maxsim.Kernel, codec: codecs.Codec, found: KeyedDocuments) -> None:
        """Write the scores of the candidates that are among `found`."""
        positions, which, chosen = self.contents.select(found)
        if self.query is None or not len(chosen):
            return
        if self._wanted.max_tokens is not None:
            chosen = chosen.first(self._wanted.max_tokens)
        started = time.perf_counter()
        with span("maxsim"):
            scores, first = maxsim.scored(kernel, codec, self._scoring, self.query.vectors, chosen)
        self._maxsim_ms += (time.perf_counter() - started) * 1000
        self._scores[positions] = scores[which]
        self._truncated[positions] = chosen.truncated[which]
        self._lengths[positions] = chosen.lengths[which]
        if first is not None:
            self._first[positions] = first[which]

    def take_scores(self, scores: F32) -> None:
        """Take scores that were computed somewhere else.

        Args:
            scores: (n_candidates,) float32; NaN for candidates that weren't scored.
        """
        self._scores = np.where(np.isnan(scores), _UNSCORED, scores).astype(np.float32)

    def ranking(self, missing: Collection[bytes], encoder: Encoder, calibration: Calibration | None = None) -> Ranking:
        """Order the candidates, best first.

        Args:
            missing: Keys that the store didn't hold.
            encoder: Tells where best passages stand, when they are asked for.
            calibration: Of the encoder; None for the clipped mean.

        Returns:
            Only "maxsim" is in its timings.
        """
        keys = self.contents.keys
        n_misses = sum(key in missing for key in keys) if missing else 0
        n_given = self.contents.n_given
        n_query_tokens = len(self.query.vectors.values) if self.query else 0
        order, scores, parts = self._ordered(n_query_tokens)
        relevances = relevance(scores, n_query_tokens, calibration)
        kept = self._wanted.kept(relevances)
        order, scores, relevances = order[kept], scores[kept], relevances[kept]
        passages = (
            _Passages(encoder, self._scoring, self._first, self._lengths, self.contents.contents)
            if self._scoring.window_tokens
            else None
        )
        # Python's own numbers, made at once: one NumPy scalar after the other takes a tenth of a millisecond for 100 documents.
        rows = zip(*(column.tolist() for column in (order, scores, relevances, self._truncated[order])), strict=True)
        ranked = []
        for rank, (index, score, relevant, truncated) in enumerate(rows, start=1):
            document = self._documents[index]
            document.rank, document.truncated = rank, truncated
            if score != _UNSCORED:
                document.score, document.relevance = score, relevant
                document.passage = passages
            ranked.append(document)
        self._tell_parts(parts)
        return Ranking(
            ranked,
            timings_ms={"maxsim": self._maxsim_ms},
            n_hits=len(keys) - keys.count(None) - n_misses - n_given,
            n_misses=n_misses,
            n_unscored=int((self._scores == _UNSCORED).sum()),
            n_tokens=n_query_tokens + int(self._lengths.sum()),
            query_truncated=self.query is not None and bool(self.query.vectors.truncated[0]),
            query_vectors=self.query,
        )

    def _ordered(self, n_query_tokens: int) -> tuple[I64, F32, Mapping[int, RankedBy]]:
        """Give positions and their scores, best first; equal ones in the candidates' order; unscored ones, -inf, last.

        Also position -> what ordered it, where more than its score did.
        """
        order, fallen = falling(self._scores, ROUNDING * max(n_query_tokens, 1))
        if self._first_stage is None and self._prior is None:
            return order, fallen, {}
        scores = np.empty_like(fallen)
        scores[order] = fallen
        fused, compared, found = ordered(scores, self._first_stage, self._weight, self._prior)
        order = fused if self._first_stage is not None or found.has_prior else order
        return order, scores[order], dict(zip(compared.tolist(), found.parts(), strict=True))

    def _tell_parts(self, parts: Mapping[int, RankedBy]) -> None:
        """Tell the documents what ordered them, and their priors."""
        for position, ranked_by in parts.items():
            self._documents[position].ranked_by = ranked_by
        if self._prior is not None:
            for document, prior in zip(self._documents, self._prior.tolist(), strict=True):
                document.prior = prior


class _Passages(NamedTuple):
    """The best windows of one query's candidates.

    Attributes:
        encoder: Tells where tokens stand.
        scoring: Has windows.
        first: (n_candidates,) int64, the first token of each candidate's best window.
        lengths: (n_candidates,) int64, in tokens; 0 for candidates without tokens.
        contents: What was compared of each candidate. A picture has no passages.
    """

    encoder: Encoder
    scoring: maxsim.Scoring
    first: I64
    lengths: I64
    contents: Sequence[Content]

    def of(self, document: RankedDocument) -> PassagePlace | None:
        """Give the place of a candidate's best window; None if it has no tokens."""
        first, length = int(self.first[document.index]), int(self.lengths[document.index])
        content = self.contents[document.index]
        text = document.text if isinstance(content, GivenVectors) else content
        if not length or not isinstance(text, str) or not text:
            return None
        n_given = None
        if isinstance(content, GivenVectors):
            n_given = len(content)
        elif isinstance(content, NamedText) and not document.truncated:  # all vectors of somebody's row, then
            n_given = length
        stop = min(first + self.scoring.window_tokens[self.scoring.passage_scale], length)
        is_whole = first == 0 and stop == length and not document.truncated
        return PassagePlace(partial(span_of, self.encoder, text, (first, stop), is_whole=is_whole, n_vectors=n_given))


def _unranked(given: Iterable[Document]) -> Iterator[RankedDocument]:
    # Arguments by position: by name they take half as long again.
    for i, item in enumerate(as_many(given, "candidates")):
        if type(item) is str:
            yield RankedDocument(item, None, None, None, 0, i, None, False, {})  # noqa: FBT003
            continue
        candidate = item if type(item) is Candidate else as_candidate(item, i, "candidates")
        id_, score, metadata, image = candidate.id, candidate.score, candidate.metadata, candidate.image
        vectors = candidate.token_vectors
        yield RankedDocument(candidate.text, id_, None, None, 0, i, score, False, metadata, image, vectors)  # noqa: FBT003
