"""MaxSim on a torch device: blocks go over packed, are cast there, multiplied and reduced."""

from __future__ import annotations

import numpy as np
import torch

from late_rerank.maxsim.base import check_scorable
from late_rerank.maxsim.numpy_kernel import NumpyKernel, blocks, packed_rows
from late_rerank.types import F32, NO_TOKENS_SCORE, PackedVectors, TokenVectors


class TorchKernel:
    """For accelerators.

    Args:
        device: A torch device: "cuda", "cuda:1", "mps", "cpu".
    """

    codecs = NumpyKernel.codecs

    def __init__(self, device: str) -> None:
        self.name = f"torch:{device}"
        self._device = torch.device(device)

    def score(self, query: TokenVectors, documents: PackedVectors) -> F32:
        """As in Kernel."""
        scores: F32 = self.token_maxima(query, documents).sum(axis=1)
        scores[documents.lengths == 0] = NO_TOKENS_SCORE
        return scores

    def token_maxima(self, query: TokenVectors, documents: PackedVectors) -> F32:
        """As in Kernel."""
        check_scorable(self, query, documents)
        n_query_tokens = len(query.values)
        empty = NO_TOKENS_SCORE / max(n_query_tokens, 1)
        maxima = np.full((len(documents), n_query_tokens), empty, dtype=np.float32)
        q = torch.tensor(query.values, device=self._device)
        for block in blocks(documents):
            values, scales = packed_rows(documents, block)
            # float32 whatever the packing: sums in bfloat16 collapse thousands of documents into one score.
            products = torch.from_numpy(values).to(self._device).to(torch.float32) @ q.T
            if scales is not None:
                products *= torch.from_numpy(scales).to(self._device)[:, None]
            lengths = torch.from_numpy(documents.lengths[block])
            owner = torch.repeat_interleave(torch.arange(len(block)), lengths).to(self._device)
            best = torch.full((len(block), n_query_tokens), -torch.inf, device=self._device)
            best.scatter_reduce_(0, owner[:, None].expand_as(products), products, "amax")
            maxima[block] = best.cpu().numpy()
        return maxima
