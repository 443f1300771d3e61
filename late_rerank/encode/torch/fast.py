"""How the built-in query encoder's folder is made: `python -m late_rerank.encode.torch.fast WEIGHTS`.

WEIGHTS is a safetensors file, by the names of BERT's state_dict: the student's layers from `encoder.layer.0` on; position
embeddings and the norm of the embeddings if they differ from the teacher's; a correction of the word embeddings, if any.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from safetensors.numpy import load_file

from late_rerank.encode.builtin import FAST_FOLDERS, MINILM
from late_rerank.encode.compiled.builtin import builtin_model
from late_rerank.encode.compiled.format import GRAPH, PROBES, QUERY_ENCODER, TOKENIZER, sha256
from late_rerank.encode.query_side.student import Teacher, write_student
from late_rerank.encode.query_side.weights import LAYERS, Precision, student_weights, write_layers
from late_rerank.encode.torch.compiling import proved, written
from late_rerank.encode.torch.fingerprint import fingerprint_of
from late_rerank.encode.torch.model import torch_model
from late_rerank.types import F32

# Of the transformer's weights in the model's state_dict.
_PREFIX = "0.model."


def main() -> None:
    """Write the folder into the package."""
    command = argparse.ArgumentParser(description="Pack a trained student of minilm as its built-in query encoder.")
    command.add_argument("weights", type=Path, help="a safetensors file of the student's own weights")
    command.add_argument("--precision", choices=("int8", "float16"), default="int8", help="of its matrices")
    command.add_argument("--out", type=Path, default=FAST_FOLDERS[MINILM], help="the folder; the package's by default")
    options = command.parse_args()
    write_fast(load_file(options.weights), options.out, options.precision)


def write_fast(tensors: Mapping[str, F32], folder: Path, precision: Precision = "int8") -> None:
    """Write the built-in query encoder's description, graph, probes and layers.

    Args:
        tensors: The student's own weights, as `write_layers` takes them.
        folder: Where to; made if need be. Its card and the figures of its training stay as they are.
        precision: Of its matrices.

    Raises:
        ValueError: If weights are missing, or aren't the model's.
        UnfitError: If the graph's vectors aren't torch's.
    """
    teacher = builtin_model(MINILM)
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as made:
        here = Path(made)
        write_layers(here / LAYERS, tensors, precision)
        weights = dict(student_weights(teacher, here / LAYERS))
        model, loaded = torch_model(MINILM, device="cpu", max_tokens=None, pooling=1, reason="being compiled")
        _become(loaded, weights)
        model = replace(model, fingerprint=fingerprint_of(loaded, model.layout))
        description = written(model, loaded, here, source={"model": f"{MINILM}-fast", "format": model.format})
        description = proved(model, loaded, here, description)
        # The tokenizer's file is the teacher's, to the byte.
        description.sha256[TOKENIZER] = sha256(teacher.tokenizer)
        write_student(here, description, Teacher(MINILM, teacher.description.fingerprint))
        for file in (QUERY_ENCODER, GRAPH, PROBES, LAYERS):
            shutil.copyfile(here / file, folder / file)


def _become(loaded: Any, weights: Mapping[str, F32]) -> None:
    """Give a loaded model the layers and weights of its student.

    Raises:
        ValueError: If weights are missing, or there are others.
    """
    transformer = loaded[0].model
    layers = {int(name.split("encoder.layer.")[1].split(".")[0]) for name in weights if "encoder.layer." in name}
    n_layers = len(layers)
    if layers != set(range(n_layers)) or not 0 < n_layers <= len(transformer.encoder.layer):
        raise ValueError(f"the student's layers must be encoder.layer.0 and the next ones, got {sorted(layers)}")
    transformer.encoder.layer = transformer.encoder.layer[:n_layers]
    transformer.config.num_hidden_layers = n_layers
    (width,) = weights[f"{_PREFIX}encoder.layer.0.intermediate.dense.bias"].shape
    if width != transformer.config.intermediate_size:
        _change_width(transformer, width)
    state = {name: torch.from_numpy(values) for name, values in weights.items()}
    missing, unknown = loaded.load_state_dict(state, strict=False)
    missing = [name for name in missing if ".pooler." not in name]
    if missing or unknown:
        raise ValueError(f"the student lacks {missing or 'nothing'}, and has {unknown or 'nothing'} that the model doesn't")


def _change_width(transformer: Any, width: int) -> None:
    """Give the feed-forward parts of all layers another width; their weights are random then."""
    hidden = transformer.config.hidden_size
    transformer.config.intermediate_size = width
    for layer in transformer.encoder.layer:
        layer.intermediate.dense = torch.nn.Linear(hidden, width)
        layer.output.dense = torch.nn.Linear(width, hidden)


if __name__ == "__main__":
    main()
