"""The score. In: one query's token vectors and packed documents. Out: one float32 a document.

README.md beside this file defines it. `reference.py` is the plainest implementation; every kernel is tested against it.
"""

from __future__ import annotations

from importlib.util import find_spec

from late_rerank.errors import check_installed
from late_rerank.maxsim.base import Kernel
from late_rerank.maxsim.numpy_kernel import NumpyKernel
from late_rerank.maxsim.packed import decoded, token_maxima
from late_rerank.maxsim.scoring import DEFAULT_SCORING, MAXSIM, PROXIMITY, SCORINGS, Scoring, as_scoring, scored

__all__ = [
    "DEFAULT_SCORING",
    "MAXSIM",
    "PROXIMITY",
    "SCORINGS",
    "Kernel",
    "NumpyKernel",
    "Scoring",
    "as_kernel",
    "as_scoring",
    "decoded",
    "describe_native",
    "kernel",
    "scored",
    "token_maxima",
    "why_not_native",
]


def kernel(name: str = "auto", device: str | None = None) -> Kernel:
    """Make the kernel of that name.

    Args:
        name: "native", "numpy", "torch" or "auto". "auto" takes torch if `device` is an accelerator; else native if it was
            compiled and the processor has one of its levels; else NumPy. `kernel.name` says which it took.
        device: A torch device, for the torch kernel.

    Raises:
        ValueError: If no kernel has that name, or "native" can't run here; the message says why.
        MissingDependencyError: If the torch kernel is taken, and torch isn't installed.
    """
    accelerated = device is not None and not device.startswith("cpu")
    if name == "torch" or (name == "auto" and accelerated):
        check_installed('kernel="torch"' if name == "torch" else f"the kernel of device={device!r}", "torch", "torch")
        from late_rerank.maxsim.torch_kernel import TorchKernel  # noqa: PLC0415 - loads torch

        return TorchKernel(device or "cpu")
    if name in ("auto", "native"):
        reason = why_not_native()
        if reason is None:
            from late_rerank.maxsim.native_kernel import NativeKernel  # noqa: PLC0415 - there may be none

            return NativeKernel()
        if name == "native":
            raise ValueError(f"kernel='native' can't run here: {reason}")
    if name in ("auto", "numpy"):
        return NumpyKernel()
    raise ValueError(f"kernel={name!r} is not known; choose 'auto', 'native', 'numpy' or 'torch', or pass a Kernel")


def as_kernel(given: str | Kernel, device: str | None = None) -> Kernel:
    """Find a kernel by its name; a Kernel as it is.

    Raises:
        ValueError: If no kernel has that name, or it can't run here.
        MissingDependencyError: As in `kernel`.
        TypeError: If it is neither.
    """
    if isinstance(given, str):
        return kernel(given, device)
    if isinstance(given, Kernel) and not isinstance(given, type):
        return given
    raise TypeError(f"kernel must be a name or a Kernel (name, codecs, score, token_maxima), got {type(given).__name__}")


def why_not_native() -> str | None:
    """Say why the native kernel can't run here; None if it can."""
    if find_spec("late_rerank.maxsim._native") is None:
        return "it wasn't compiled; install late-rerank where GCC or Clang is, or from a platform wheel"
    try:
        from late_rerank.maxsim import native_kernel  # noqa: PLC0415
    except ImportError as error:
        return f"its compiled part can't be loaded: {error}"
    if not native_kernel.levels():
        return "the processor has neither AVX2 nor NEON with dot products"
    return None


def describe_native() -> str:
    """Name the native kernel's levels on this processor, or say why it can't run."""
    if reason := why_not_native():
        return f"not available: {reason}"
    from late_rerank.maxsim.native_kernel import levels  # noqa: PLC0415 - there may be none

    return f"available: {', '.join(levels())}"
