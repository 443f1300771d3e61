"""A PEFT adapter's checkpoint -> the folder of the model that the adapter changes. No torch here, and no peft."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from late_rerank.encode.files import read_object, tensor_names
from late_rerank.encode.sources import local_folder
from late_rerank.errors import ModelError, check_installed

SETTINGS = "adapter_config.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"
"""Where an adapter's matrices are."""

MERGE_IT = "Merge it into its base: peft.PeftModel.from_pretrained(base, folder).merge_and_unload().save_pretrained(folder)"
"""What to do with an adapter that isn't loaded here."""

_PICKLE = "adapter_model.bin"


def adapter_base(folder: Path, backbone: str, *, extra: str | None = None) -> Path | None:
    """Find the folder of the weights that a checkpoint's adapter changes; None if the checkpoint has no adapter.

    Args:
        folder: The checkpoint.
        backbone: Its transformer's folder, relative to `folder`.
        extra: The extra that brings peft, if the adapter is to be loaded; None to find the base only.

    Raises:
        ModelError: If the adapter doesn't name its base, or the base can't be found. Also if it is to be loaded, and is of
            another kind than LoRA, or its weights are absent or damaged.
        MissingDependencyError: If the adapter is to be loaded, and peft isn't installed.
    """
    own = folder / backbone
    settings = read_object(own / SETTINGS)
    if not settings:
        return None
    if extra is not None:
        _check_kind(folder, settings)
        check_installed(f"{folder} has an adapter, which", extra, "peft")
    name = settings.get("base_model_name_or_path")
    if not name or not isinstance(name, str):
        raise ModelError(f"{folder}: {SETTINGS} doesn't say base_model_name_or_path, the model that it changes")
    try:
        base = local_folder(name)
        _check_revision(folder, name, settings.get("revision"), base)
    except ModelError as error:
        raise ModelError(f"{folder} is an adapter for {name!r}, which can't be used: {error}") from error
    if extra is not None:
        if not (own / ADAPTER_WEIGHTS).is_file():
            if (own / _PICKLE).is_file():
                raise ModelError(
                    f"{own} holds its adapter's weights in {_PICKLE} alone. Convert it: safetensors.torch.save_file("
                    f"torch.load('{_PICKLE}', weights_only=True), '{ADAPTER_WEIGHTS}')"
                )
            raise ModelError(f"{own} holds an adapter's settings, but not its weights: {ADAPTER_WEIGHTS} is missing")
        tensor_names(own / ADAPTER_WEIGHTS)  # raises if the file is damaged
    return base


def _check_kind(folder: Path, settings: dict[str, Any]) -> None:
    """Refuse an adapter that isn't matrices beside weights alone: another kind's part would be left out, or stay unmerged."""
    kind, trained = settings.get("peft_type", "LORA"), "trainable_token_indices"
    if kind != "LORA":
        raise ModelError(f"{folder}: {SETTINGS} says peft_type {kind!r}, where LORA alone can be loaded here. {MERGE_IT}")
    if settings.get(trained):
        raise ModelError(f"{folder}: {SETTINGS} says {trained}, rows of a table that aren't loaded here. {MERGE_IT}")


def _check_revision(folder: Path, name: str, revision: str | None, base: Path) -> None:
    """Refuse an adapter for a revision of its base that isn't the newest: the libraries load the newest, whatever it says."""
    if revision and base != Path(name) and local_folder(f"{name}@{revision}") != base:
        raise ModelError(
            f"{SETTINGS} asks for its revision {revision!r}, where sentence-transformers loads the newest. Merge the adapter "
            f"into that revision (peft's merge_and_unload), and save {folder.name} whole"
        )
