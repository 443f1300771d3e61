"""What an engine is: ids and masks go in, token vectors come out."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from late_rerank.types import F32

Run = Callable[[NDArray[np.int64], NDArray[np.int64]], F32]
"""Token ids and their mask, (n, width) int64 each -> (n, width, dim) float32. Safe to call from several threads."""

# Tokens of a query, or of a few; larger batches are worth several threads.
FEW_TOKENS = 512
