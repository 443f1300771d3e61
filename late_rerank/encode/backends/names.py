"""The backends' names, known without loading any backend."""

from __future__ import annotations

from importlib.util import find_spec

from late_rerank.errors import MissingDependencyError

# Engines, fastest first, and the modules that each needs beside this package.
ENGINES = {"openvino": ("openvino",), "onnx": ("onnxruntime", "onnx")}
BACKENDS = ("auto", "torch", *ENGINES)


def check_backend(backend: str) -> None:
    """Refuse a backend that is unknown or not installed.

    Raises:
        ValueError: If it is unknown.
        MissingDependencyError: If it isn't installed.
    """
    if backend not in BACKENDS:
        raise ValueError(f"backend must be one of {', '.join(BACKENDS)}, got {backend!r}")
    for module in ENGINES.get(backend, ()):
        if not _is_installed(module):
            raise MissingDependencyError(f'backend="{backend}"', module, backend)


def installed_engines() -> list[str]:
    """Name the installed engines, fastest first."""
    return [name for name, modules in ENGINES.items() if all(map(_is_installed, modules))]


def _is_installed(module: str) -> bool:
    found = find_spec(module)
    return found is not None and found.origin is not None  # None: a mere folder of that name, which some checkpoints have
