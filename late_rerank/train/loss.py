"""What training makes small: each query's document told from the others, and a teacher's scores kept to."""

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

# Mean MaxSim that no document has: after the softmax nothing of it is left.
_OUT = -1.0


class Loss(MultiVectorMultipleNegativesRankingLoss):
    """sentence-transformers' contrastive loss and, where `Recipe.distil` says so, distillation beside it in the same pass.

    What the teacher scores above a query's document is none of its negatives: the judgements may have missed it.

    Args:
        model: In training.
        recipe: `scale`, `distil`, and `batch_size` for the documents of one forward pass.

    Source: the distillation is the Kullback-Leibler divergence of sentence-transformers' MultiVectorDistillKLDivLoss, over a
    query's own documents.
    """

    def __init__(self, model: MultiVectorEncoder, recipe: Recipe) -> None:
        super().__init__(model, scale=recipe.scale, similarity_fct=self._scores, mini_batch_size=recipe.batch_size)
        self._distil = recipe.distil
        self._teacher: Tensor | None = None
        self._own: Tensor | None = None

    def forward(self, sentence_features: Iterable[dict[str, Tensor]], labels: Tensor | None = None) -> Tensor:
        """The loss of a batch.

        Args:
            sentence_features: Queries, then their documents, then the first negative of each, and so on.
            labels: (n_queries, n_documents_of_a_query) the teacher's mean MaxSim; None without distillation.
        """
        self._teacher = labels if self._distil else None
        contrastive: Tensor = super().forward(sentence_features)
        if self._teacher is None or self._own is None:
            return contrastive
        ours, theirs = (functional.log_softmax(scores * self.scale, dim=-1) for scores in (self._own, self._teacher))
        divergence = functional.kl_div(ours, theirs, log_target=True, reduction="batchmean")
        return contrastive + self._distil * divergence

    def _scores(self, queries: Tensor, documents: Tensor, **masks: Any) -> Tensor:
        """(n_queries, n_documents): of every query with every document of the batch, a query's own side by side."""
        scores: Tensor = mean_colbert_scores(queries, documents, **masks)
        if self._teacher is None:
            return scores
        n_own = documents.shape[1]
        columns = torch.arange(n_own, device=scores.device) + n_own * torch.arange(len(scores), device=scores.device)[:, None]
        self._own = scores.gather(1, columns)
        better = torch.zeros_like(scores, dtype=torch.bool)
        better.scatter_(1, columns, self._teacher.to(scores.device) > self._teacher[:, :1].to(scores.device))
        return scores.masked_fill(better, _OUT)
