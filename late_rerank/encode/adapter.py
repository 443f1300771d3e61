"""Small matrices -> an adapted model: a file of a few MB instead of all weights again."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

# Names in the file: a linear layer's name with the factor's suffix; and one name for the projection after the transformer.
_DOWN, _UP = ".down", ".up"
_PROJECTION = "projection"


def write_adapter(file: Path, factors: Mapping[str, tuple[torch.Tensor, torch.Tensor]], projection: torch.Tensor) -> None:
    """Write a file that `add_adapter` reads.

    Args:
        file: A .safetensors file; replaced if it exists.
        factors: Name of a linear layer -> (rank, n_in) and (n_out, rank). Their product is added to the layer's weights.
        projection: (dim, n_hidden), for token vectors.
    """
    kept = {_PROJECTION: projection}
    for name, (down, up) in factors.items():
        kept |= {name + _DOWN: down, name + _UP: up}
    save_file({name: matrix.detach().to(torch.float16).contiguous() for name, matrix in kept.items()}, file)


def add_adapter(transformer: torch.nn.Module, file: Path) -> torch.Tensor:
    """Add an adapter's matrices to the weights of a transformer's linear layers.

    The sums are the same to the last bit on every machine, so a model has one fingerprint: products of two float16 numbers are
    multiples of 2^-48, and float64 holds their sums exactly, in any order.

    Args:
        transformer: A model with float32 weights; changed in place.
        file: A file that `write_adapter` wrote.

    Returns:
        (dim, n_hidden) float32, the projection of token vectors.
    """
    kept = load_file(file)
    with torch.no_grad():
        for name in kept:
            if name.endswith(_DOWN):
                layer = name.removesuffix(_DOWN)
                weight = transformer.get_parameter(f"{layer}.weight")
                weight.copy_(weight.double() + kept[layer + _UP].double() @ kept[name].double())
    return kept[_PROJECTION].float()
