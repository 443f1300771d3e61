"""The student: some layers of the teacher, trained on its frozen embeddings."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from late_rerank.encode.inputs import Inputs
from late_rerank.encode.torch.loading import TOKENS, quiet_loading
from late_rerank.errors import ModelError

# Architecture -> where its layers are. Leaving layers out is right where each layer takes the one before as it is.
_LAYERS = {
    "bert": "encoder.layer",
    "roberta": "encoder.layer",
    "xlm-roberta": "encoder.layer",
    "distilbert": "transformer.layer",
    "modernbert": "layers",
}


class Student:
    """A late-interaction model with few layers.

    Args:
        loaded: sentence-transformers' MultiVectorEncoder of the teacher. It is changed in place.
        layers: The layers to keep; None for the first and the last, of two layers for the first.
        name: The teacher's name, for errors.

    Attributes:
        layers: The layers that were kept.
        hidden_size: Components of a token vector inside the transformer.
        n_teacher_layers: How many layers the teacher has.

    Raises:
        ModelError: If layers can't be left out of such a model.
        ValueError: If the teacher has no such layer.
    """

    def __init__(self, loaded: Any, layers: tuple[int, ...] | None, name: str) -> None:
        self._model, self._transformer = loaded, loaded[0].model
        config = self._transformer.config
        path = _LAYERS.get(config.model_type)
        if path is None:
            raise ModelError(
                f"{name} is of the architecture {config.model_type!r}, whose layers this version can't leave out. It can of: "
                f"{', '.join(_LAYERS)}"
            )
        place, _, last = path.rpartition(".")
        holder = self._transformer.get_submodule(place)
        has = getattr(holder, last)
        self.n_teacher_layers = len(has)
        self.layers = _first_and_last(len(has)) if layers is None else layers
        _check_layers(self.layers, len(has), config.model_type, name)
        setattr(holder, last, torch.nn.ModuleList(has[i] for i in self.layers))
        if config.model_type == "modernbert":  # each layer looks at all tokens or at near ones, as the teacher's does
            config.layer_types = [config.layer_types[i] for i in self.layers]
        config.num_hidden_layers = len(self.layers)
        self.hidden_size = int(config.hidden_size)
        self._freeze()

    @property
    def device(self) -> torch.device:
        """Where the student is."""
        device: torch.device = self._model.device
        return device

    @property
    def trainable(self) -> dict[str, torch.nn.Parameter]:
        """Give the weights that training changes, by name."""
        return {name: weight for name, weight in self._model.named_parameters() if weight.requires_grad}

    @property
    def n_weights(self) -> int:
        """How many numbers training changes."""
        return sum(weight.numel() for weight in self.trainable.values())

    def vectors(self, inputs: Inputs) -> Tensor:
        """Encode queries.

        Args:
            inputs: As the teacher's layout gives them.

        Returns:
            (n_counted, dim) float32, L2-normalised, one query after the other.
        """
        features = {"input_ids": inputs.ids, "attention_mask": inputs.mask}
        if inputs.filled is not None:
            features["query_expansion_positions"] = inputs.filled
        moved = {name: torch.from_numpy(value).to(self.device) for name, value in features.items()}
        found: Tensor = self._model(moved, task="query")[TOKENS]
        return functional.normalize(found[torch.from_numpy(inputs.counted).to(self.device)].float(), dim=1)

    def save(self, folder: Path) -> None:
        """Write the student as a checkpoint of sentence-transformers' format, with the teacher's prompts, masks and lengths."""
        with quiet_loading():
            self._model.save_pretrained(str(folder), create_model_card=False)

    @torch.no_grad()
    def take(self, weights: dict[str, Tensor]) -> None:
        """Take other weights, of the names of `trainable`."""
        for name, weight in self.trainable.items():
            weight.copy_(weights[name])

    def _freeze(self) -> None:
        """Train neither the embeddings, which student and teacher share, nor a pooler, which no token vector passes."""
        self._model.eval()  # without dropout
        frozen = {id(weight) for weight in self._transformer.embeddings.parameters()}
        for name, weight in self._model.named_parameters():
            weight.requires_grad_(id(weight) not in frozen and "pooler." not in name)


def groups_of(weights: dict[str, torch.nn.Parameter]) -> Iterator[dict[str, Any]]:
    """Split weights for the optimizer: matrices decay, biases and norms don't."""
    yield {"params": [weight for weight in weights.values() if weight.ndim > 1], "weight_decay": 0.01}
    yield {"params": [weight for weight in weights.values() if weight.ndim <= 1], "weight_decay": 0.0}


def _first_and_last(n: int) -> tuple[int, ...]:
    return (0, n - 1) if n > 2 else (0,)


def _check_layers(layers: tuple[int, ...], n: int, kind: str, name: str) -> None:
    if layers[-1] >= n:
        raise ValueError(f"layers must be below {n}, the number of layers of {name}, got {', '.join(map(str, layers))}")
    if len(layers) >= n:
        raise ValueError(f"{name} has {n} layers: a student of {len(layers)} is no smaller")
    if kind == "modernbert" and layers[0] != 0:
        raise ValueError(f"layers must begin with 0: {name}'s first layer has no norm before it, unlike the others")
