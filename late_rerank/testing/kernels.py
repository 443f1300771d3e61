"""The law of kernels: they equal `late_rerank.maxsim.reference`, wherever the documents lie."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from numpy.typing import NDArray

from late_rerank.codecs import Codec, codec, from_spec
from late_rerank.errors import IncompatibleError
from late_rerank.maxsim import Kernel, reference
from late_rerank.maxsim.windows import window_scores
from late_rerank.testing.vectors import codecs_named, random_packed, random_vectors, scattered, scored_by_reference
from late_rerank.types import F32, CodecSpec, PackedVectors, TokenVectors

LENGTHS = [1, 0, 7, 300, 40, 0, 2, 181, 64]
TOLERANCE = 1e-5
"""Largest error of a float32 score, for each query token."""


class KernelTests:
    """Tests of a kernel. Inherit and override `make_kernel`."""

    def make_kernel(self) -> Kernel:
        """Make the kernel under test."""
        raise NotImplementedError

    def scored_query(self, query: F32, codec: Codec) -> NDArray[np.floating]:
        """Give the query as the kernel multiplies it with the rows of `codec.unpack`. Override it if the kernel rounds."""
        return codec.rotate(query)

    @pytest.fixture
    def kernel(self) -> Kernel:
        return self.make_kernel()

    def test_float32_is_among_its_codecs(self, kernel: Kernel) -> None:
        assert "float32" in kernel.codecs

    @pytest.mark.parametrize("dim", [1, 3, 48, 128, 384])
    @pytest.mark.parametrize("n_query_tokens", [1, 2, 32])
    def test_every_codec_scores_as_the_reference(self, kernel: Kernel, dim: int, n_query_tokens: int) -> None:
        query = random_vectors([n_query_tokens], dim, seed=1)
        for each in codecs_named(kernel.codecs, dim):
            packed = each.encode(random_vectors(LENGTHS, dim))
            self.assert_equals_reference(kernel, query, packed)

    def test_documents_are_read_wherever_they_lie(self, kernel: Kernel) -> None:
        query = random_vectors([9], 48, seed=1)
        for each in codecs_named(kernel.codecs, 48):
            packed = each.encode(random_vectors(LENGTHS, 48))
            order = np.random.default_rng(2).permutation(len(LENGTHS))
            self.assert_equals_reference(kernel, query, scattered(packed).take(order))

    def test_row_sums_of_token_maxima_are_the_scores(self, kernel: Kernel) -> None:
        query = random_vectors([9], 48, seed=1)
        for each in codecs_named(kernel.codecs, 48):
            packed = each.encode(random_vectors(LENGTHS, 48))
            maxima = kernel.token_maxima(query, packed)
            assert maxima.shape == (len(LENGTHS), 9)
            assert maxima.dtype == np.float32
            np.testing.assert_allclose(maxima.sum(axis=1), kernel.score(query, packed), rtol=1e-5, atol=1e-4)

    def test_negative_similarities_are_kept(self, kernel: Kernel) -> None:
        query = TokenVectors(np.array([[1, 0], [0, 1]], np.float32), np.array([0, 2]))
        documents = TokenVectors(np.array([[-1, -0.4], [-0.1, -0.1], [-0.2, -0.2]], np.float32), np.array([0, 1, 3, 3]))
        scores = kernel.score(query, codec("float32").encode(documents))
        np.testing.assert_allclose(scores, [-1.4, -0.2, -1e9], rtol=1e-6)

    def test_a_zero_vector_is_a_token(self, kernel: Kernel) -> None:
        query = TokenVectors(np.array([[1, 0]], np.float32), np.array([0, 1]))
        documents = TokenVectors(np.array([[-0.5, 0], [0, 0]], np.float32), np.array([0, 2]))
        assert kernel.score(query, codec("float32").encode(documents)).tolist() == [0.0]

    @pytest.mark.parametrize("lengths", [[], [0], [0, 0, 0]])
    def test_no_documents_and_documents_without_tokens(self, kernel: Kernel, lengths: list[int]) -> None:
        # -1e9 / 11, summed 11 times in float32, is not -1e9. -1e9 / 4096 is small enough to show what is added to it.
        for n_query_tokens, each in itertools.product((1, 3, 11, 31, 4096), codecs_named(kernel.codecs, 48)):
            query, packed = random_vectors([n_query_tokens], 48), each.encode(random_vectors(lengths, 48))
            scores = kernel.score(query, packed)
            assert scores.dtype == np.float32
            assert scores.tolist() == [-1e9] * len(lengths)
            assert (kernel.token_maxima(query, packed) == np.float32(-1e9 / n_query_tokens)).all()

    def test_a_document_scores_the_same_among_any_neighbours(self, kernel: Kernel) -> None:
        query, packed = random_vectors([9], 48, seed=1), codec("float32").encode(random_vectors([50] * 40, 48))
        together = kernel.score(query, packed)
        alone = np.concatenate([kernel.score(query, packed.take(np.array([i]))) for i in range(len(packed))])
        np.testing.assert_allclose(together, alone, atol=9 * TOLERANCE)

    def test_what_does_not_fit_is_refused(self, kernel: Kernel) -> None:
        packed = codec("float32").encode(random_vectors([3], 48))
        with pytest.raises(IncompatibleError, match="48"):
            kernel.score(random_vectors([3], 32), packed)
        with pytest.raises(ValueError, match="one query"):
            kernel.score(random_vectors([3, 3], 48), packed)
        unknown = CodecSpec("nobody's", 48, {"codes": 48})
        with pytest.raises(IncompatibleError, match="nobody's"):
            kernel.score(random_vectors([3], 48), random_packed([3], unknown))

    def test_threads_get_what_one_thread_gets(self, kernel: Kernel) -> None:
        packed = codec("float32").encode(random_vectors([50] * 40, 48))
        queries = [random_vectors([9], 48, seed=i) for i in range(16)]
        expected = [kernel.score(query, packed) for query in queries]
        with ThreadPoolExecutor(4) as pool:
            for scores, alone in zip(pool.map(lambda query: kernel.score(query, packed), queries), expected, strict=True):
                np.testing.assert_allclose(scores, alone, atol=9 * TOLERANCE)

    def test_damaged_bytes_are_refused(self, kernel: Kernel) -> None:
        """NaN or infinity is in a scale, or in a component if there are no scales. A maximum would drop it, or all after it."""
        query = random_vectors([9], 48, seed=1)
        for name in sorted(kernel.codecs):
            for value, token in itertools.product((np.nan, np.inf, -np.inf), (0, 150, LENGTHS[3] - 1)):
                packed = codec(name).encode(random_vectors(LENGTHS, 48))
                column, dtype = ("scales", np.float32) if "scales" in packed.codec.columns else ("values", name)
                packed.column(column, 3).view(dtype).reshape(LENGTHS[3], -1)[token, -1] = value
                with pytest.raises(ValueError, match="document 3"):
                    kernel.score(query, packed)
                with pytest.raises(ValueError, match="document 3"):
                    kernel.token_maxima(query, packed)

    @pytest.mark.parametrize("strides", [(12, 72, 144), (1,), (5, 10)])
    def test_best_windows_are_the_references(self, kernel: Kernel, strides: tuple[int, ...]) -> None:
        for n_query_tokens in (2, 40):
            query = random_vectors([n_query_tokens], 48, seed=1)
            for each in codecs_named(kernel.codecs, 48):
                packed = each.encode(random_vectors(LENGTHS, 48))
                self.assert_windows_equal_reference(kernel, query, packed, strides)

    def test_a_document_of_two_strides_is_one_window(self, kernel: Kernel) -> None:
        query, packed = random_vectors([9], 48, seed=1), codec("float32").encode(random_vectors([24, 1, 0, 13], 48))
        found = window_scores(kernel, query, packed, np.array([12]))
        np.testing.assert_allclose(found.best[0], kernel.score(query, packed), rtol=1e-6, atol=9 * TOLERANCE)
        assert found.first.tolist() == [[0, 0, 0, 0]]

    def test_damaged_bytes_are_refused_in_windows(self, kernel: Kernel) -> None:
        query, packed = random_vectors([9], 48, seed=1), codec("float32").encode(random_vectors(LENGTHS, 48))
        packed.column("values", 3).view(np.float32)[-1] = np.nan
        with pytest.raises(ValueError, match="NaN or infinity"):
            window_scores(kernel, query, packed, np.array([12, 72]))

    @pytest.mark.parametrize("lengths", [[], [0], [0, 0, 0]])
    def test_windows_of_no_documents_and_of_documents_without_tokens(self, kernel: Kernel, lengths: list[int]) -> None:
        for n_query_tokens, each in itertools.product((0, 1, 11), codecs_named(kernel.codecs, 48)):
            query = random_vectors([n_query_tokens], 48)
            found = window_scores(kernel, query, each.encode(random_vectors(lengths, 48)), np.array([12, 72]))
            assert found.best.dtype == np.float32
            assert found.best.tolist() == [[-1e9] * len(lengths)] * 2
            assert found.mean.tolist() == [-1e9] * len(lengths)
            assert found.first.tolist() == [[0] * len(lengths)] * 2

    def test_bytes_laid_out_in_another_way_are_refused(self, kernel: Kernel) -> None:
        """The codec has the same name, but other columns or config. Its bytes would give wrong scores."""
        for name in sorted(kernel.codecs):
            packed = codec(name).encode(random_vectors(LENGTHS, 48))
            columns = {column: 2 * width for column, width in packed.codec.columns.items()}
            for spec in (CodecSpec(name, 48, packed.codec.columns, {"offset": 1}), CodecSpec(name, 48, columns)):
                with pytest.raises(ValueError, match="bytes of"):
                    kernel.score(random_vectors([3], 48), replace(packed, codec=spec))

    def assert_windows_equal_reference(
        self, kernel: Kernel, query: TokenVectors, packed: PackedVectors, strides: tuple[int, ...]
    ) -> None:
        """Compare the best windows at each scale with float64 arithmetic on the packed values."""
        scored, documents = self._scored_by_reference(query, packed)
        found = window_scores(kernel, query, packed, np.array(strides, dtype=np.int64))
        assert found.best.dtype == np.float32
        assert found.first.dtype == np.int64
        np.testing.assert_allclose(found.mean, found.best.mean(axis=0), rtol=1e-6)
        near = partial(np.testing.assert_allclose, rtol=1e-6, atol=TOLERANCE * max(len(query.values), 1))
        for scale, stride in enumerate(strides):
            for i, document in enumerate(documents):
                best, _ = reference.best_window(scored, document, 2 * stride)
                near(found.best[scale, i], best)
                # Two windows may be equal but for rounding, so the window that was found is scored anew.
                first = int(found.first[scale, i])
                assert first % stride == 0
                near(reference.maxsim(scored, document[first : first + 2 * stride]), best)

    def assert_equals_reference(self, kernel: Kernel, query: TokenVectors, packed: PackedVectors) -> None:
        """Compare both calls of the kernel with float64 arithmetic on the packed values."""
        scored, documents = self._scored_by_reference(query, packed)
        scores = kernel.score(query, packed)
        assert scores.dtype == np.float32
        assert scores.shape == (len(packed),)
        expected = reference.score(scored, documents)
        np.testing.assert_allclose(scores, expected, rtol=1e-6, atol=TOLERANCE * len(query.values))
        maxima = kernel.token_maxima(query, packed)
        assert maxima.dtype == np.float32
        expected = np.array([reference.token_maxima(scored, rows) for rows in documents]).reshape(maxima.shape)
        np.testing.assert_allclose(maxima, expected, rtol=1e-6, atol=TOLERANCE)

    def _scored_by_reference(
        self, query: TokenVectors, packed: PackedVectors
    ) -> tuple[NDArray[np.float64], list[NDArray[np.float64]]]:
        return scored_by_reference(self.scored_query(query.values, from_spec(packed.codec)), query.values, packed)
