"""The families of page-image models, known by the files of a checkpoint. No torch here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from late_rerank.encode.files import read_json, read_object
from late_rerank.errors import ModelError

FAMILIES = {
    "idefics3": "Idefics3 (ColSmol)",
    "modernvbert": "ModernVBERT (ColModernVBERT)",
    "neomme": "NeoMME",
    "qwen2_vl": "Qwen2-VL (ColQwen2)",
    "qwen2_5_vl": "Qwen2.5-VL (ColQwen2.5)",
    "qwen3_vl": "Qwen3-VL (ColQwen3)",
    "paligemma": "PaliGemma (ColPali)",
    "colpali": "ColPali, as transformers' ColPaliForRetrieval",
}
"""What a backbone's config.json calls its model -> its name for people."""

NATIVE = "colpali"
"""The one family whose class of transformers is used as it is. It renders every text as a query."""

# transformers' other classes of the kind, what goes wrong with each in sentence-transformers 6.2, and what to take instead.
_WRONG = {
    "ColQwen2ForRetrieval": ("gives a page's patches the positions of words", "vidore/colqwen2-v1.0"),
    "ColModernVBertForRetrieval": ("takes no images", "ModernVBERT/colmodernvbert"),
    "NeoMMEForRetrieval": ("encodes queries without their markers", "the repository whose name ends in -ST-late"),
}
_IN_FORMAT = (
    "vidore/colSmol-256M, ModernVBERT/colmodernvbert, vidore/colqwen2-v1.0, vidore/colqwen2.5-v0.2, vidore/colpali-v1.3"
)
_PROCESSORS = ("processor_config.json", "preprocessor_config.json")


def sees_pictures(folder: Path) -> bool:
    """Tell by its files whether a folder holds a page-image model, whether or not it can be used.

    A damaged file tells nothing: who reads it next names it.
    """
    try:
        backbone = folder
        if (folder / "modules.json").is_file():
            backbone = folder / str(read_json(folder / "modules.json")[0]["path"])
            return read_object(folder / "config_sentence_transformers.json").get("model_type") == "MultiVectorEncoder" and (
                _has_pictures(backbone)
            )
        return _has_pictures(backbone) or any(map(_of_colpali_engine, _architectures(read_object(backbone / "config.json"))))
    except (ModelError, LookupError, TypeError):
        return False


def family_of(backbone: Path) -> str | None:
    """Name the family of a backbone in sentence-transformers' format; None for a text model.

    Args:
        backbone: Its folder.

    Returns:
        A key of `FAMILIES`; empty for an adapter, whose base tells the family.

    Raises:
        ModelError: If it is a page-image model that can't be used; says what to take instead.
    """
    if not _has_pictures(backbone):
        return None
    config = read_object(backbone / "config.json")
    return checked_family(backbone, config) if config else ""


def native_family(folder: Path) -> str | None:
    """Name the family of a folder without modules.json; None if it is no page-image model.

    Raises:
        ModelError: If it is a page-image model that can't be used; says what to take instead.
    """
    config = read_object(folder / "config.json")
    names = _architectures(config)
    engine = next(filter(_of_colpali_engine, names), None)
    if engine is not None:
        raise ModelError(
            f"{folder} is a page-image model of colpali-engine ({engine}), whose projection sentence-transformers "
            f"can't read: a random one would take its place. Take a model that has modules.json: {_IN_FORMAT}"
        )
    if not any(name.endswith("ForRetrieval") for name in names):
        return None
    return checked_family(folder, config)


def checked_family(folder: Path, config: Mapping[str, Any]) -> str:
    """Name the family of a backbone by its config.

    Raises:
        ModelError: If it isn't known, is one that gives wrong vectors, or needs code of its own.
    """
    for name in _architectures(config):
        if name in _WRONG:
            trouble, instead = _WRONG[name]
            raise ModelError(
                f"{folder} is transformers' own {name}, which {trouble} when sentence-transformers runs it. Take the model in "
                f"sentence-transformers' format (with modules.json): {instead}"
            )
    if "auto_map" in config:
        raise ModelError(
            f"{folder} needs Python code of its own (auto_map in config.json), which is never run here. Take a model whose "
            f"code is in transformers: {_IN_FORMAT}"
        )
    kind = str(config.get("model_type"))
    if kind not in FAMILIES:
        raise ModelError(
            f"{folder} is a page-image model of a family that isn't known here ({kind}). Known are "
            f"{', '.join(FAMILIES.values())}: {_IN_FORMAT}"
        )
    return kind


def _has_pictures(backbone: Path) -> bool:
    config = read_object(backbone / "config.json")
    if config:
        names = _architectures(config)
        known = config.get("model_type") in FAMILIES or any(name.endswith("ForRetrieval") for name in names)
        return known or any(name in config for name in ("vision_config", "vlm_config"))
    if not (backbone / "adapter_config.json").is_file():
        return False
    processors = [read_object(backbone / name) for name in _PROCESSORS]
    return any("image_processor" in each or "image_processor_type" in each for each in processors)


def _of_colpali_engine(architecture: str) -> bool:
    """Tell whether a class is one of colpali-engine's: ColPali, ColQwen2, ColQwen2_5, ColIdefics3, BiQwen2, ..."""
    return re.fullmatch(r"(Col|Bi)(Pali|Qwen|Idefics|ModernVBert|Gemma|SmolVLM)\w*(?<!ForRetrieval)", architecture) is not None


def _architectures(config: Mapping[str, Any]) -> list[str]:
    names = config.get("architectures")
    return [str(name) for name in names] if isinstance(names, list) else []
