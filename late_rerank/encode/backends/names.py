"""The backends' names, known without loading any backend."""

from __future__ import annotations

from late_rerank.errors import check_installed, is_installed

TORCH = ("torch", "sentence_transformers", "transformers")
"""Modules of the extra `torch`."""
# Backends, and the modules that each needs beside this package.
_MODULES = {"torch": TORCH, "openvino": ("openvino",), "onnx": ("onnxruntime",)}
ENGINES = ("openvino", "onnx")
"""What runs compiled models, fastest first."""
BACKENDS = ("auto", *_MODULES)


def check_backend(backend: str) -> None:
    """Refuse a backend that is unknown or not installed.

    Raises:
        ValueError: If it is unknown.
        MissingDependencyError: If it isn't installed.
    """
    if backend not in BACKENDS:
        raise ValueError(f"backend must be one of {', '.join(BACKENDS)}, got {backend!r}")
    check_installed(f'backend="{backend}"', backend, *_MODULES.get(backend, ()))


def installed_engines() -> list[str]:
    """Name the installed engines, fastest first."""
    return [name for name in ENGINES if _is_here(name)]


def has_torch() -> bool:
    """Tell whether the extra `torch` is installed."""
    return _is_here("torch")


def _is_here(backend: str) -> bool:
    return all(map(is_installed, _MODULES[backend]))
