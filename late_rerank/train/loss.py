"""The loss: how badly a query's document is told from others, and how far scores are from a teacher's."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from sentence_transformers import MultiVectorEncoder
from sentence_transformers.multi_vector_encoder.losses import MultiVectorMultipleNegativesRankingLoss
from sentence_transformers.multi_vector_encoder.scoring import mean_colbert_scores
from torch import Tensor
from torch.nn import functional

from late_rerank.train.recipe import Recipe

# A mean MaxSim below every document's: nothing of it is left after the softmax.
_OUT = -1.0


class Loss(MultiVectorMultipleNegativesRankingLoss):
    """sentence-transformers' contrastive loss, plus distillation in the same pass where `Recipe.distil` is above 0.

    A document that the teacher scores above a query's answer is no negative of it, since the judgements may have missed it.
    With `Recipe.shorter` both losses are also computed of the token vectors' first components, and the loss is the mean.

    Args:
        model: In training.
        recipe: `scale`, `distil`, `shorter`, and `batch_size` for the documents of one forward pass.

    Source: Distillation is the Kullback-Leibler divergence of sentence-transformers' MultiVectorDistillKLDivLoss, over a
    query's own documents. Shorter vectors inside longer ones are from "Matryoshka Representation Learning" (2022).
    """

    def __init__(self, model: MultiVectorEncoder, recipe: Recipe) -> None:
        super().__init__(model, scale=recipe.scale, similarity_fct=self._scores, mini_batch_size=recipe.batch_size)
        self._recipe = recipe
        self._teacher: Tensor | None = None
        self._others: list[Tensor] = []

    def forward(self, sentence_features: Iterable[dict[str, Tensor]], labels: Tensor | None = None) -> Tensor:
        """Compute the loss of a batch.

        Args:
            sentence_features: Queries, then their documents, then the first negative of each, and so on.
            labels: (n_queries, n_documents_of_a_query) the teacher's mean MaxSim; None without distillation.
        """
        self._teacher = labels if self._recipe.distil else None
        self._others = []
        contrastive: Tensor = super().forward(sentence_features)
        return (contrastive + sum(self._others)) / (1 + len(self._recipe.shorter))

    def _scores(self, queries: Tensor, documents: Tensor, **masks: Any) -> Tensor:
        """Score every query with every document of the batch: (n_queries, n_documents), a query's own side by side.

        The other terms of the loss are collected in `_others`.
        """
        scores = self._of_vectors(queries, documents, masks)
        first = torch.arange(len(scores), device=scores.device) * documents.shape[1]
        for n in self._recipe.shorter:
            ours, theirs = (functional.normalize(vectors[..., :n], dim=-1) for vectors in (queries, documents))
            self._others.append(functional.cross_entropy(self._of_vectors(ours, theirs, masks) * self.scale, first))
        return scores

    def _of_vectors(self, queries: Tensor, documents: Tensor, masks: dict[str, Any]) -> Tensor:
        scores: Tensor = mean_colbert_scores(queries, documents, **masks)
        if self._teacher is None:
            return scores
        teacher = self._teacher.to(scores.device)
        n_own = documents.shape[1]
        columns = torch.arange(n_own, device=scores.device) + n_own * torch.arange(len(scores), device=scores.device)[:, None]
        ours, theirs = (functional.log_softmax(s * self.scale, dim=-1) for s in (scores.gather(1, columns), teacher))
        divergence = functional.kl_div(ours, theirs, log_target=True, reduction="batchmean")
        self._others.append(self._recipe.distil * divergence)
        better = torch.zeros_like(scores, dtype=torch.bool).scatter_(1, columns, teacher > teacher[:, :1])
        return scores.masked_fill(better, _OUT)
