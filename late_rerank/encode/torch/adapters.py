"""A PEFT adapter in a loaded model: checked against its file, and merged into the weights."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from late_rerank.encode.adapter_base import ADAPTER_WEIGHTS, MERGE_IT, SETTINGS
from late_rerank.encode.files import loading, read_object
from late_rerank.errors import ModelError

_WRAPPED = ("base_layer", "original_module")
"""What peft calls the layer that it stands in for: beside an adapter's matrices, and beside a layer that was trained whole."""


def check_adapter(model: Any, folder: Path) -> None:
    """Refuse an adapter that wasn't put into the model: where names don't match, only a log message says so.

    Its file may hold others: those of the projection, which sentence-transformers' format keeps in a module of its own.

    Args:
        model: The MultiVectorEncoder.
        folder: The backbone's, with the adapter's files.

    Raises:
        ModelError: If the model's matrices aren't those of the file.
    """
    file = folder / ADAPTER_WEIGHTS
    with loading(str(file)):
        given = {_plain_name(name): matrix for name, matrix in load_file(file).items()}
    own = dict(model[0].model.named_parameters())
    matrices = {name: weight for name, weight in own.items() if ".lora_" in name}
    if not matrices:
        raise ModelError(f"{folder}: none of its adapter's matrices is in the model that {SETTINGS} names as its base")
    if any("lora_magnitude_vector" in name for name in matrices):
        raise ModelError(
            f"{folder}: its adapter is a DoRA, of which transformers leaves out a part (lora_magnitude_vector). {MERGE_IT}"
        )
    for name, weight in matrices.items():
        if not _holds(given, name, weight):
            raise ModelError(f"{file} doesn't hold the matrix {name!r}, which {SETTINGS} asks for: it would be random")
    for name, weight in _trained_whole(own, read_object(folder / SETTINGS).get("bias", "none")).items():
        if not _holds(given, name, weight):
            raise ModelError(f"{file} doesn't hold {name!r}, which {SETTINGS} says was trained: the base's would be used")


def _trained_whole(own: dict[str, torch.Tensor], bias: str) -> dict[str, torch.Tensor]:
    """Choose the weights that an adapter holds whole: those of `modules_to_save`, and all biases or wrapped layers'."""
    ends = {"none": (), "all": (".bias",)}.get(bias, (".base_layer.bias",))
    return {
        name: weight
        for name, weight in own.items()
        if ".modules_to_save." in name
        or (name.endswith(ends) and not name.startswith("pooler.") and ".original_module." not in name)
    }


def _holds(given: dict[str, torch.Tensor], name: str, weight: torch.Tensor) -> bool:
    """Tell whether an adapter's file holds a weight of the model, to the value."""
    own = _plain_name(name)
    found = (each for other, each in given.items() if f".{other}".endswith(f".{own}") or _tail(other) == _tail(own))
    return any(each.shape == weight.shape and torch.equal(each.to(weight), weight) for each in found)


def _plain_name(name: str) -> str:
    """Take out of a weight's name what peft adds for a layer that it wraps, and in a model but not in a file."""
    return re.sub(r"\.(default|modules_to_save|base_layer)(?=\.|$)", "", name)


def merge_adapter(model: Any, folder: Path) -> None:
    """Add an adapter's matrices to the weights that they change, in place, so that the model is one of plain layers.

    Args:
        model: The MultiVectorEncoder, in float32.
        folder: The backbone's, for errors.

    Raises:
        ModelError: If the adapter is of a kind that can't be merged.
    """
    transformer = model[0].model
    with loading(f"the adapter in {folder}"), torch.no_grad():
        for name, module in list(transformer.named_modules()):
            if any(hasattr(module, wrapped) for wrapped in _WRAPPED):
                _replace(transformer, name, _plain(module))
    if left := [name for name, _ in transformer.named_parameters() if ".lora_" in name or ".modules_to_save." in name]:
        raise ModelError(f"{folder}: its adapter can't be merged: {left[0]!r} stays beside the weights")


def _plain(module: Any) -> Any:
    """Give the layer that a layer of peft's stands for, with what was learnt."""
    if hasattr(module, "modules_to_save"):
        return module.modules_to_save[module.active_adapters[0]]
    module.merge(safe_merge=True)  # raises if a weight becomes NaN
    return module.get_base_layer()


def _replace(transformer: Any, name: str, by: Any) -> None:
    parent, _, last = name.rpartition(".")
    setattr(transformer.get_submodule(parent), last, by)


def _tail(name: str) -> tuple[str, ...]:
    """Give a weight's name without what stands before its layer: libraries and versions differ in that."""
    return tuple(name.split(".")[-5:])
