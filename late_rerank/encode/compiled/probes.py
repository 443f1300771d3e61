"""Inputs, and the vectors that torch gives for them: what engines are compared with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from late_rerank.types import F32, I64


@dataclass(frozen=True)
class Probes:
    """A batch of texts, and the vectors of its graph's first output.

    Attributes:
        ids: (n, width) int64.
        mask: (n, width) int64 of 0 and 1.
        vectors: (n_tokens, dim) float32, torch's in float32, of the positions where `mask` is 1.
    """

    ids: I64
    mask: I64
    vectors: F32

    def write(self, file: Path) -> None:
        """Write them as a .safetensors file; vectors in float16, whose cosines to float32 are above .9999999."""
        half = self.vectors.astype(np.float16)
        save_file({"ids": self.ids, "mask": self.mask, "vectors": half}, file)

    @classmethod
    def read(cls, file: Path) -> Probes:
        """Read what `write` wrote."""
        kept = load_file(file)
        return cls(kept["ids"], kept["mask"], kept["vectors"].astype(np.float32))
