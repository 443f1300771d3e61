import base64
import json
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from late_rerank.codecs import BinaryCodec, Float16Codec, Float32Codec, Int4Codec, Int8Codec, from_spec
from late_rerank.codecs.rotation import rotation
from late_rerank.errors import IncompatibleError, StoreFormatError
from late_rerank.testing import CodecTests
from late_rerank.testing.vectors import random_vectors
from late_rerank.types import CodecSpec, TokenVectors


class TestFloat32Codec(CodecTests):
    max_error = 0.0

    def make_codec(self):
        return Float32Codec()


class TestFloat16Codec(CodecTests):
    max_error = 2**-11

    def make_codec(self):
        return Float16Codec()


class TestInt8Codec(CodecTests):
    max_error = 0.012

    def make_codec(self):
        return Int8Codec()

    @pytest.mark.parametrize("dim", [1, 3, 48, 384])
    def test_a_component_is_off_by_half_a_step_at_most(self, codec, dim):
        values = random_vectors([200], dim).values
        back = codec.decode(codec.encode(random_vectors([200], dim))).values
        assert (np.abs(back - values) <= np.abs(values).max(axis=1, keepdims=True) / 254 * 1.001).all()


class RotatedCodecTests(CodecTests):
    @pytest.mark.parametrize("dim", [1, 3, 48, 384])
    def test_a_token_matches_its_own_packing_exactly(self, codec, dim):
        vectors = random_vectors([100], dim)
        back = codec.decode(codec.encode(vectors)).values
        np.testing.assert_allclose((back * vectors.values).sum(axis=1), 1.0, atol=1e-5)

    def test_vectors_too_long_for_it_are_refused(self, codec):
        vectors = random_vectors([5], 48)
        vectors.values[:] *= 1e37
        with pytest.raises(ValueError, match="normalise"):
            codec.encode(vectors)

    def test_products_with_other_vectors_are_right_on_average(self, codec):
        vectors = random_vectors([2000], 128)
        queries = vectors.values[:50] + random_vectors([50], 128, seed=1).values
        exact = queries @ vectors.values.T
        off = queries @ codec.decode(codec.encode(vectors)).values.T - exact
        # slope of the error over the product: 0 for an unbiased estimate; the nearest binary vector would have -0.36
        assert abs((off * exact).sum() / (exact * exact).sum()) < 0.02

    def test_a_vector_of_one_component_survives(self, codec):
        """Without the rotation, one scale for a large component would leave the others nothing."""
        spike = random_vectors([1], 384)
        spike.values[0] *= 0.01
        spike.values[0, 7] = 1
        back = codec.decode(codec.encode(spike)).values
        assert np.linalg.norm(back - spike.values) < self.max_error


class TestInt4Codec(RotatedCodecTests):
    max_error = 0.17

    def make_codec(self):
        return Int4Codec()

    def test_bytes_per_token(self, codec):
        assert [codec.spec(dim).bytes_per_token for dim in (384, 128, 5)] == [196, 68, 7]


class TestBinaryCodec(RotatedCodecTests):
    max_error = 1.4

    def make_codec(self):
        return BinaryCodec()

    def test_bytes_per_token(self, codec):
        assert [codec.spec(dim).bytes_per_token for dim in (384, 128, 5)] == [52, 20, 5]


class TestCentredBinaryCodec(CodecTests):
    # Of the token's length. The differences of these vectors to their centre are longer than they are.
    max_error = 2.0

    def make_codec_for(self, dim):
        return BinaryCodec(random_vectors([1], dim, seed=7).values[0] * np.float32(0.9))

    @pytest.mark.parametrize("dim", [1, 3, 48, 384])
    def test_a_difference_to_the_centre_matches_its_own_packing_exactly(self, dim):
        codec, vectors = self.make_codec_for(dim), random_vectors([100], dim)
        differences, back = vectors.values - codec.centre, codec.decode(codec.encode(vectors)).values - codec.centre
        np.testing.assert_allclose((back * differences).sum(axis=1), (differences**2).sum(axis=1), rtol=1e-5)

    @pytest.mark.parametrize("dim", [48, 128, 384])
    def test_a_token_matches_the_centre_as_its_packing_does(self, dim):
        """Nearly: without the flipped signs the error would be 10 to 30 times as large."""
        codec, vectors = self.make_codec_for(dim), random_vectors([500], dim)
        packed = codec.encode(vectors)
        off = (codec.decode(packed).values - vectors.values) @ codec.centre / np.linalg.norm(codec.centre)
        differences = np.linalg.norm(vectors.values - codec.centre, axis=1)
        assert np.sqrt((off**2).mean()) < 0.6 / dim * differences.mean()

    def test_products_with_other_vectors_are_right_on_average(self):
        codec, vectors = self.make_codec_for(128), random_vectors([2000], 128)
        differences = vectors.values - codec.centre
        queries = differences[:50] + random_vectors([50], 128, seed=1).values
        exact = queries @ differences.T
        off = queries @ (codec.decode(codec.encode(vectors)).values - vectors.values).T
        assert abs((off * exact).sum() / (exact * exact).sum()) < 0.02

    @pytest.mark.parametrize("factor", [0.0, 1.0, -3.0, 1e-20])
    def test_multiples_of_the_centre_survive(self, factor):
        """All their signs, and no flipped one, are those of the centre's direction: what is left to balance is rounding."""
        codec = self.make_codec_for(48)
        vectors = TokenVectors(np.tile(codec.centre * np.float32(factor), (3, 1)), np.array([0, 3]))
        packed = codec.encode(vectors)
        signs = np.where(codec.rotate(vectors.values - codec.centre) < 0, 0, 1)
        assert (np.unpackbits(packed.column("codes", 0).reshape(3, -1), axis=1, bitorder="little") == signs).all()
        off = (codec.decode(packed).values - vectors.values) @ codec.centre
        np.testing.assert_allclose(off, 0, atol=1e-5)

    def test_vectors_of_another_dim_are_refused(self):
        with pytest.raises(IncompatibleError, match="centre has 48 components, the token vectors have 47"):
            self.make_codec_for(48).encode(random_vectors([3], 47))
        with pytest.raises(IncompatibleError, match="47"):
            self.make_codec_for(48).spec(47)

    def test_vectors_too_long_for_it_are_refused(self):
        vectors = random_vectors([5], 48)
        vectors.values[:] *= 1e37
        with pytest.raises(ValueError, match="normalise"):
            self.make_codec_for(48).encode(vectors)

    def test_bytes_per_token(self):
        assert [self.make_codec_for(dim).spec(dim).bytes_per_token for dim in (384, 128, 5)] == [52, 20, 5]


@given(dim=st.integers(1, 1100), scale=st.sampled_from([0.0, 1e-9, 0.9, 1e4]), seed=st.integers(0, 2**32))
def test_a_centred_codec_is_found_again_by_its_spec(dim, scale, seed):
    centre = random_vectors([1], dim, seed).values[0] * np.float32(scale)
    made, vectors = BinaryCodec(centre), random_vectors([4], dim, seed + 1)
    np.testing.assert_allclose(made.centre, centre, rtol=2**-11, atol=2**-24)

    spec = CodecSpec(**json.loads(json.dumps(asdict(made.spec(dim)))))
    again = from_spec(spec)
    assert again.centre.tolist() == made.centre.tolist()
    assert again.spec(dim) == spec == made.spec(dim)
    assert (again.decode(made.encode(vectors)).values == made.decode(again.encode(vectors)).values).all()
    assert spec != BinaryCodec().spec(dim)


def test_without_a_centre_the_spec_has_none():
    assert BinaryCodec().spec(48).config == Int4Codec().spec(48).config
    assert BinaryCodec(None).centre is None


@pytest.mark.parametrize(
    "centre",
    [
        "no base64!",
        "",
        "AAAA AAAA" + 120 * "A",  # decoded all the same by a lenient reader
        base64.b64encode(np.zeros(47, "<f2").tobytes()).decode(),
        base64.b64encode(np.zeros(49, "<f2").tobytes()).decode(),
        base64.b64encode(b"x" * 95).decode(),
        base64.b64encode(np.full(48, np.nan, "<f2").tobytes()).decode(),
        base64.b64encode(np.full(48, -np.inf, "<f2").tobytes()).decode(),
        "\u00e9" * 128,
        7,
        None,
        ["AAAA"],
    ],
)
def test_a_spec_whose_centre_is_none_is_refused(centre):
    plain = BinaryCodec().spec(48)
    with pytest.raises(ValueError, match="can't be read") as raised:
        from_spec(CodecSpec("binary", 48, plain.columns, {**plain.config, "centre": centre}))
    assert isinstance(raised.value, StoreFormatError) or centre is None


def test_a_centre_of_another_codec_is_refused():
    plain, centred = Int4Codec().spec(48), BinaryCodec(np.ones(48)).spec(48)
    with pytest.raises(ValueError, match="bytes of"):
        from_spec(CodecSpec("int4", 48, plain.columns, centred.config))


@pytest.mark.parametrize(
    ("centre", "message"),
    [
        (np.full(3, np.nan), "finite"),
        ([1, np.inf], "finite"),
        ([1e5, 0], "65,504"),
        (np.zeros((1, 3)), r"shape \(1, 3\)"),
        ([], r"shape \(0,\)"),
        (0.5, r"shape \(\)"),
    ],
)
def test_a_centre_that_is_none_is_refused(centre, message):
    with pytest.raises(ValueError, match=message):
        BinaryCodec(centre)


@given(dim=st.integers(1, 1100), n=st.integers(0, 600), seed=st.integers(0, 65_535))
def test_the_rotation_keeps_products_and_has_an_inverse(dim, n, seed):
    values, turned = random_vectors([min(n, 40_000 // dim)], dim).values, rotation(seed, dim)
    rotated = turned.rotate(values)
    np.testing.assert_allclose(rotated @ rotated.T, values @ values.T, atol=1e-5)
    np.testing.assert_allclose(turned.rotate_back(rotated), values, atol=1e-5)


@given(dim=st.integers(1, 400), rows=st.lists(st.integers(0, 599), min_size=1, max_size=5))
def test_a_row_is_rotated_the_same_to_the_last_bit_in_any_company(dim, rows):
    values, turned = random_vectors([600], dim).values, rotation(0, dim)
    assert (turned.rotate(values[rows]) == turned.rotate(values)[rows]).all()


@pytest.mark.parametrize("dim", [48, 96, 128, 384, 383, 768])
def test_the_rotation_spreads_every_component_over_all(dim):
    rows = rotation(0, dim).rotate(np.eye(dim, dtype=np.float32))
    assert np.abs(rows).max() < 8 / np.sqrt(dim)
    assert (rows != 0).mean() > 0.7


def test_seeds_make_different_rotations():
    assert (rotation(0, 384).permutation != rotation(1, 384).permutation).mean() > 0.9
    assert 0.3 < (rotation(0, 384).signs != rotation(1, 384).signs).mean() < 0.7
