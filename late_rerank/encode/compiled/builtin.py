"""The built-in models, compiled: their graphs come with the package, their weights from where `minilm_source` says."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import fields
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from late_rerank.encode.adapter import adapted
from late_rerank.encode.builtin import GRAPHS, MINILM, MINILM_LATE, MINILM_LATE_ADAPTER, minilm_source
from late_rerank.encode.compiled.format import (
    DESCRIPTION,
    GRAPH,
    PROBES,
    TOKENIZER,
    WEIGHTS,
    Compiled,
    Description,
    read_compiled,
    read_described,
    sha256,
    write_weights,
)
from late_rerank.encode.compiled.kept import keep
from late_rerank.encode.files import tensor_names
from late_rerank.encode.fingerprint import is_pooler
from late_rerank.encode.sources import loading_builtin, local_folder

# The name of the projection's weights in "minilm-late": the third module's.
_PROJECTION = "2.linear.weight"


def builtin_model(name: str) -> Compiled:
    """Find a built-in model. The weights of "minilm-late" are made when it is used first, and kept.

    Raises:
        ModelError: If the weights are neither installed nor available from the hub, or are damaged.
        OSError: If the weights of "minilm-late" can be written nowhere.
    """
    folder = local_folder(minilm_source())
    if name == MINILM_LATE:
        tensor_names(MINILM_LATE_ADAPTER)  # raises if the file is damaged
    with loading_builtin(folder):
        plain = read_compiled(GRAPHS[MINILM], folder)
    if name == MINILM:
        return plain
    version = sha256(GRAPHS[name] / DESCRIPTION)[:16]  # another release's stays another's
    return keep(f"{name}-{version}", partial(_write_late, plain))


def builtin_fingerprint(name: str) -> str:
    """Give a built-in model's fingerprint, without its weights."""
    described = read_described(GRAPHS[name] / DESCRIPTION, [field.name for field in fields(Description)])
    return str(described["fingerprint"])


def late_tensors(plain: Compiled) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Give the weights of "minilm-late" by their names in the model, in their order."""
    prefix = plain.description.weights["prefix"]
    weights = {name.removeprefix(prefix): values for name, values in plain.tensors() if not is_pooler(name)}
    changed, projection = adapted(MINILM_LATE_ADAPTER, weights)
    for name, values in sorted((weights | changed).items()):
        yield prefix + name, values
    yield _PROJECTION, projection


def _write_late(plain: Compiled, folder: Path) -> None:
    for name in (DESCRIPTION, GRAPH, PROBES):
        shutil.copyfile(GRAPHS[MINILM_LATE] / name, folder / name)
    write_weights(folder / WEIGHTS, dict(late_tensors(plain)))
    shutil.copyfile(plain.tokenizer, folder / TOKENIZER)
