"""Where a model runs: on a device of torch's, or on the processor, which needs no torch."""

from __future__ import annotations

import os
import platform
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from late_rerank.encode.backends.names import ENGINES, TORCH, has_torch
from late_rerank.errors import check_installed
from late_rerank.warn import warn_caller

CPU = "cpu"

# torch's libraries for accelerators, and files of the drivers on Linux that each needs: NVIDIA's (beside them Windows' and
# Jetson's), AMD's, Intel's.
_ACCELERATORS = {
    "torch_cuda": ("/dev/nvidiactl", "/dev/dxg", "/dev/nvhost-gpu", "/dev/nvgpu"),
    "torch_hip": ("/dev/kfd", "/dev/dxg"),
    "torch_xpu": ("/dev/dri", "/dev/dxg"),
}
# Accelerators whose libraries are packages of their own.
_OTHERS = ("/dev/accel", "/dev/davinci_manager")


def as_device(given: Any) -> str | None:
    """Find a device of this machine by its name or as a torch.device; None as it is. The processor needs no torch.

    Raises:
        ValueError: If there is no such device here.
        TypeError: If it is of none of these kinds.
        MissingDependencyError: If it is another device than the processor, and torch isn't installed.
    """
    if given is None:
        return None
    if isinstance(given, str) and given.strip().lower() in (CPU, "cpu:0"):
        return CPU
    check_installed(f"device={str(given)!r}", "torch", *TORCH)
    from late_rerank.encode.torch.devices import checked_device  # noqa: PLC0415 - loads torch

    return checked_device(given)


def torch_device(device: Any, backend: str) -> str | None:
    """Choose the device on which torch should run a model; None where an engine runs it on the processor.

    Args:
        device: As the user gave it; None for the fastest.
        backend: As the user gave it. Engines run on processors alone.

    Raises:
        ValueError: If the device isn't here.
        TypeError: If it is of no known kind.
        MissingDependencyError: If it needs torch, which isn't installed.
    """
    found = as_device(device)
    if backend == "torch":
        return found or _fastest()
    if found is None and (backend in ENGINES or not _may_have_accelerator()):
        return None
    chosen = found or _fastest()
    if chosen.partition(":")[0] == CPU:
        return None
    if backend in ENGINES:
        warn_caller(f"torch runs the model instead of {backend}: the model is on {chosen}, where torch is fastest")
    return chosen


def _fastest() -> str:
    from sentence_transformers.util import get_device_name  # noqa: PLC0415 - loads torch

    return str(get_device_name())


def _may_have_accelerator() -> bool:
    """Tell whether it is worth asking torch, which takes seconds of processor time."""
    if not has_torch():
        return False
    if "torch" in sys.modules:
        return True
    if sys.platform == "darwin":
        return platform.machine() == "arm64"
    spec = find_spec("torch")
    libraries = [file.name for file in Path(spec.origin).parent.glob("lib/*torch_*")] if spec and spec.origin else []
    drivers = [
        driver for name, needed in _ACCELERATORS.items() if any(name in library for library in libraries) for driver in needed
    ]
    return any(os.name == "nt" or Path(driver).exists() for driver in drivers) or any(Path(each).exists() for each in _OTHERS)
