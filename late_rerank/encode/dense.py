"""The settings of a checkpoint's projections, compared with their weights. No torch here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from late_rerank.encode.files import read_object, tensor_names
from late_rerank.errors import ModelError

_NONE = "torch.nn.modules.linear.Identity"


def check_dense(folder: Path, weights: Path) -> None:
    """Refuse a projection that would be another than the trained one.

    sentence-transformers takes Tanh where the settings name no activation, or one that isn't torch's. Only its log says so.

    Args:
        folder: The Dense module's.
        weights: Its file of weights.

    Raises:
        ModelError: If its activation is unknown, or a weight is missing that its settings ask for.
    """
    file = folder / "config.json"
    config = read_object(file)
    if not config:
        raise ModelError(f"{file} is missing or empty, so the projection's shape is unknown")
    activation = config.get("activation_function")
    if not isinstance(activation, str) or not activation.startswith("torch."):
        said = "names no activation" if activation is None else f"names the activation {activation!r}"
        raise ModelError(
            f"{file} {said}: sentence-transformers would take Tanh in its place. Expected a class of torch.nn in "
            f"'activation_function', {_NONE!r} for none. Write there what the model was trained with, if torch has it."
        )
    if weights.suffix == ".safetensors":
        absent = sorted(_asked(config) - tensor_names(weights))
        if absent:
            raise ModelError(f"{weights} holds no {absent[0]!r}, which {file} asks for. Download both again.")


def _asked(config: dict[str, Any]) -> set[str]:
    """Name the weights that settings ask for; a residual between layers of one size has none."""
    names = {"linear.weight"}
    if config.get("bias", True):
        names.add("linear.bias")
    if config.get("use_residual") and config.get("in_features") != config.get("out_features"):
        names.add("residual.weight")
    return names
