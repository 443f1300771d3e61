"""What page-image models need: packages, an adapter's base; and a torchvision that they must not have. No torch here."""

from __future__ import annotations

import importlib
from functools import cache
from importlib.metadata import version
from pathlib import Path

from late_rerank.encode.backends.names import TORCH, check_backend
from late_rerank.encode.checkpoint import Checkpoint
from late_rerank.encode.files import read_object
from late_rerank.encode.sources import local_folder
from late_rerank.errors import ModelError, check_installed, is_installed

# The first that has NeoMME.
_LEAST_TRANSFORMERS = (5, 23)

REMEDY = "pip uninstall torchvision, or install it from https://download.pytorch.org/whl/cpu"


def check_visual(name: str, backend: str) -> None:
    """Check that torch may run a page-image model, and that what the model needs is installed.

    Raises:
        ValueError: If another backend was asked for, or it is unknown.
        MissingDependencyError: If a package is missing.
        ModelError: If transformers is too old.
    """
    check_backend(backend)
    if backend not in ("auto", "torch"):
        raise ValueError(f'backend={backend!r} can\'t run {name}, a page-image model: torch alone does. Leave backend="auto"')
    check_installed(f"{name} is a page-image model, which", "visual", *TORCH, "PIL")
    installed = version("transformers")
    if tuple(map(int, installed.split(".")[:2])) < _LEAST_TRANSFORMERS:
        least = ".".join(map(str, _LEAST_TRANSFORMERS))
        raise ModelError(
            f"{name} is a page-image model, which needs transformers {least} or newer; {installed} is installed: "
            'pip install --upgrade "late-rerank[visual]"'
        )


def adapter_base(checkpoint: Checkpoint) -> Path | None:
    """Find the folder of the weights that a checkpoint's adapter changes; None if it has no adapter.

    Raises:
        ModelError: If the adapter doesn't name its base, or the base can't be found.
        MissingDependencyError: If peft isn't installed.
    """
    settings = read_object(checkpoint.path / checkpoint.backbone / "adapter_config.json")
    if not settings:
        return None
    check_installed(f"{checkpoint.path} has an adapter, which", "visual", "peft")
    name = settings.get("base_model_name_or_path")
    if not name:
        raise ModelError(
            f"{checkpoint.path}: adapter_config.json doesn't say base_model_name_or_path, the model that it changes"
        )
    return local_folder(str(name))


def check_torchvision() -> None:
    """Refuse to load a model beside a torchvision that doesn't fit torch.

    PyPI's torchvision is built for CUDA. Beside a torch for processors its operators are missing. transformers believes its
    metadata, and fails with messages that name neither.

    Raises:
        ModelError: If it can't be imported; says what to do.
    """
    trouble = torchvision_trouble()
    if trouble is not None:
        raise ModelError(f"no model can be loaded, because the installed torchvision doesn't fit torch ({trouble}): {REMEDY}")


@cache
def torchvision_trouble() -> str | None:
    """Say why the installed torchvision can't be imported; None if it can, or isn't installed."""
    if not is_installed("torchvision"):
        return None
    try:
        importlib.import_module("torchvision")
    except (AttributeError, ImportError, OSError, RuntimeError) as error:  # "operator torchvision::nms does not exist"
        return f"{type(error).__name__}: {error}"
    return None
