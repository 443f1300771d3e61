"""The precision of a forward pass in training."""

from __future__ import annotations

import torch


def in_bfloat16(precision: str, device: torch.device) -> bool:
    """Tell whether a training's forward pass is computed in bfloat16.

    Args:
        precision: "auto" for bfloat16 where the device multiplies it, "float32" or "bfloat16".
        device: Where the model is.
    """
    if precision != "auto":
        return precision == "bfloat16"
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    # Emulated, bfloat16 would take longer than float32.
    has_it = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)  # no public function tells
    return device.type == "cpu" and bool(has_it())
