"""What page-image models need: packages; and a torchvision that they must not have. No torch here."""

from __future__ import annotations

import importlib
from functools import cache
from importlib.metadata import version

from late_rerank.encode.backends.names import TORCH, check_backend
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
