"""Bytes that every later version must write and read: stores hold them for years."""

import numpy as np
import pytest

from late_rerank.codecs import codec
from late_rerank.types import TokenVectors

VALUES = np.array([[0.5, -0.25, 0.125, 1.0], [0.0, 0.0, 0.0, 0.0], [-0.6, 0.8, 0.3333, -0.001]], np.float32)
VECTORS = TokenVectors(VALUES, np.array([0, 2, 3]))

BYTES = {
    "float32": {
        "values": ["0000003f000080be0000003e0000803f00000000000000000000000000000000", "9a9919bfcdcc4c3f4ca6aa3e6f1283ba"]
    },
    "float16": {"values": ["003800b40030003c0000000000000000", "cdb8663a553519 94".replace(" ", "")]},
    "int8": {"codes": ["40e0107f00000000", "a17f3500"], "scales": ["0402013c00000000", "a069ce3b"]},
}


@pytest.mark.parametrize("name", BYTES)
def test_the_bytes_of_a_codec_never_change(name):
    packed = codec(name).encode(VECTORS)

    assert {column: [packed.column(column, i).tobytes().hex() for i in range(2)] for column in BYTES[name]} == BYTES[name]
