"""A PEFT adapter's checkpoint -> the folder of the model that the adapter changes. No torch here, and no peft."""

from __future__ import annotations

from pathlib import Path

from late_rerank.encode.files import read_object, tensor_names
from late_rerank.encode.sources import local_folder
from late_rerank.errors import ModelError, check_installed

SETTINGS = "adapter_config.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"
"""Where an adapter's matrices are."""


def adapter_base(folder: Path, backbone: str, *, extra: str | None = None) -> Path | None:
    """Find the folder of the weights that a checkpoint's adapter changes; None if the checkpoint has no adapter.

    Args:
        folder: The checkpoint.
        backbone: Its transformer's folder, relative to `folder`.
        extra: The extra that brings peft, if the adapter is to be loaded; None to find the base only.

    Raises:
        ModelError: If the adapter doesn't name its base, or the base can't be found. Also if it is to be loaded and its weights
            are absent or damaged.
        MissingDependencyError: If the adapter is to be loaded, and peft isn't installed.
    """
    own = folder / backbone
    settings = read_object(own / SETTINGS)
    if not settings:
        return None
    if extra is not None:
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
            raise ModelError(f"{own} holds an adapter's settings, but not its weights: {ADAPTER_WEIGHTS} is missing")
        tensor_names(own / ADAPTER_WEIGHTS)  # raises if the file is damaged
    return base


def _check_revision(folder: Path, name: str, revision: str | None, base: Path) -> None:
    """Refuse an adapter for a revision of its base that isn't the newest: the libraries load the newest, whatever it says."""
    if revision and base != Path(name) and local_folder(f"{name}@{revision}") != base:
        raise ModelError(
            f"{SETTINGS} asks for its revision {revision!r}, where sentence-transformers loads the newest. Merge the adapter "
            f"into that revision (peft's merge_and_unload), and save {folder.name} whole"
        )
