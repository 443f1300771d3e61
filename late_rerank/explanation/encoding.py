"""A text -> its vectors and the tokens that they stand for."""

from __future__ import annotations

from late_rerank.encode import Encoder
from late_rerank.encode.base import Kind
from late_rerank.encode.places import tokens_of
from late_rerank.explanation.matches import Token
from late_rerank.text.words import is_blank
from late_rerank.types import GivenVectors, TokenVectors
from late_rerank.vectors.encoding import check_vectors


def encoded(encoder: Encoder, text: str, kind: Kind) -> tuple[TokenVectors, tuple[Token, ...], bool]:
    """Give a text's vectors, its tokens, and whether it was cut. A blank text has no vectors, as in a ranking.

    Raises:
        ValueError: If the encoder gives NaN or infinity.
        IncompatibleError: If the encoder can't tell its tokens' places, or doesn't tell one for each vector.
    """
    encode = encoder.encode_query if kind == "query" else encoder.encode_document
    texts = [] if is_blank(text) else [text]
    vectors = encode(texts)
    check_vectors(vectors, texts, encoder.dim, kind)
    tokens = tuple(Token(*token) for token in tokens_of(encoder, text, kind, len(vectors.values)))
    return vectors, tokens, bool(vectors.truncated.any())


def given_with_tokens(encoder: Encoder, text: str, given: GivenVectors) -> tuple[TokenVectors, tuple[Token, ...], bool]:
    """Give the vectors that came with a text, and the tokens that they stand for.

    Raises:
        IncompatibleError: If the encoder doesn't tell one token of the text for each row.
    """
    tokens = tuple(Token(*token) for token in tokens_of(encoder, text, "document", len(given)))
    return TokenVectors.from_arrays([given.values.astype("float32")], given.dim), tokens, False
