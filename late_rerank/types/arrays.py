"""Arrays by their dtype."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]
I64 = NDArray[np.int64]
Bytes = NDArray[np.uint8]
