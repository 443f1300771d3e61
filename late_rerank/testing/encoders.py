"""The law of encoders."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import numpy as np
import pytest

from late_rerank.encode import CanUnpool, DescribesItself, Encoder, TellsTokens, described, unpooled
from late_rerank.encode.base import Kind, Token
from late_rerank.errors import IncompatibleError

TEXTS = [
    "Late interaction keeps one vector per token.",
    "A short one",
    "word " * 700,
    "Ünïcode, 日本語, emoji 🙂 and a\ttab",
    "lone surrogate \ud800 here",
    "nul \x00 inside",
    "x" * 3000,
]
# Spelt so that every vocabulary has them, if only letter by letter.
PLAIN_TEXTS = ["Late interaction keeps one vector per token.", "A short one"]


class EncoderTests:
    """Tests of an encoder. Inherit and override `make_encoder`. One encoder serves all tests of a class."""

    tolerance = 1e-5
    """Largest difference of a component between two encodings of one text: float32's rounding."""

    @classmethod
    def make_encoder(cls) -> Encoder:
        """Make the encoder under test."""
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

    def test_tokens_are_as_many_as_vectors(self, encoder: Encoder) -> None:
        plain = unpooled(encoder)
        for text, kind, tokens in _named(plain, TEXTS):
            encode = plain.encode_query if kind == "query" else plain.encode_document
            assert len(tokens) == len(encode([text]).values), (text[:40], kind)

    def test_tokens_have_their_places_in_the_text_in_order(self, encoder: Encoder) -> None:
        for text, kind, tokens in _named(unpooled(encoder), ["", *TEXTS]):
            starts, ends = [start for _, start, _ in tokens], [end for _, _, end in tokens]
            assert all(0 <= start <= end <= len(text) for start, end in zip(starts, ends, strict=True)), (text[:40], kind)
            assert starts == sorted(starts), (text[:40], kind)
            assert ends == sorted(ends), (text[:40], kind)

    def test_a_token_is_spelt_as_the_text_at_its_place(self, encoder: Encoder) -> None:
        for text, kind, tokens in _named(unpooled(encoder), PLAIN_TEXTS):
            placed = [(_letters(token), _letters(text[start:end])) for token, start, end in tokens if start != end]
            assert placed, (text, kind)
            assert [token for token, _ in placed] == [place for _, place in placed], (text, kind)

    def test_queries_and_documents_are_the_only_kinds_of_tokens(self, encoder: Encoder) -> None:
        with pytest.raises(ValueError, match="passage"):
            _telling(unpooled(encoder)).tokens("text", "passage")  # type: ignore[arg-type]

    def test_vectors_before_pooling_are_another_fingerprints_where_they_differ(self, encoder: Encoder) -> None:
        plain = _plain(encoder)
        assert isinstance(plain, Encoder)
        assert plain.dim == encoder.dim
        given, own = encoder.encode_document(TEXTS), plain.encode_document(TEXTS)
        if plain.fingerprint == encoder.fingerprint:
            np.testing.assert_allclose(own.values, given.values, atol=self.tolerance)
        else:
            assert len(own.values) > len(given.values)

    def test_pooled_vectors_have_no_tokens(self, encoder: Encoder) -> None:
        if _plain(encoder).fingerprint == encoder.fingerprint:
            pytest.skip("the encoder pools nothing")
        with pytest.raises(IncompatibleError, match="pool"):
            _telling(encoder).tokens(TEXTS[0], "document")

    def test_it_describes_itself(self, encoder: Encoder) -> None:
        if not isinstance(encoder, DescribesItself):
            pytest.skip("the encoder is no DescribesItself: it lacks name, backend, pooling or query_tokens")
        about = described(encoder)
        assert about.name.strip() == about.name != ""
        assert about.backend.name.strip() == about.backend.name != ""
        assert isinstance(about.pooling, (int, float))
        assert about.pooling >= 1

    def test_no_query_has_more_vectors_than_it_says(self, encoder: Encoder) -> None:
        most = described(encoder).query_tokens
        if most is None:
            pytest.skip("the encoder states no query_tokens, the most tokens of a query that count")
        assert encoder.encode_query(TEXTS).lengths.max() <= most


def _named(encoder: Encoder, texts: Sequence[str]) -> Iterator[tuple[str, Kind, Sequence[Token]]]:
    """Give each text, as a query and as a document, with its tokens. A blank query is left out."""
    telling = _telling(encoder)
    kinds: tuple[Kind, ...] = ("query", "document")
    for text in texts:
        for kind in kinds if text else kinds[1:]:
            yield text, kind, telling.tokens(text, kind)


def _telling(encoder: Encoder) -> TellsTokens:
    if not isinstance(encoder, TellsTokens):
        pytest.skip("the encoder is no TellsTokens: it has no tokens(text, kind), which explanations need")
    return encoder


def _plain(encoder: Encoder) -> Encoder:
    if not isinstance(encoder, CanUnpool):
        pytest.skip("the encoder is no CanUnpool: it has no unpooled()")
    return encoder.unpooled()


def _letters(text: str) -> str:
    """The letters and digits of ASCII: what vocabularies put before a token ("##", "\u0120", "\u2581") is none of them."""
    return re.sub("[^a-z0-9]", "", text.lower())
