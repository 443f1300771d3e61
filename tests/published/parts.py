"""What builders share: random weights that depend on their names alone, and files in the formats of the libraries."""

import json
import string
import zlib
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

PUNCTUATION = list(string.punctuation)
IDENTITY = "torch.nn.modules.linear.Identity"


def write_json(file: Path, value: Any) -> None:
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(value, indent=2, ensure_ascii=False), encoding="utf-8")


def write_stanford_settings(folder: Path, **own: Any) -> None:
    """Stanford's artifact.metadata: its common settings, and a checkpoint's own."""
    common = {
        "query_token_id": "[unused0]",
        "doc_token_id": "[unused1]",
        "query_token": "[Q]",
        "doc_token": "[D]",
        "similarity": "cosine",
        "attend_to_mask_tokens": False,
        "interaction": "colbert",
        "mask_punctuation": True,
        "meta": {"version": "colbert-v0.4"},
    }
    (folder / "artifact.metadata").write_text(json.dumps(common | own, indent=4), encoding="utf-8")


def random(name: str, shape: tuple[int, ...]) -> torch.Tensor:
    """A weight that is the same in every format. Norms stay near 1; others spread enough that no two tokens are alike."""
    generator = torch.Generator().manual_seed(zlib.crc32(name.encode()))
    values = torch.randn(shape, generator=generator)
    if "norm" in name.lower():
        return values * 0.1 + (1 if name.endswith("weight") else 0)
    return values * (0.3 if len(shape) == 2 else 0.1)


def randomised(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The weights of a model of transformers, drawn anew by their names."""
    return {name: random(name, tuple(weight.shape)) for name, weight in model.state_dict().items()}


def write_weights(file: Path, weights: Mapping[str, torch.Tensor]) -> None:
    save_file({name: weight.contiguous() for name, weight in weights.items()}, file, metadata={"format": "pt"})


def write_dense(folder: Path, sizes: tuple[int, int], *, residual: bool | None = None) -> None:
    """A Dense module of PyLate's: no bias, no activation. An own matrix carries its residual where sizes differ.

    Args:
        folder: Its folder, such as 1_Dense.
        sizes: Its input's and its output's.
        residual: What its config says of a residual; None for a config from before PyLate had one.
    """
    n_in, n_out = sizes
    config: dict[str, Any] = {"in_features": n_in, "out_features": n_out, "bias": False, "activation_function": IDENTITY}
    if residual is not None:
        config["use_residual"] = residual
    write_json(folder / "config.json", config)
    weights = {"linear.weight": random(f"{folder.name}.linear", (n_out, n_in))}
    if residual and n_in != n_out:
        weights["residual.weight"] = random(f"{folder.name}.residual", (n_out, n_in))
    write_weights(folder / "model.safetensors", weights)


def write_pylate(
    folder: Path,
    widths: list[int],
    *,
    residuals: list[bool] | None = None,
    max_seq_length: int,
    do_lower_case: bool = False,
    **config: Any,
) -> None:
    """What PyLate writes beside a transformer: modules.json, a folder for each Dense, and its settings.

    Source: PyLate 1.6, models/colbert.py (`save`) and models/Dense.py.

    Args:
        folder: With the transformer's files.
        widths: The transformer's hidden size, then each Dense module's output.
        residuals: Whether each Dense module has a residual; None for files from before PyLate had residuals.
        max_seq_length: As sentence_bert_config.json says. PyLate leaves what the last call needed there; no reader may heed it.
        do_lower_case: As sentence_bert_config.json says.
        config: Of config_sentence_transformers.json.
    """
    modules = [{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"}]
    for i, sizes in enumerate(pairwise(widths), start=1):
        name = f"{i}_Dense"
        modules.append({"idx": i, "name": str(i), "path": name, "type": "pylate.models.Dense.Dense"})
        write_dense(folder / name, sizes, residual=None if residuals is None else residuals[i - 1])
    write_json(folder / "modules.json", modules)
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": max_seq_length, "do_lower_case": do_lower_case})
    versions = {"sentence_transformers": "4.0.2", "transformers": "4.48.2", "pytorch": "2.6.0"}
    settings = {"__version__": versions, "prompts": {}, "default_prompt_name": None, "similarity_fn_name": "MaxSim"}
    write_json(folder / "config_sentence_transformers.json", settings | config)
