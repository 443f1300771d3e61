"""Where torch may compute: a device as a user names it -> a device of this machine."""

from __future__ import annotations

import torch

# torch's kinds of accelerators, each a module of that name.
_ACCELERATORS = ("cuda", "xpu", "mps", "hpu", "npu")


def checked_device(device: str | torch.device | None) -> str | None:
    """Find a device of this machine, by torch's name for it.

    Args:
        device: "cpu", "cuda", "cuda:1", "mps", ... in any case, or a torch.device; None stays None.

    Raises:
        ValueError: If torch knows no such device, or it isn't here.
        TypeError: If `device` is neither a name nor a torch.device.
    """
    if device is None:
        return None
    if not isinstance(device, (str, torch.device)):
        raise TypeError(f'device must be a name ("cpu"), a torch.device or None, got {type(device).__name__}: {device!r:.60}')
    here = _devices()
    try:
        asked = torch.device(str(device).strip().lower())
    except RuntimeError as error:
        raise _not_here(device, here) from error
    if asked.type != "cpu" and str(asked) not in here:
        raise _not_here(device, here)
    return str(asked)


def _not_here(device: object, here: list[str]) -> ValueError:
    return ValueError(f"device={str(device)!r} isn't here: torch has {', '.join(here)}. None takes the fastest.")


def _devices() -> list[str]:
    """Name all devices of this machine: each kind alone, for its first device, and with a number."""
    found = ["cpu"]
    for kind in _ACCELERATORS:
        module = getattr(torch, kind, None)
        if module is not None and module.is_available():
            found += [kind, *(f"{kind}:{i}" for i in range(module.device_count()))]
    return found
