"""The law of encoders."""

from __future__ import annotations

import numpy as np
import pytest

from late_rerank.encode import Encoder

TEXTS = [
    "Late interaction keeps one vector per token.",
    "A short one",
    "word " * 700,
    "Ünïcode, 日本語, emoji 🙂 and a\ttab",
    "lone surrogate \ud800 here",
    "nul \x00 inside",
    "x" * 3000,
]


class EncoderTests:
    """Inherit and give `make_encoder`. One encoder serves all tests of a class."""

    tolerance = 1e-5
    """Largest difference of a component between two encodings of one text: float32's rounding."""

    @classmethod
    def make_encoder(cls) -> Encoder:
        """The encoder under test."""
        raise NotImplementedError

    @pytest.fixture(scope="class")
    @classmethod
    def encoder(cls) -> Encoder:
        return cls.make_encoder()

    def test_it_says_what_it_is(self, encoder: Encoder) -> None:
        assert isinstance(encoder, Encoder)
        assert encoder.dim >= 1
        assert encoder.fingerprint

    def test_vectors_are_float32_of_unit_length(self, encoder: Encoder) -> None:
        for vectors in (encoder.encode_document(TEXTS), encoder.encode_query(TEXTS)):
            assert vectors.values.dtype == np.float32
            assert vectors.dim == encoder.dim
            np.testing.assert_allclose(np.linalg.norm(vectors.values, axis=1), 1, atol=1e-4)

    def test_every_text_has_its_entry_in_order(self, encoder: Encoder) -> None:
        together = encoder.encode_document(TEXTS)
        assert len(together) == len(TEXTS)
        for i, text in enumerate(TEXTS):
            alone = encoder.encode_document([text])
            assert len(alone.values) == len(together.rows(i))
            np.testing.assert_allclose(alone.values, together.rows(i), atol=self.tolerance)

    def test_the_order_of_a_batch_changes_nothing(self, encoder: Encoder) -> None:
        forward, backward = encoder.encode_document(TEXTS), encoder.encode_document(TEXTS[::-1])
        for i in range(len(TEXTS)):
            np.testing.assert_allclose(forward.rows(i), backward.rows(len(TEXTS) - 1 - i), atol=self.tolerance)

    def test_queries_do_not_depend_on_their_neighbours(self, encoder: Encoder) -> None:
        together = encoder.encode_query(TEXTS)
        for i, text in enumerate(TEXTS):
            np.testing.assert_allclose(encoder.encode_query([text]).values, together.rows(i), atol=self.tolerance)

    def test_no_texts_give_no_vectors(self, encoder: Encoder) -> None:
        assert len(encoder.encode_document([])) == len(encoder.encode_query([])) == 0

    def test_blank_documents_do_no_harm(self, encoder: Encoder) -> None:
        vectors = encoder.encode_document(["", TEXTS[0], " \n"])
        assert len(vectors) == 3
        np.testing.assert_allclose(vectors.rows(1), encoder.encode_document([TEXTS[0]]).values, atol=self.tolerance)
