"""A loaded page-image model and its files -> the digest of all that changes document vectors by more than rounding."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from PIL import Image

from late_rerank.encode.adapter_base import ADAPTER_WEIGHTS
from late_rerank.encode.checkpoint import Checkpoint
from late_rerank.encode.files import read_json, weight_files
from late_rerank.encode.fingerprint import tokenizer_line
from late_rerank.encode.samples import PROBE
from late_rerank.encode.torch.fingerprint import module_lines
from late_rerank.encode.visual.model import VisualModel

# What a config says of the files, the software and the precision. Settings that aren't set are left out too: releases add such.
_NOTES = {
    *("_name_or_path", "architectures", "dtype", "torch_dtype", "initializer_range", "transformers_version", "use_cache"),
    *("image_processor_type", "processor_class", "auto_map", "_processor_class", "device", "disable_grouping", "data_format"),
    *("return_tensors", "input_data_format", "rope_deltas", "attn_implementation", "_attn_implementation_autoset"),
}
_PROCESSOR = ("chat_template", "query_prefix", "visual_prompt_prefix", "image_seq_len", "image_seq_length")
# Small, and its sides differ: another order of rows and columns gives other ids.
_PROBE_PAGE = (96, 160)


def fingerprint_of(model: VisualModel, weights: Iterable[Path]) -> str:
    """Digest a model into 32 hexadecimal digits. Neither device nor precision nor batches count.

    Args:
        model: As loaded.
        weights: The files of its weights.
    """
    digest = hashlib.blake2b(digest_size=16)
    for line in _lines(model):
        digest.update(line.encode("utf-8", "surrogatepass") + b"\n")
    for file in weights:
        digest.update(f"{file.name} {sha256_of(file)}\n".encode())
    return digest.hexdigest()


def weights_of(checkpoint: Checkpoint, base: Path | None) -> Iterator[Path]:
    """Find all files of weights, in a fixed order: the backbone's, or its base's and the adapter's; then the projections'."""
    backbone = checkpoint.path / checkpoint.backbone
    yield from weight_files(base or backbone)
    if base is not None:
        yield backbone / ADAPTER_WEIGHTS
    modules = read_json(checkpoint.path / "modules.json")
    for module in modules if isinstance(modules, list) else []:
        if module["path"] != checkpoint.backbone:
            yield from weight_files(checkpoint.path / module["path"])


def sha256_of(file: Path) -> str:
    """Digest a file. The hub's cache names large files by that digest, so those of gigabytes need not be read."""
    name = file.resolve().name
    if re.fullmatch("[0-9a-f]{64}", name) and file.resolve().parent.name == "blobs":
        return name
    digest = hashlib.sha256()
    with file.open("rb") as opened:
        while block := opened.read(1 << 22):
            digest.update(block)
    return digest.hexdigest()


def _lines(model: VisualModel) -> Iterator[str]:
    loaded, processor = model.model, model.processor
    yield from module_lines(loaded)
    if model.pools("document"):
        yield "merged in the order of first tokens"  # other scores in another order
    yield _json(_settings(loaded[0].config.to_dict()))
    yield _json(_settings(processor.image_processor.to_dict()))
    yield _json({name: getattr(processor, name, None) for name in _PROCESSOR})
    yield _json([model.prompts["document"], model.most_tokens["document"]])
    yield tokenizer_line(model.tokenizer)
    for adapter in getattr(loaded[0].model, "peft_config", {}).values():
        yield _json(
            [adapter.r, adapter.lora_alpha, adapter.rank_pattern, adapter.alpha_pattern, adapter.use_rslora, adapter.use_dora]
        )
    # What a release of the libraries changes in the layout must be another model: sentence-transformers 6.1 did so.
    for features in (model.page(Image.new("RGB", _PROBE_PAGE, "white")), model.text(PROBE, "query")[0]):
        yield _json(features["input_ids"].tolist())


def _settings(value: Any) -> Any:
    """Take notes and what isn't set out of a config, at every depth."""
    if isinstance(value, dict):
        return {
            name: _settings(each)
            for name, each in value.items()
            if name not in _NOTES and each not in (None, False, "", [], {})
        }
    return [_settings(each) for each in value] if isinstance(value, (list, tuple)) else value


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)
