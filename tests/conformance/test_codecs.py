import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from late_rerank.codecs import BinaryCodec, Float16Codec, Float32Codec, Int4Codec, Int8Codec
from late_rerank.codecs.rotation import rotation
from late_rerank.testing import CodecTests
from late_rerank.testing.vectors import random_vectors


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

    def test_bytes_per_token(self):
        assert [self.make_codec_for(dim).spec(dim).bytes_per_token for dim in (384, 128, 5)] == [52, 20, 5]


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
