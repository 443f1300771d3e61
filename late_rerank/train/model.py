"""The model in training: LoRA's small matrices beside the weights, or all weights; a projection after them."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from sentence_transformers import MultiVectorEncoder
from sentence_transformers.base.modules import Dense, Normalize

from late_rerank.encode.builtin import BUILT_IN
from late_rerank.encode.sources import local_folder
from late_rerank.encode.torch.loading import TOKENS, load_builtin, load_checkpoint, quiet_loading
from late_rerank.errors import ModelError
from late_rerank.train.recipe import Recipe

_LORA_A = "lora_A"  # peft's name of the factor that begins random; the other factor begins as zeros


class TunableModel:
    """A late-interaction model in training.

    Args:
        recipe: Which model, and how it is adapted.
        device: A torch device; None for the fastest there is.

    Attributes:
        recipe: As given.
        encoder: sentence-transformers' model, to be trained; its projection too, where it has one.

    Raises:
        ModelError: If the model can't be found, or takes no projection.
        ValueError: If the model has no more components than the recipe's `dim`.
    """

    def __init__(self, recipe: Recipe, device: str | None = None) -> None:
        torch.manual_seed(recipe.seed)
        if recipe.model in BUILT_IN:
            self.encoder: MultiVectorEncoder = load_builtin(recipe.model, device)
        else:
            self.encoder, _ = load_checkpoint(local_folder(recipe.model), device)
        _without_dropout(self.encoder)
        self.recipe = recipe
        self._check_dim()
        self._adapter: Any = self._with_lora() if recipe.method == "lora" else None
        self._before = self._untrained()

    @property
    def trainable(self) -> dict[str, torch.nn.Parameter]:
        """Give the weights that training changes, by name."""
        return {name: weight for name, weight in self.encoder.named_parameters() if weight.requires_grad}

    @property
    def method(self) -> str:
        """Say in words which weights are trained."""
        if self._adapter is None:
            return "all weights"
        beside = "" if all("lora_" in name for name in self.trainable) else ", and the whole projection"
        return f"LoRA of rank {self.recipe.rank} on every linear layer of the transformer{beside}"

    @property
    def document_tokens(self) -> int:
        """Give the most tokens of a document that the model takes in one pass."""
        transformer: Any = self.encoder[0]
        positions = getattr(transformer.config, "max_position_embeddings", None)
        lengths = (transformer.document_length, self.encoder.tokenizer.model_max_length, positions)
        return min(int(length) for length in lengths if length)

    def project(self, texts: Sequence[str]) -> None:
        """Add a projection to `Recipe.dim` components, if the recipe has one, onto the token vectors' principal directions.

        Args:
            texts: Of the corpus and its queries, a few hundred.
        """
        dim, has = self.recipe.dim, int(self.encoder.get_embedding_dimension() or 0)
        if dim is None:
            return
        products = torch.zeros(has, has, dtype=torch.float64)  # about the origin, since MaxSim is of cosines
        for rows in self.encoder.encode_document(list(texts)):
            vectors = torch.as_tensor(rows).double().cpu()
            products += vectors.T @ vectors
        _, directions = torch.linalg.eigh(products)
        weight = directions.flip(1)[:, :dim].T
        largest = weight.gather(1, weight.abs().argmax(dim=1, keepdim=True))
        weight = (weight * largest.sign()).float().contiguous()  # signs are arbitrary: choose the same everywhere
        projection = Dense(has, dim, bias=False, activation_function=None, init_weight=weight, module_input_name=TOKENS)
        self.encoder.insert(self._place_of_normalize(), projection.to(self.encoder.device))
        self._before = self._untrained()

    def save(self, folder: Path) -> None:
        """Write the whole adapted model in sentence-transformers' format, and LoRA's matrices alone under `adapter`.

        `Recipe.kept` is applied, and LoRA's matrices are added into the weights. Don't train this object afterwards.
        """
        self._go_back()
        if self._adapter is not None:
            self._adapter.save_pretrained(str(folder / "adapter"))
            transformer: Any = self.encoder[0]
            transformer.model = self._adapter.merge_and_unload()
            self._adapter = None
        with quiet_loading():
            self.encoder.save_pretrained(str(folder), create_model_card=False)

    def _place_of_normalize(self) -> int:
        """Find the module that makes unit vectors, before which a projection goes; the number of modules if there is none."""
        places = (i for i, module in enumerate(self.encoder) if isinstance(module, Normalize))
        return next(places, len(self.encoder))

    def _check_dim(self) -> None:
        dim, has = self.recipe.dim, int(self.encoder.get_embedding_dimension() or 0)
        if dim is not None and dim >= has:
            raise ValueError(f"dim={dim}: {self.recipe.model} has {has} components, and a projection can only leave fewer")
        if dim is not None and self._place_of_normalize() == len(self.encoder):
            raise ModelError(f"dim={dim}: {self.recipe.model} has no module that makes unit vectors, before which to project")

    def _untrained(self) -> dict[str, torch.Tensor]:
        """Copy the weights that training changes; of LoRA's two factors the one that begins as zeros."""
        return {name: weight.detach().clone() for name, weight in self.trainable.items() if _LORA_A not in name}

    @torch.no_grad()
    def _go_back(self) -> None:
        """Keep `Recipe.kept` of the change. LoRA's change is a product, so only one factor is shortened."""
        for name, weight in self.trainable.items():
            if name in self._before:
                weight.lerp_(self._before[name], 1 - self.recipe.kept)

    def _with_lora(self) -> Any:
        import peft  # noqa: PLC0415 - an extra; `check_packages` asks for it

        transformer: Any = self.encoder[0]
        config = peft.LoraConfig(
            r=self.recipe.rank,
            lora_alpha=2 * self.recipe.rank,
            target_modules=_linear_layers(transformer.model),
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # peft asks transformers in a deprecated way
            # In place: the transformer's own linear layers get the matrices, and only these are trained.
            return peft.get_peft_model(transformer.model, config)


def _without_dropout(model: torch.nn.Module) -> None:
    """Switch dropout off: a few epochs don't need it, and on a processor it takes a fifth of the time."""
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0


def _linear_layers(transformer: torch.nn.Module) -> list[str]:
    """Name all linear layers but BERT's pooler, which no token vector passes."""
    return [
        name for name, module in transformer.named_modules() if isinstance(module, torch.nn.Linear) and "pooler" not in name
    ]
