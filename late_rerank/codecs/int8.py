"""int8 with a scale for each token: a quarter of float32's bytes; error at most 1/254 of the token's largest component."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from late_rerank.codecs.base import Codec
from late_rerank.types import F32, Bytes, CodecSpec


class Int8Codec(Codec):
    """Divides components by the token's scale (largest magnitude / 127) and rounds them to even.

    Each token has a scale of its own, so a token's error depends on that token alone. With one scale for a whole matrix, a
    document's bytes would depend on its neighbours in the batch.
    """

    name = "int8"

    def spec(self, dim: int) -> CodecSpec:
        return CodecSpec(self.name, dim, {"codes": dim, "scales": 4})

    def encode_columns(self, values: F32) -> Mapping[str, NDArray[np.generic]]:
        scales = np.abs(values).max(axis=1, initial=0.0).astype(np.float32) / np.float32(127)
        # A zero vector stays a zero vector: any divisor but 0 gives codes of 0.
        divisors = np.where(scales > 0, scales, np.float32(1))[:, None]
        codes = np.rint(np.clip(values / divisors, -127, 127)).astype(np.int8)
        return {"codes": codes, "scales": scales}

    def unpack(self, columns: Mapping[str, Bytes], dim: int) -> tuple[NDArray[Any], F32 | None]:
        return columns["codes"].view(np.int8).reshape(-1, dim), columns["scales"].view(np.float32)
