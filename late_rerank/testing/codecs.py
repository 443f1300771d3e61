"""The law of codecs."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pytest

from late_rerank.codecs import Codec, Float32Codec, Int8Codec
from late_rerank.errors import IncompatibleError
from late_rerank.testing.vectors import random_vectors, same_documents, scattered
from late_rerank.types import F32, CodecSpec, TokenVectors

LENGTHS = [3, 0, 1, 180, 17, 0]
DIMS = [1, 3, 48, 128, 384]


class CodecTests:
    """Tests of a codec. Inherit, override `make_codec` and state `max_error`."""

    max_error: float
    """Largest error (L2 norm) of a random token vector, as a share of its length."""

    def make_codec(self) -> Codec:
        """Make the codec with its default settings."""
        raise NotImplementedError

    def make_codec_for(self, dim: int) -> Codec:  # noqa: ARG002 - most codecs take any
        """Make the codec for vectors of `dim` components. Override it for a codec that takes vectors of one `dim` only."""
        return self.make_codec()

    @pytest.fixture
    def codec(self) -> Codec:
        return self.make_codec_for(48)

    @pytest.mark.parametrize("dim", DIMS)
    def test_decoding_gives_the_vectors_back_within_the_stated_error(self, dim: int) -> None:
        codec, vectors = self.make_codec_for(dim), random_vectors(LENGTHS, dim)
        back = codec.decode(codec.encode(vectors))
        assert back.values.dtype == np.float32
        assert back.offsets.tolist() == vectors.offsets.tolist()
        assert back.truncated.tolist() == vectors.truncated.tolist()
        errors = np.linalg.norm(back.values - vectors.values, axis=1)
        assert (errors <= self.max_error * np.linalg.norm(vectors.values, axis=1) + 1e-6).all()

    def test_zero_vectors_stay_zero(self, codec: Codec) -> None:
        """Or, if the codec has a centre, vectors at the centre stay there."""
        zeros: F32 = np.zeros((4, 48), np.float32) if codec.centre is None else np.tile(codec.centre, (4, 1))
        assert (codec.decode(codec.encode(TokenVectors(zeros, np.array([0, 4])))).values == zeros).all()

    @pytest.mark.parametrize("lengths", [[], [0], [0, 0]])
    def test_no_documents_and_no_tokens_survive(self, codec: Codec, lengths: list[int]) -> None:
        back = codec.decode(codec.encode(random_vectors(lengths, 48)))
        assert back.lengths.tolist() == lengths
        assert back.dim == 48

    def test_packed_bytes_are_what_the_spec_says(self, codec: Codec) -> None:
        packed = codec.encode(random_vectors(LENGTHS, 48))
        assert packed.codec == codec.spec(48)
        assert packed.size_bytes == sum(LENGTHS) * codec.spec(48).bytes_per_token
        for name, width in packed.codec.columns.items():
            assert [len(packed.column(name, i)) for i in range(len(packed))] == [length * width for length in LENGTHS]

    def test_a_documents_bytes_do_not_depend_on_its_neighbours(self, codec: Codec) -> None:
        vectors = random_vectors(LENGTHS, 48)
        together = codec.encode(vectors)
        for i in range(len(vectors)):
            assert same_documents(codec.encode(vectors.one(i)), together.take(np.array([i])))

    def test_rotated_queries_match_unpacked_rows(self, codec: Codec) -> None:
        """Kernels rely on this. They rotate the query, so documents need not be rotated back. A centre is added apart."""
        vectors, query = random_vectors([9], 48), random_vectors([5], 48, seed=1).values
        packed = codec.encode(vectors)
        rows, scales = codec.unpack({name: packed.column(name, 0) for name in packed.codec.columns}, 48)
        rows = rows.astype(np.float32) if scales is None else rows.astype(np.float32) * scales[:, None]
        expected = query @ codec.decode(packed).values.T
        apart = np.float32(0) if codec.centre is None else query @ codec.centre[:, None]
        np.testing.assert_allclose(codec.rotate(query) @ rows.T + apart, expected, atol=1e-5)
        np.testing.assert_allclose(codec.rotate_back(codec.rotate(query)), query, atol=1e-6)

    def test_decoding_reads_documents_wherever_they_lie(self, codec: Codec) -> None:
        packed = codec.encode(random_vectors(LENGTHS, 48))
        assert (codec.decode(scattered(packed)).values == codec.decode(packed).values).all()

    def test_encoding_changes_nothing_and_shares_nothing(self, codec: Codec) -> None:
        vectors = random_vectors(LENGTHS, 48)
        before: F32 = vectors.values.copy()
        packed = codec.encode(vectors)
        assert (vectors.values == before).all()
        decoded = codec.decode(packed).values.copy()
        vectors.values[:] = 0
        assert (codec.decode(packed).values == decoded).all()

    def test_the_spec_survives_json(self, codec: Codec) -> None:
        spec = codec.spec(48)
        assert CodecSpec(**json.loads(json.dumps(asdict(spec)))) == spec

    def test_another_codecs_bytes_are_refused(self, codec: Codec) -> None:
        other = Int8Codec() if isinstance(codec, Float32Codec) else Float32Codec()
        with pytest.raises(IncompatibleError):
            codec.decode(other.encode(random_vectors([3], 48)))
