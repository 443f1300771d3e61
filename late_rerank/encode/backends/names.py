"""Which backends there are, known without loading any."""

from __future__ import annotations

from importlib.util import find_spec

from late_rerank.errors import MissingDependencyError

# Fastest first. The module that each needs, beside this package's own.
ENGINES = {"openvino": "openvino", "onnx": "onnxruntime"}
BACKENDS = ("auto", "torch", *ENGINES)


def check_backend(backend: str) -> None:
    """See to it that a backend is known and, where it is named, installed.

    Raises:
        ValueError: It isn't known.
        MissingDependencyError: It isn't installed.
    """
    if backend not in BACKENDS:
        raise ValueError(f"backend must be one of {', '.join(BACKENDS)}, got {backend!r}")
    if backend in ENGINES and find_spec(ENGINES[backend]) is None:
        raise MissingDependencyError(f'backend="{backend}"', ENGINES[backend], backend)


def installed_engines() -> list[str]:
    """What could run a model instead of torch, fastest first."""
    return [name for name, package in ENGINES.items() if find_spec(package) is not None]
