"""Inputs -> token vectors, by sentence-transformers' modules."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from copy import copy
from threading import Lock
from typing import Any

import torch
from numpy.typing import NDArray

from late_rerank.encode.backends.run import FEW_TOKENS
from late_rerank.encode.base import Kind
from late_rerank.encode.inputs import Inputs
from late_rerank.encode.tokens import without_surrogates
from late_rerank.encode.torch.pooling import pools, without_pooling
from late_rerank.encode.torch.reading import inputs_of
from late_rerank.encode.torch.threads import one_thread
from late_rerank.processes.forks import check_device, engine_call, guarded, lost_threads
from late_rerank.types import F32


class ModuleForward:
    """Runs a MultiVectorEncoder. Safe to call from several threads.

    Args:
        model: On its device.

    Attributes:
        model: As given.
        device: The model's device.
    """

    def __init__(self, model: Any) -> None:
        self.model = model
        self.device = model.device
        self._preprocessing = guarded(Lock())  # sentence-transformers sets the shared tokenizer's padding on each call

    def __call__(self, inputs: Inputs, kind: Kind) -> list[F32]:
        """Give the vectors that count, L2-normalised: for each text (n_counted, dim) float32; fewer where the model pools."""
        check_device(self.device.type)
        features: dict[str, NDArray[Any]] = {"input_ids": inputs.ids, "attention_mask": inputs.mask}
        if inputs.filled is not None:
            features["query_expansion_positions"] = inputs.filled
        moved = {name: torch.from_numpy(value).to(self.device) for name, value in features.items()}
        few = inputs.ids.size <= FEW_TOKENS
        with engine_call(), torch.inference_mode(), one_thread() if few or lost_threads() else nullcontext():
            out = self.model(moved, task=kind)
        vectors: F32 = out["token_embeddings"].to("cpu", torch.float32).numpy()
        mask = out["attention_mask"].bool().cpu().numpy()
        # A pooling model's rows are no longer its tokens, so all of them count. Its windows don't overlap.
        counted = mask if pools(self.model) else mask & inputs.counted
        return [row[kept] for row, kept in zip(vectors, counted, strict=True)]

    def queries(self, texts: Sequence[str], prompt: str) -> Inputs:
        """Let sentence-transformers lay out queries: a model's own way, which `Layout` doesn't know."""
        clean = [without_surrogates(text) for text in texts]
        with self._preprocessing:
            return inputs_of(self.model, self.model.preprocess(clean, prompt=prompt or None, task="query"), "query")

    def unpooled(self) -> ModuleForward:
        """Run the same model without its pooling; both share the weights."""
        plain = copy(self)
        plain.model = without_pooling(self.model)
        return plain
