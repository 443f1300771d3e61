"""An engine in the place of a transformer: ids and masks go in, last hidden states come out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from transformers.modeling_outputs import BaseModelOutput

from late_rerank.types import F32

Run = Callable[[NDArray[np.int64], NDArray[np.int64]], F32]
"""Token ids and their mask, (n, width) int64 each -> (n, width, dim) float32. Safe to call from several threads."""


class HiddenStates(nn.Module):
    """A Hugging Face model as engines convert it: two inputs, one output. Type ids are left out; for one text they are 0."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Run the model: (n, width) ids and mask -> (n, width, dim)."""
        hidden: torch.Tensor = self.model(
            input_ids=input_ids, attention_mask=attention_mask, return_dict=True
        ).last_hidden_state
        return hidden


class EngineBackbone(nn.Module):
    """Takes the Hugging Face model's place in sentence-transformers' Transformer module.

    Args:
        config: The Hugging Face model's config.
        run: The engine.
    """

    def __init__(self, config: Any, run: Run) -> None:
        super().__init__()
        self.config = config
        self._run = run

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor, **_others: Any) -> BaseModelOutput:
        """Run the engine. The Hugging Face model's other inputs are 0 or unused for text."""
        hidden = self._run(input_ids.numpy(), attention_mask.to(torch.int64).numpy())
        return BaseModelOutput(last_hidden_state=torch.from_numpy(hidden))


def runs_on_torch(model: Any) -> bool:
    """Tell whether torch runs the transformer of a MultiVectorEncoder; False where an engine does."""
    return not isinstance(model[0].model, EngineBackbone)


def example() -> dict[str, torch.Tensor]:
    """Make inputs for tracing a model."""
    ids = torch.ones((2, 7), dtype=torch.int64)
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
