"""What a model's arguments must be, told before any model is loaded."""

from __future__ import annotations

import numpy as np


def check_max_tokens(max_tokens: int | None) -> None:
    """See to it that a cap on a document's tokens is None or at least 1."""
    if max_tokens is not None and max_tokens < 1:
        raise ValueError(f"max_tokens must be at least 1, or None for no cap, got {max_tokens}")


def check_pooling(pooling: object) -> None:
    """See to it that a pooling factor is a whole number of at least 1."""
    if isinstance(pooling, bool) or not isinstance(pooling, (int, np.integer)):
        raise TypeError(f"pooling must be an int, got {pooling!r:.60}")
    if pooling < 1:
        raise ValueError(f"pooling must be at least 1, which pools nothing, got {pooling}")
