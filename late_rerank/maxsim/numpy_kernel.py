"""MaxSim in NumPy: one matrix product for each block of documents, then `maximum.reduceat`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from late_rerank.maxsim.blocks import BlockKernel
from late_rerank.types import F32, I64


class NumpyKernel(BlockKernel):
    """Runs everywhere. Scales multiply the products, 32 a token, instead of the components, 384 a token."""

    name = "numpy"

    def _block_maxima(self, query: F32, rows: NDArray[Any], scales: F32 | None, lengths: I64) -> F32:
        products: F32 = query @ rows.astype(np.float32, copy=False).T
        if scales is not None:
            products *= scales
        # `reduceat` takes an empty segment for the row at its start, so a block holds no empty documents.
        maxima: F32 = np.maximum.reduceat(products, np.cumsum(lengths) - lengths, axis=1).T
        return maxima
