"""A folder -> sentence-transformers' model of page images, if it is what its files say, or a ModelError."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from sentence_transformers import MultiVectorEncoder

from late_rerank.encode.checkpoint import Checkpoint
from late_rerank.encode.files import loading, read_object
from late_rerank.encode.torch.loading import quiet_loading
from late_rerank.encode.visual.families import checked_family
from late_rerank.encode.visual.processors import without_torchvision
from late_rerank.errors import ModelError

ADAPTER_WEIGHTS = "adapter_model.safetensors"
"""Where an adapter's matrices are."""


def load_visual(checkpoint: Checkpoint, base: Path | None, device: str) -> tuple[MultiVectorEncoder, str]:
    """Load a page-image model with its own weights, processor and template.

    Args:
        checkpoint: Of the format "visual".
        base: The folder of the weights that its adapter changes; None if it has no adapter.
        device: Where it runs. On a GPU of NVIDIA's its weights are in bfloat16, elsewhere in float32.

    Returns:
        The model, and its family.

    Raises:
        ModelError: If some of its weights can't be found, or it is of no known family.
    """
    folder, backbone = checkpoint.path, checkpoint.path / checkpoint.backbone
    family = checkpoint.family or checked_family(base or backbone, read_object((base or backbone) / "config.json"))
    # In half precision on a CPU a token's vector would depend on its neighbours. Older GPUs only emulate bfloat16.
    halves = device.startswith("cuda") and torch.cuda.is_bf16_supported(including_emulation=False)
    dtype = torch.bfloat16 if halves else torch.float32
    with quiet_loading(), without_torchvision(family), loading(f"{folder} (visual format)", backbone):
        model = MultiVectorEncoder(str(folder), device=device, local_files_only=True, model_kwargs={"dtype": dtype})
        model = model.to(dtype=dtype).eval()
        missing = _missing_weights(model, base or backbone, _weight_names(backbone))
    if missing:
        raise ModelError(
            f"{base or backbone} lacks {len(missing)} weights of its own architecture, {missing[0]!r} first: they would be "
            "random"
        )
    if base is not None:
        _check_adapter(model, backbone)
    return model, family


def _weight_names(backbone: Path) -> dict[str, Any]:
    """Find how the files name the weights, where that isn't as transformers does: colpali-engine's merged models say so."""
    settings = read_object(backbone / "sentence_bert_config.json")
    given = settings.get("model_kwargs") or settings.get("model_args") or {}
    return {name: given[name] for name in ("key_mapping",) if name in given}


def _missing_weights(model: MultiVectorEncoder, folder: Path, names: Mapping[str, Any]) -> list[str]:
    """Name the backbone's weights that no file holds. The files are asked for once more, but no weight is read."""
    kind: Any = type(model[0].model)
    _, report = kind.from_pretrained(str(folder), output_loading_info=True, device_map="meta", local_files_only=True, **names)
    return sorted(name for name in report["missing_keys"] if "pooler." not in name)


def _check_adapter(model: MultiVectorEncoder, folder: Path) -> None:
    """Refuse an adapter that wasn't put into the model: where names don't match, only a log message says so.

    Its file may hold others: those of the projection, which sentence-transformers' format keeps in a module of its own.

    Raises:
        ModelError: If the model's matrices aren't those of the file.
    """
    file = folder / ADAPTER_WEIGHTS
    if not file.is_file():
        raise ModelError(f"{folder} holds an adapter's settings, but not its weights: {ADAPTER_WEIGHTS} is missing")
    with loading(str(file)):
        given: dict[tuple[str, ...], list[torch.Tensor]] = {}
        for name, matrix in load_file(file).items():
            given.setdefault(_tail(name), []).append(matrix)
    own = {name: weight for name, weight in model.named_parameters() if ".lora_" in name}
    if not own:
        raise ModelError(f"{folder}: none of its adapter's matrices is in the model that adapter_config.json names as its base")
    for name, weight in own.items():
        candidates = given.get(_tail(name.replace(".default", "")), [])
        if not any(each.shape == weight.shape and torch.equal(each.to(weight), weight) for each in candidates):
            raise ModelError(f"{file} doesn't hold the matrix {name!r}, which adapter_config.json asks for: it would be random")


def _tail(name: str) -> tuple[str, ...]:
    """Give a weight's name without what stands before its layer: libraries and versions differ in that."""
    return tuple(name.split(".")[-5:])
