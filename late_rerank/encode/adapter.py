"""Small matrices -> adapted weights: a file of a few MB instead of all weights again. No torch here."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from late_rerank.types import F32

# Names in the file: a linear layer's name with the factor's suffix; and one name for the projection after the transformer.
_DOWN, _UP = ".down", ".up"
_PROJECTION = "projection"


def write_adapter(file: Path, factors: Mapping[str, tuple[F32, F32]], projection: F32) -> None:
    """Write a file that `adapted` reads.

    Args:
        file: A .safetensors file; replaced if it exists.
        factors: Name of a linear layer -> (rank, n_in) and (n_out, rank). Their product is added to the layer's weights.
        projection: (dim, n_hidden), for token vectors.
    """
    kept = {_PROJECTION: projection}
    for name, (down, up) in factors.items():
        kept |= {name + _DOWN: down, name + _UP: up}
    save_file({name: np.ascontiguousarray(matrix, dtype=np.float16) for name, matrix in kept.items()}, file)


def adapted(file: Path, weights: Mapping[str, F32]) -> tuple[dict[str, F32], F32]:
    """Add an adapter's matrices to the weights of linear layers.

    The sums are the same to the last bit on every machine, so a model has one fingerprint: products of two float16 numbers are
    multiples of 2^-48, and float64 holds their sums exactly, in any order.

    Args:
        file: A file that `write_adapter` wrote.
        weights: Name -> weights, all layers of the adapter among them; unchanged.

    Returns:
        The changed weights by name, and the projection of token vectors, (dim, n_hidden); float32.
    """
    kept: dict[str, NDArray[np.float16]] = load_file(file)
    changed = {}
    for name in kept:
        if name.endswith(_DOWN):
            layer = name.removesuffix(_DOWN)
            product = kept[layer + _UP].astype(np.float64) @ kept[name].astype(np.float64)
            changed[f"{layer}.weight"] = (weights[f"{layer}.weight"].astype(np.float64) + product).astype(np.float32)
    return changed, kept[_PROJECTION].astype(np.float32)
