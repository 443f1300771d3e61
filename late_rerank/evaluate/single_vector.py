"""Reranking by one vector a document, with the model that late interaction is compared with."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

import numpy as np

from late_rerank.encode.single import SingleVectorEncoder
from late_rerank.ranking.fusion import FirstStageWeight, first_stage_scores, fused_order
from late_rerank.types import F32, NO_TOKENS_SCORE, Candidate, RankedDocument, Ranking


class SingleVectorReranker:
    """Orders candidates by the cosine of single vectors, which it keeps in memory: a bi-encoder in a Reranker's place.

    Args:
        model: As `SingleVectorEncoder` takes it: "minilm" is what `DenseRetriever` searches with. Of a checkpoint that isn't
            made for single vectors sentence-transformers takes the mean of the last hidden states.
        device: A torch device; None for the fastest there is.

    Attributes:
        encoder: The SingleVectorEncoder in use.

    Raises:
        ModelError: The model can't be found.
    """

    def __init__(self, model: str = "minilm", *, device: str | None = None) -> None:
        self.encoder = SingleVectorEncoder(model, device=device)
        self._vectors: dict[str, F32] = {}

    @property
    def bytes_per_document(self) -> int:
        """What a document's vector takes, in float32."""
        return 4 * self.encoder.dim

    def keep(self, texts: Sequence[str], vectors: F32) -> None:
        """Take vectors that were encoded before, as `DenseRetriever` saves them.

        Args:
            texts: The documents.
            vectors: (n_texts, dim) float32, L2-normalised, of the same model.
        """
        self._vectors.update(zip(texts, vectors, strict=True))

    def index(self, documents: Iterable[Candidate], *, progress: bool = False) -> None:
        """Encode documents ahead of queries; those that were encoded before cost nothing."""
        texts = dict.fromkeys(document.text for document in documents if document.text.strip())
        new = [text for text in texts if text not in self._vectors]
        self.keep(new, self.encoder.encode_document(new, progress=progress))

    def rerank(self, query: str, candidates: Iterable[Candidate], *, first_stage_weight: FirstStageWeight = 0.0) -> Ranking:
        """Rank candidates by cosine, or by cosine and their own scores together.

        Args:
            query: Not blank.
            candidates: Never changed.
            first_stage_weight: How much the candidates' own scores count for the order, as `Reranker.rerank` takes it.

        Returns:
            Best first; equal scores keep the candidates' order. Blank candidates come last with score -1e9. `relevance` is the
            cosine, clipped to [0, 1].
        """
        started = time.perf_counter()
        given = list(candidates)
        self.index(given)
        scores = self._scores(query, given)
        order = (-scores).argsort(kind="stable")
        if first_stage_weight:
            theirs = first_stage_scores(candidate.score for candidate in given)
            order = fused_order(scores, theirs, first_stage_weight)
        ranked = [_ranked(given[i], rank, i, float(scores[i])) for rank, i in enumerate(order.tolist(), start=1)]
        return Ranking(ranked, timings_ms={"total": (time.perf_counter() - started) * 1000}, n_hits=len(given))

    def _scores(self, query: str, candidates: list[Candidate]) -> F32:
        scores = np.full(len(candidates), NO_TOKENS_SCORE, dtype=np.float32)
        said = [i for i, candidate in enumerate(candidates) if candidate.text.strip()]
        if said:
            # Each text once: the last bit of a product depends on its row, and duplicates must tie.
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
