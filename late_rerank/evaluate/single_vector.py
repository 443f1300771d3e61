"""Reranking by one vector a document: the bi-encoder that late interaction is compared with."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from late_rerank.encode.single import SingleVectorEncoder
from late_rerank.observing.timing import Timer
from late_rerank.ranking.fusion import first_stage_scores, ordered
from late_rerank.ranking.prior import of_candidates, of_queries
from late_rerank.ranking.wanted import Wanted
from late_rerank.text.words import is_blank
from late_rerank.types import F32, NO_TOKENS_SCORE, Candidate, RankedBy, RankedDocument, Ranking


class SingleVectorReranker:
    """Orders candidates by the cosine of single vectors, which it keeps in memory: a bi-encoder in a Reranker's place.

    Args:
        model: As `SingleVectorEncoder` takes it: "minilm" is the model of `DenseRetriever`. For a checkpoint that isn't made
            for single vectors sentence-transformers takes the mean of the last hidden states.
        device: A torch device; None for the fastest there is.

    Attributes:
        encoder: The SingleVectorEncoder in use.

    Raises:
        ModelError: If the model can't be found.
    """

    def __init__(self, model: str = "minilm", *, device: str | None = None) -> None:
        self.encoder = SingleVectorEncoder(model, device=device)
        self._vectors: dict[str, F32] = {}

    @property
    def bytes_per_document(self) -> int:
        """Give the size of a document's vector, in float32."""
        return 4 * self.encoder.dim

    def keep(self, texts: Sequence[str], vectors: F32) -> None:
        """Take over vectors that were encoded earlier, as `DenseRetriever` saves them.

        Args:
            texts: The documents.
            vectors: (n_texts, dim) float32, L2-normalised, of the same model.
        """
        self._vectors.update(zip(texts, vectors, strict=True))

    def index(self, documents: Iterable[Candidate], *, progress: bool = False) -> None:
        """Encode documents ahead of queries; documents that were encoded earlier cost nothing."""
        texts = dict.fromkeys(document.text for document in documents if not is_blank(document.text))
        new = [text for text in texts if text not in self._vectors]
        self.keep(new, self.encoder.encode_document(new, progress=progress))

    def rank(
        self, queries: Iterable[str], candidate_lists: Iterable[Iterable[Candidate]], wanted: Wanted | None = None
    ) -> list[Ranking]:
        """Rank the candidates of each query by cosine, or by cosine, their own scores and a prior, as `Reranker.rank` does.

        Args:
            queries: None blank.
            candidate_lists: One a query. Never changed.
            wanted: The options; None for none. A deadline says nothing here, since no document waits for another.

        Returns:
            Best first; equal scores keep the candidates' order. Blank candidates come last with score -1e9. `relevance` is the
            cosine, clipped to [0, 1].

        Raises:
            ValueError: If `wanted.max_tokens` is given: a single vector has no tokens. Also if a prior is wrong.
            TypeError: If a prior is wrong.
        """
        wanted = wanted or Wanted()
        if wanted.max_tokens is not None:
            raise ValueError(f"max_tokens must be None for single vectors, which have no tokens; got {wanted.max_tokens}")
        queries, lists = list(queries), [list(given) for given in candidate_lists]
        priors = of_queries(wanted.prior, len(lists))
        asked = zip(queries, lists, priors, strict=True)
        return [self._rank(query, given, prior, wanted) for query, given, prior in asked]

    def _rank(self, query: str, given: list[Candidate], prior: Any, wanted: Wanted) -> Ranking:
        timer = Timer(("total",))
        with timer.stage("total"):
            self.index(given)
            scores = self._scores(query, given)
            weight = wanted.first_stage_weight
            first_stage = first_stage_scores(candidate.score for candidate in given) if weight else None
            numbers = None if prior is None else of_candidates(prior, given)
            order = (-scores).argsort(kind="stable")
            parts: dict[int, RankedBy] = {}
            if first_stage is not None or numbers is not None:
                order, compared, found = ordered(scores, first_stage, weight, numbers)
                parts = dict(zip(compared.tolist(), found.parts(), strict=True))
            order = order[wanted.kept(scores[order].clip(0, 1))]
            ranked = [_ranked(given[i], rank, i, float(scores[i])) for rank, i in enumerate(order.tolist(), start=1)]
            for document in ranked:
                document.ranked_by = parts.get(document.index)
                document.prior = None if numbers is None else float(numbers[document.index])
        return Ranking(ranked, timings_ms=timer.ms, n_hits=len(given))

    def _scores(self, query: str, candidates: list[Candidate]) -> F32:
        scores = np.full(len(candidates), NO_TOKENS_SCORE, dtype=np.float32)
        said = [i for i, candidate in enumerate(candidates) if not is_blank(candidate.text)]
        if said:
            # Score each text once: the last bit of a product depends on its row, and duplicates must tie.
            row = {text: i for i, text in enumerate(dict.fromkeys(candidates[i].text for i in said))}
            cosines = np.stack([self._vectors[text] for text in row]) @ self.encoder.encode_query([query])[0]
            scores[said] = cosines[[row[candidates[i].text] for i in said]]
        return scores


def _ranked(candidate: Candidate, rank: int, index: int, score: float) -> RankedDocument:
    return RankedDocument(
        text=candidate.text,
        id=candidate.id,
        score=score,
        relevance=min(max(score, 0.0), 1.0),
        rank=rank,
        index=index,
        candidate_score=candidate.score,
        truncated=False,
        metadata=candidate.metadata,
    )
