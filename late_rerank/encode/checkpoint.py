"""A checkpoint's files -> their late-interaction format, before any weight is loaded. No torch here.

sentence-transformers gives any BERT folder a *random* projection, and says so at INFO level alone. So the files are
read first, and a folder without a projection is refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from late_rerank.encode.dense import check_dense
from late_rerank.encode.files import (
    WEIGHTS,
    check_settings,
    check_tokenizer,
    check_whole,
    read_json,
    read_object,
    tensor_names,
    weight_files,
)
from late_rerank.encode.refusals import check_fast_tokenizer, check_language, check_no_code, flag_embedding
from late_rerank.encode.visual.families import FAMILIES, family_of, native_family
from late_rerank.errors import ModelError

STANFORD_MARKERS = ("[unused0]", "[unused1]")
"""What Stanford's code puts before a query and before a document, if artifact.metadata names nothing else."""

Format = Literal["native", "pylate", "stanford", "visual"]


@dataclass(frozen=True)
class Checkpoint:
    """A folder that holds a late-interaction model.

    Attributes:
        path: The folder.
        format: "native" (sentence-transformers' MultiVectorEncoder), "pylate" or "stanford" (ColBERT); "visual" for a model of
            page images, which sentence-transformers' MultiVectorEncoder loads too.
        backbone: The transformer's folder, relative to `path`.
        prefixes: The markers that the files name, by role ("query", "document"); empty if they name none.
        family: The family of a page-image model, a key of `FAMILIES`; empty for others, and where an adapter's base tells it.
        tokens_before: What stands before any text in the markers' place, where the vocabulary lacks the markers; mostly empty.
    """

    path: Path
    format: Format
    backbone: str
    prefixes: dict[str, str]
    family: str = ""
    tokens_before: tuple[str, ...] = ()


def read_text_checkpoint(folder: Path) -> Checkpoint:
    """Tell a text model's format from its files.

    Raises:
        ModelError: If the folder isn't a late-interaction model of texts, or lacks the projection.
    """
    checkpoint = read_checkpoint(folder)
    if checkpoint.format == "visual":
        family = FAMILIES.get(checkpoint.family, "with an adapter")
        raise ModelError(
            f"{folder} is a page-image model ({family}): late_rerank.encode.VisualEncoder loads it, and so does Reranker. It "
            "can't be compiled; torch runs it."
        )
    return checkpoint


def read_checkpoint(folder: Path) -> Checkpoint:
    """Tell a checkpoint's format from its files.

    Raises:
        ModelError: If the folder isn't a late-interaction model in one of the four formats, or lacks the projection.
    """
    if not (folder / "config.json").is_file() and not (folder / "modules.json").is_file():
        raise ModelError(f"{folder} holds neither config.json nor modules.json, so it is no model checkpoint")
    checkpoint = _in_format(folder)
    check_settings(folder)
    backbone = folder / checkpoint.backbone
    if checkpoint.format != "visual":
        check_fast_tokenizer(backbone)
        check_language(backbone)
    check_whole(backbone)
    check_tokenizer(backbone)
    if not weight_files(backbone) and not (backbone / "adapter_config.json").is_file():
        raise ModelError(f"{backbone} holds no weights: none of {', '.join(WEIGHTS)}")
    return checkpoint


def _in_format(folder: Path) -> Checkpoint:
    if (folder / "modules.json").is_file():
        return _from_modules(folder)
    architectures = read_object(folder / "config.json").get("architectures") or []
    if not isinstance(architectures, list):
        raise ModelError(f"{folder / 'config.json'} must list its architectures, got {architectures!r:.60}")
    if "HF_ColBERT" in architectures:
        return _stanford(folder)
    family = native_family(folder)
    if family is not None:
        return Checkpoint(folder, "visual", "", {}, family)
    if (folder / "config_sentence_transformers.json").is_file():
        raise ModelError(f"{folder / 'modules.json'} is missing, beside config_sentence_transformers.json. Download it too.")
    raise _no_projection(folder, f"config.json says architectures={architectures}")


def _from_modules(folder: Path) -> Checkpoint:
    config = read_object(folder / "config_sentence_transformers.json")
    modules = read_json(folder / "modules.json")
    if not isinstance(modules, list) or not modules or not all(isinstance(module, dict) for module in modules):
        raise ModelError(f"{folder / 'modules.json'} must be a list of modules")
    if not all(isinstance(module.get(name), str) for module in modules for name in ("type", "path")):
        raise ModelError(f"{folder / 'modules.json'} must give each module's type and path")
    backbone, types = str(modules[0]["path"]), [str(module["type"]) for module in modules]
    if config.get("model_type") == "MultiVectorEncoder":
        family = family_of(folder / backbone)
        if family is None:  # page-image models have a list of their own
            check_no_code(folder, folder / backbone, types)
        _check_dense_weights(folder, modules)
        _check_modules(folder, modules)
        return Checkpoint(folder, "native" if family is None else "visual", backbone, {}, family or "")
    if config.get("model_type") == "ColBERT" or "query_prefix" in config or any("pylate" in name for name in types):
        check_no_code(folder, folder / backbone, types)
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
    if any(name.endswith("MultiVectorMask") for name in types):
        raise ModelError(
            f"{folder / 'config_sentence_transformers.json'} is missing or says no model_type, so how to encode is unknown"
        )
    if flag := flag_embedding(folder):
        raise ModelError(f"{folder} can't be used: {flag}")
    raise _no_projection(folder, f"modules.json lists {[name.rsplit('.', 1)[-1] for name in types]}: a single-vector model")


def stanford_metadata(folder: Path) -> dict[str, Any]:
    """Read artifact.metadata; its settings may stand in an object "config" in it.

    Source: `from_path` of stanford-futuredata/ColBERT, colbert/infra/config/base_config.py.

    Raises:
        ModelError: If it is damaged.
    """
    metadata = read_object(folder / "artifact.metadata")
    nested = metadata.get("config")
    return nested if isinstance(nested, dict) else metadata


def _stanford(folder: Path) -> Checkpoint:
    check_no_code(folder, folder)
    metadata = stanford_metadata(folder)
    absent = [name for name in ("query_maxlen", "doc_maxlen") if not isinstance(metadata.get(name), int)]
    if absent:
        raise ModelError(
            f"{folder}: artifact.metadata doesn't say {' and '.join(absent)}, the lengths that the model was trained with. "
            "ColBERT writes that file beside the weights: download it too, or write them there."
        )
    parts = weight_files(folder)
    if len(parts) > 1:
        raise ModelError(
            f"{folder} has its weights in {len(parts)} files; sentence-transformers reads a projection of Stanford's format "
            "in one file alone. Join them: safetensors.torch.load_file each, save_file all as model.safetensors"
        )
    if (folder / "model.safetensors").is_file() and "linear.weight" not in tensor_names(folder / "model.safetensors"):
        raise _no_projection(folder, "its model.safetensors holds no 'linear.weight'")
    query = metadata.get("query_token_id") or STANFORD_MARKERS[0]
    document = metadata.get("doc_token_id") or STANFORD_MARKERS[1]
    return Checkpoint(folder, "stanford", "", {"query": f"{query} ", "document": f"{document} "})


# Modules of sentence-transformers' own format, and the file of each one's settings. Without the file sentence-transformers
# silently takes defaults: no skiplist, other lengths.
_SETTINGS = {
    "Transformer": "sentence_bert_config.json",
    **dict.fromkeys(("Dense", "HierarchicalTokenPooling", "MultiVectorMask", "Normalize"), "config.json"),
}


def _check_modules(folder: Path, modules: list[dict[str, Any]]) -> None:
    for module in modules:
        name = _SETTINGS.get(module["type"].rsplit(".", 1)[-1])
        if name is not None and not read_object(folder / module["path"] / name):
            raise ModelError(
                f"{folder / module['path'] / name} is missing or holds no settings, so how the model was trained is unknown. "
                "Download it again."
            )


def _check_dense_weights(folder: Path, modules: list[dict[str, Any]]) -> None:
    for module in modules:
        if not module["type"].endswith("Dense"):
            continue
        own = folder / module["path"]
        check_whole(own)
        weights = weight_files(own)
        if not weights:
            raise _no_projection(folder, f"{own} holds no weights (model.safetensors or pytorch_model.bin)")
        if weights[0].suffix == ".safetensors" and "linear.weight" not in tensor_names(weights[0]):
            raise _no_projection(folder, f"{weights[0]} holds no 'linear.weight'")
        check_dense(own, weights[0])


def _no_projection(folder: Path, what: str) -> ModelError:
    return ModelError(
        f"{folder} has no trained token projection: {what}. Loading it would invent a random one. Expected a "
        "late-interaction checkpoint: sentence-transformers MultiVectorEncoder, PyLate, or Stanford ColBERT. "
        'For the built-in zero-shot model use model="minilm".'
    )
