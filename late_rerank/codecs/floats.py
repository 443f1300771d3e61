"""float32 (lossless) and float16 (half the bytes, relative error at most 2**-11 a component)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from late_rerank.codecs.base import Codec
from late_rerank.types import F32, Bytes, CodecSpec


class _FloatCodec(Codec):
    dtype: ClassVar[type[np.floating]]

    def spec(self, dim: int) -> CodecSpec:
        return CodecSpec(self.name, dim, {"values": dim * np.dtype(self.dtype).itemsize})

    def encode_columns(self, values: F32) -> Mapping[str, NDArray[np.generic]]:
        return {"values": values.astype(self.dtype, copy=False)}

    def unpack(self, columns: Mapping[str, Bytes], dim: int) -> tuple[NDArray[Any], F32 | None]:
        return columns["values"].view(self.dtype).reshape(-1, dim), None


class Float32Codec(_FloatCodec):
    """Lossless: 4 bytes a component."""

    name = "float32"
    dtype = np.float32


class Float16Codec(_FloatCodec):
    """2 bytes a component, up to 65,504.

    The relative error is at most 2**-11 above 6e-5. Below 6e-5 the absolute error is at most 3e-8.
    """

    name = "float16"
    dtype = np.float16

    def encode_columns(self, values: F32) -> Mapping[str, NDArray[np.generic]]:
        """As in Codec.

        Raises:
            ValueError: If a component is beyond float16's range. Components of normalised vectors never are.
        """
        if values.size and np.abs(values).max() > np.finfo(np.float16).max:
            raise ValueError("float16 holds components up to 65,504; normalise the token vectors or use 'float32'")
        return super().encode_columns(values)
