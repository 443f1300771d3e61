"""A folder -> sentence-transformers' model of page images, if it is what its files say, or a ModelError."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from sentence_transformers import MultiVectorEncoder

from late_rerank.encode.checkpoint import Checkpoint
from late_rerank.encode.files import loading, read_object
from late_rerank.encode.torch.adapters import check_adapter
from late_rerank.encode.torch.loading import quiet_loading
from late_rerank.encode.visual.families import checked_family
from late_rerank.encode.visual.processors import without_torchvision
from late_rerank.errors import ModelError


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
        check_adapter(model, backbone)
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
