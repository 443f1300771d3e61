"""A checkpoint's files -> which late-interaction format they are, before any weight is loaded. No torch here.

sentence-transformers gives any BERT folder a *random* projection and says so at INFO level only. So the files are
read first, and a folder whose projection can't be found is refused.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from late_rerank.errors import ModelError

Format = Literal["native", "pylate", "stanford"]


@dataclass(frozen=True)
class Checkpoint:
    """A folder that holds a late-interaction model.

    Attributes:
        path: The folder.
        format: "native" (sentence-transformers' MultiVectorEncoder), "pylate" or "stanford" (ColBERT).
        backbone: Where its transformer lies, relative to `path`.
        prefixes: The markers that the files name, by role ("query", "document"); empty where they name none.
    """

    path: Path
    format: Format
    backbone: str
    prefixes: dict[str, str]


def read_checkpoint(folder: Path) -> Checkpoint:
    """Tell a checkpoint's format from its files.

    Raises:
        ModelError: It isn't a late-interaction model in one of the three formats, or its projection isn't there.
    """
    if not (folder / "config.json").is_file() and not (folder / "modules.json").is_file():
        raise ModelError(f"{folder} holds neither config.json nor modules.json, so it is no model checkpoint")
    if (folder / "modules.json").is_file():
        return _from_modules(folder)
    architectures = _read_object(folder / "config.json").get("architectures") or []
    if "HF_ColBERT" in architectures:
        return _stanford(folder)
    if any(str(name).endswith("ForRetrieval") for name in architectures):
        raise ModelError(f"{folder} is a page-image model ({architectures[0]}); this version encodes text only")
    raise _no_projection(folder, f"config.json says architectures={architectures}")


def _from_modules(folder: Path) -> Checkpoint:
    config = _read_object(folder / "config_sentence_transformers.json")
    modules = _read_json(folder / "modules.json")
    if not isinstance(modules, list) or not modules or not all(isinstance(module, dict) for module in modules):
        raise ModelError(f"{folder / 'modules.json'} must be a list of modules")
    backbone = str(modules[0].get("path", ""))
    if config.get("model_type") == "MultiVectorEncoder":
        _check_dense_weights(folder, modules)
        return Checkpoint(folder, "native", backbone, {})
    types = [str(module.get("type", "")) for module in modules]
    if config.get("model_type") == "ColBERT" or "query_prefix" in config or any("pylate" in name for name in types):
        if not any(name.endswith("Dense") for name in types):
            raise _no_projection(folder, "it looks like a PyLate model, but modules.json lists no Dense module")
        _check_dense_weights(folder, modules)
        prefixes = {role: config.get(f"{role}_prefix") for role in ("query", "document")}
        absent = [f"{role}_prefix" for role, prefix in prefixes.items() if not isinstance(prefix, str)]
        if absent:
            raise ModelError(
                f"{folder}: config_sentence_transformers.json doesn't say {' and '.join(absent)}, so the markers that the "
                'model was trained with are unknown. Write them there, as "" if it was trained without.'
            )
        return Checkpoint(folder, "pylate", backbone, {role: str(prefix) for role, prefix in prefixes.items()})
    raise _no_projection(folder, f"modules.json lists {[name.rsplit('.', 1)[-1] for name in types]}: a single-vector model")


def _stanford(folder: Path) -> Checkpoint:
    metadata = _read_object(folder / "artifact.metadata")
    if (folder / "model.safetensors").is_file() and "linear.weight" not in _tensor_names(folder / "model.safetensors"):
        raise _no_projection(folder, "its model.safetensors holds no 'linear.weight'")
    query, document = metadata.get("query_token_id") or "[unused0]", metadata.get("doc_token_id") or "[unused1]"
    return Checkpoint(folder, "stanford", "", {"query": f"{query} ", "document": f"{document} "})


def _check_dense_weights(folder: Path, modules: list[dict[str, Any]]) -> None:
    for module in modules:
        if not str(module.get("type", "")).endswith("Dense"):
            continue
        weights = folder / str(module.get("path", "")) / "model.safetensors"
        if not weights.is_file() and not weights.with_name("pytorch_model.bin").is_file():
            raise _no_projection(folder, f"{weights.parent} holds no weights")
        if weights.is_file() and "linear.weight" not in _tensor_names(weights):
            raise _no_projection(folder, f"{weights} holds no 'linear.weight'")


def _tensor_names(path: Path) -> set[str]:
    """Names in a safetensors file, from its header: 8 bytes of length, then JSON."""
    try:
        with path.open("rb") as file:
            size = int.from_bytes(file.read(8), "little")
            # Bounded by the file: a damaged length must not become an allocation.
            header = json.loads(file.read(min(size, path.stat().st_size)))
        return set(header)
    except (OSError, ValueError, TypeError) as error:
        raise ModelError(f"{path} is not a readable safetensors file: {error}") from error


def _read_object(path: Path) -> dict[str, Any]:
    value = _read_json(path)
    if not isinstance(value, dict):
        raise ModelError(f"{path} must hold a JSON object, got {value!r:.60}")
    return value


def _read_json(path: Path) -> Any:
    if not path.is_file():
        return {}
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} is not readable JSON: {error}") from error


def _no_projection(folder: Path, what: str) -> ModelError:
    return ModelError(
        f"{folder} has no trained token projection: {what}. Loading it would invent a random one. Expected a "
        "late-interaction checkpoint: sentence-transformers MultiVectorEncoder, PyLate, or Stanford ColBERT. "
        'For the built-in zero-shot model use model="minilm".'
    )
