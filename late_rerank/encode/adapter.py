"""Small matrices -> a model adapted: a file of a few MB instead of all weights anew."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

# Names in the file: a linear layer's, and which factor; and one for what comes after the transformer.
_DOWN, _UP = ".down", ".up"
_PROJECTION = "projection"


def write_adapter(file: Path, factors: Mapping[str, tuple[torch.Tensor, torch.Tensor]], projection: torch.Tensor) -> None:
    """Write what `add_adapter` reads.

    Args:
        file: A .safetensors, written anew.
        factors: Name of a linear layer -> (rank, n_in) and (n_out, rank), whose product is added to its weights.
        projection: (dim, n_hidden), for token vectors.
    """
    kept = {_PROJECTION: projection}
    for name, (down, up) in factors.items():
        kept |= {name + _DOWN: down, name + _UP: up}
    save_file({name: matrix.detach().to(torch.float16).contiguous() for name, matrix in kept.items()}, file)


def add_adapter(transformer: torch.nn.Module, file: Path) -> torch.Tensor:
    """Add an adapter's matrices to the weights of a transformer's linear layers.

    Everywhere to the last bit the same, so that a model has one fingerprint: products of two float16 numbers are multiples of
    2^-48, of which float64 holds these sums exactly, in whatever order.

    Args:
        transformer: With float32 weights; changed in place.
        file: What `write_adapter` wrote.

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
