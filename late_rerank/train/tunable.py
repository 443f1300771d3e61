"""A model whose weights can be adapted: with LoRA's small matrices beside them, or themselves."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch
from sentence_transformers import MultiVectorEncoder

from late_rerank.encode.builtin import MINILM
from late_rerank.encode.loading import load_checkpoint, load_minilm, local_folder, quiet_loading
from late_rerank.errors import MissingDependencyError
from late_rerank.train.recipe import Recipe


class TunableModel:
    """A late-interaction model in training.

    Args:
        recipe: Which model, and how it is adapted.
        device: A torch device; None for the fastest there is.

    Attributes:
        encoder: sentence-transformers' model, to be trained; its projection too, where it has one.

    Raises:
        ModelError: The model can't be found.
        MissingDependencyError: peft isn't installed and the method is "lora".
    """

    def __init__(self, recipe: Recipe, device: str | None = None) -> None:
        torch.manual_seed(recipe.seed)
        if recipe.model == MINILM:
            self.encoder: MultiVectorEncoder = load_minilm(device)
        else:
            self.encoder, _ = load_checkpoint(local_folder(recipe.model), device)
        _without_dropout(self.encoder)
        self._rank = recipe.rank
        self._adapter: Any = self._with_lora(recipe) if recipe.method == "lora" else None

    @property
    def trainable(self) -> dict[str, torch.nn.Parameter]:
        """The weights that training changes, by name."""
        return {name: weight for name, weight in self.encoder.named_parameters() if weight.requires_grad}

    @property
    def method(self) -> str:
        """What is trained, in words."""
        if self._adapter is None:
            return "all weights"
        beside = "" if all("lora_" in name for name in self.trainable) else ", and the whole projection"
        return f"LoRA of rank {self._rank} on every linear layer of the transformer{beside}"

    @property
    def document_tokens(self) -> int:
        """The most tokens of a document that the model takes in one pass."""
        transformer: Any = self.encoder[0]
        positions = getattr(transformer.config, "max_position_embeddings", None)
        lengths = (transformer.document_length, self.encoder.tokenizer.model_max_length, positions)
        return min(int(length) for length in lengths if length)

    def save(self, folder: Path) -> None:
        """Write the adapted model, whole, as sentence-transformers' format; and LoRA's matrices alone, under `adapter`.

        With LoRA its matrices are added into the weights first: this object is no longer one to be trained.
        """
        if self._adapter is not None:
            self._adapter.save_pretrained(str(folder / "adapter"))
            transformer: Any = self.encoder[0]
            transformer.model = self._adapter.merge_and_unload()
            self._adapter = None
        with quiet_loading():
            self.encoder.save_pretrained(str(folder), create_model_card=False)

    def _with_lora(self, recipe: Recipe) -> Any:
        try:
            import peft  # noqa: PLC0415
        except ImportError as error:
            raise MissingDependencyError('method="lora"', "peft", "train") from error
        transformer: Any = self.encoder[0]
        config = peft.LoraConfig(
            r=recipe.rank,
            lora_alpha=2 * recipe.rank,
            target_modules=_linear_layers(transformer.model),
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # it asks transformers in a way that is about to go
            # In place: the transformer's own linear layers get the matrices, and of it only they are trained.
            return peft.get_peft_model(transformer.model, config)


def _without_dropout(model: torch.nn.Module) -> None:
    """A few epochs don't need it, and on a processor it takes a fifth of the time."""
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0


def _linear_layers(transformer: torch.nn.Module) -> list[str]:
    """Names of all but BERT's pooler, which no token vector passes."""
    return [
        name for name, module in transformer.named_modules() if isinstance(module, torch.nn.Linear) and "pooler" not in name
    ]
