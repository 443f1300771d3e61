"""Layers of 8-bit integers or float16 and a model's embeddings -> a student's weights, the same to the last bit everywhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from late_rerank.encode.compiled.format import Compiled
from late_rerank.encode.fingerprint import is_pooler
from late_rerank.types import F32

LAYERS = "layers.safetensors"
WORDS = "embeddings.word_embeddings.weight"
CODES, MAP = "correction.codes", "correction.map"
"""Their product, (n_words, r) by (r, n_hidden), is added to the word embeddings."""
Precision = Literal["int8", "float16"]

_SCALE = ".scale"
_LARGEST = 127
_TRANSFORMER_LAYERS = "encoder.layer."


def write_layers(file: Path, tensors: Mapping[str, F32], precision: Precision = "int8") -> None:
    """Write a student's own weights: all that differs from its teacher's embeddings.

    Args:
        file: A .safetensors file; replaced if it exists.
        tensors: Name, as in the transformer's state_dict -> weights. Beside them, `CODES` and `MAP` may be there.
        precision: Of matrices. int8 has a scale for each row. The correction is int8 always, vectors are float32.

    Raises:
        ValueError: If the word embeddings are among them, or one factor of the correction without the other.
    """
    if WORDS in tensors:
        raise ValueError(f"{WORDS} are the teacher's: leave them out, or give their change as {CODES} and {MAP}")
    if (CODES in tensors) != (MAP in tensors):
        raise ValueError(f"{CODES} and {MAP} belong together: one of them is missing")
    held: dict[str, NDArray[Any]] = {}
    for name, values in tensors.items():
        if values.ndim < 2:  # biases and norms, a few thousand numbers
            held[name] = np.ascontiguousarray(values, dtype=np.float32)
        elif precision == "float16" and name not in (CODES, MAP):
            held[name] = values.astype(np.float16)
        else:
            # The map's scales are its columns', so that a product of codes has one scale for its row and one for its column.
            held[name], held[name + _SCALE] = _as_integers(values, axis=0 if name == MAP else 1)
    save_file(held, file)


def student_weights(plain: Compiled, file: Path) -> Iterator[tuple[str, F32]]:
    """Give a student's weights by their names in the model.

    Args:
        plain: The teacher, whose embeddings are taken.
        file: A file that `write_layers` wrote.
    """
    prefix = plain.description.weights["prefix"]
    own = _read(file)
    correction = own.pop(WORDS, None)
    for name, values in plain.tensors():
        if not is_pooler(name) and not name.removeprefix(prefix).startswith(_TRANSFORMER_LAYERS):
            known = own.pop(name.removeprefix(prefix), values)
            is_corrected = correction is not None and name == prefix + WORDS
            yield name, _sum(known, correction) if is_corrected else known
    for name, values in own.items():
        yield prefix + name, values


def _read(file: Path) -> dict[str, Any]:
    """Read the tensors as float32; the change of the word embeddings, if there is one, as float64 by their name."""
    held = load_file(file)
    scales = {name.removesuffix(_SCALE): held.pop(name) for name in list(held) if name.endswith(_SCALE)}
    found: dict[str, Any] = {}
    if CODES in held:
        # Sums of products of small integers are exact in float64, in any order.
        sums = held.pop(CODES).astype(np.float64) @ held.pop(MAP).astype(np.float64)
        found[WORDS] = sums * scales.pop(CODES).astype(np.float64) * scales.pop(MAP).astype(np.float64)
    for name, values in held.items():
        found[name] = values.astype(np.float32) * scales[name] if name in scales else values.astype(np.float32)
    return found


def _sum(values: F32, correction: Any) -> F32:
    changed: F32 = (values.astype(np.float64) + correction).astype(np.float32)
    return changed


def _as_integers(values: F32, axis: int) -> tuple[NDArray[np.int8], F32]:
    """Round numbers to 8-bit integers with a scale for each row or column, which keeps its dimension."""
    scale = np.abs(values).max(axis=axis, keepdims=True).astype(np.float32) / np.float32(_LARGEST)
    scale[scale == 0] = 1
    codes: NDArray[np.int8] = np.clip(np.rint(values / scale), -_LARGEST, _LARGEST).astype(np.int8)
    return codes, scale
