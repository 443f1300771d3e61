"""Bytes that every later version must write and read: stores hold them for years."""

import hashlib

import numpy as np
import pytest

from late_rerank.codecs import BinaryCodec, codec
from late_rerank.codecs.rotation import rotation
from late_rerank.types import TokenVectors

VALUES = np.array([[0.5, -0.25, 0.125, 1.0], [0.0, 0.0, 0.0, 0.0], [-0.6, 0.8, 0.3333, -0.001]], np.float32)
VECTORS = TokenVectors(VALUES, np.array([0, 2, 3]))

BYTES = {
    "float32": {
        "values": ["0000003f000080be0000003e0000803f00000000000000000000000000000000", "9a9919bfcdcc4c3f4ca6aa3e6f1283ba"]
    },
    "float16": {"values": ["003800b40030003c0000000000000000", "cdb8663a553519 94".replace(" ", "")]},
    "int8": {"codes": ["40e0107f00000000", "a17f3500"], "scales": ["0402013c00000000", "a069ce3b"]},
    "int4": {"codes": ["6ca08888", "075c"], "scales": ["0000803d00000000", "f5086d3d"]},
    "binary": {"codes": ["090f", "02"], "scales": ["00002a3f00000000", "0a02243f"]},
}

# Of 8 tokens of other dims: one that is no multiple of 8, and that of the built-in model.
DIGESTS = {
    ("int4", 5): "3b89fd6e96bce085",
    ("int4", 384): "4bba8d11434db198",
    ("binary", 5): "ad02072bf8b9ab97",
    ("binary", 384): "ea393d8b94de85d1",
}


@pytest.mark.parametrize("name", BYTES)
def test_the_bytes_of_a_codec_never_change(name):
    packed = codec(name).encode(VECTORS)

    assert {column: [packed.column(column, i).tobytes().hex() for i in range(2)] for column in BYTES[name]} == BYTES[name]


@pytest.mark.parametrize(("name", "dim"), DIGESTS)
def test_the_bytes_of_wider_vectors_never_change(name, dim):
    values = (np.arange(8 * dim) * 37 % 101 - 50).astype(np.float32).reshape(8, dim) / 64
    packed = codec(name).encode(TokenVectors(values, np.array([0, 8])))

    columns = [packed.column(column, 0).tobytes() for column in packed.codec.columns]
    assert hashlib.sha256(b"".join(columns)).hexdigest()[:16] == DIGESTS[name, dim]


CENTRE = np.array([0.25, -0.5, 0.1, 0.7], np.float32)


def test_the_bytes_and_the_spec_of_a_centred_codec_never_change():
    packed = BinaryCodec(CENTRE).encode(VECTORS)

    assert packed.codec.config == codec("binary").spec(4).config | {"centre": "ADQAuGYumjk="}
    assert {column: [packed.column(column, i).tobytes().hex() for i in range(2)] for column in BYTES["binary"]} == {
        "codes": ["0106", "02"],
        "scales": ["21c6853e3f94143f", "f18c753f"],
    }


def test_the_bytes_of_wider_centred_vectors_never_change():
    values = (np.arange(8 * 384) * 37 % 101 - 50).astype(np.float32).reshape(8, 384) / 64
    centre = (np.arange(384) * 29 % 53 - 20).astype(np.float32) / 32
    packed = BinaryCodec(centre).encode(TokenVectors(values, np.array([0, 8])))

    columns = [packed.column(column, 0).tobytes() for column in packed.codec.columns]
    assert hashlib.sha256(b"".join(columns)).hexdigest()[:16] == "9fd3bcc23b6b1c5c"


def test_the_rotation_never_changes():
    turned = rotation(0, 8)

    assert turned.signs.astype(int).tolist() == [
        [1, -1, 1, 1, 1, 1, 1, 1],
        [-1, -1, 1, 1, -1, 1, 1, 1],
        [1, 1, 1, 1, -1, -1, 1, 1],
    ]
    assert turned.permutation.tolist() == [[0, 7, 5, 3, 6, 4, 2, 1], [1, 7, 5, 6, 0, 3, 2, 4], [6, 1, 0, 5, 7, 4, 2, 3]]
    assert rotation(0, 384).blocks.tolist() == [256, 128]


def test_the_rotation_is_what_its_definition_says():
    """Written out once more, in Python's own integers."""

    def h(seed, what, r, i):
        x = seed * 2**48 + what * 2**40 + r * 2**32 + i
        x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        x = (x ^ (x >> 27)) * 0x94D049BB133111EB % 2**64
        return x ^ (x >> 31)

    turned, dim, seed = rotation(9, 11), 11, 9
    v = np.linspace(-1, 1, dim)
    expected = v.copy()
    for r in range(3):
        assert turned.signs[r].tolist() == [-1 if h(seed, 0, r, i) & 1 else 1 for i in range(dim)]
        assert turned.permutation[r].tolist() == sorted(range(dim), key=lambda i: (h(seed, 1, r, i), i))
        expected = expected * turned.signs[r]
        for first, size in ((0, 8), (8, 2), (10, 1)):
            signs = np.array([[(-1) ** bin(i & j).count("1") for j in range(size)] for i in range(size)])
            expected[first : first + size] = signs @ expected[first : first + size] / np.sqrt(size)
        expected = expected[turned.permutation[r]]
    np.testing.assert_allclose(turned.rotate(v[None].astype(np.float32))[0], expected, atol=1e-6)
