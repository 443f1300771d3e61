"""Query + text -> Explanation. Both are encoded again, now with the places of their tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from late_rerank.encode import Encoder, unpooled
from late_rerank.encode.base import Kind
from late_rerank.encode.places import Span, check_places, tokens_of
from late_rerank.explanation.matches import Match, Token
from late_rerank.explanation.result import Explanation
from late_rerank.explanation.windows import best_windows
from late_rerank.text.words import in_whole_words, is_blank
from late_rerank.types import F32, TokenVectors
from late_rerank.vectors.encoding import check_vectors

if TYPE_CHECKING:
    from late_rerank.reranker import Reranker


def explain(reranker: Reranker, query: str, text: str) -> Explanation:
    """Explain a text's score: each query token's best match in the text, and the place of that match.

    Query and text are encoded again, in float32 and without the store, because stored vectors have lost their places. So the
    score is the ranking's score up to the codec's rounding. If the model pools its tokens, the explanation shows the same model
    before pooling. Then its score isn't the ranking's (`Explanation.pooled`).

    If the Reranker's scoring has windows, the explanation tells the best window of each scale. A query token then adds the mean
    of its best matches in these windows. The matches shown are the best ones in the whole text.

    Args:
        reranker: A Reranker. Its encoder encodes both, and its scoring is explained; its store is neither read nor written.
        query: Must not be blank.
        text: A document's text, of any length.

    Raises:
        ValueError: If the query is blank, or the encoder gives NaN or infinity.
        TypeError: If the query or the text isn't a str.
        IncompatibleError: If the encoder can't tell its tokens' places, or doesn't tell one for each vector.
    """
    _check_texts(query, text)
    encoder = reranker.encoder
    plain = unpooled(encoder)
    check_places(plain, "explained")
    query_vectors, query_tokens, query_truncated = _encoded(plain, query, "query")
    vectors, tokens, truncated = _encoded(plain, text, "document")
    similarity: F32 = query_vectors.values @ vectors.values.T
    scoring = reranker.scoring
    windows = best_windows(scoring, query_vectors, vectors, tokens, len(text))
    return Explanation(
        query_tokens,
        tokens,
        similarity,
        _matches(similarity, tokens),
        query=query,
        text=text,
        model=reranker.model_name,
        pooled=plain is not encoder,
        query_truncated=query_truncated,
        document_truncated=truncated,
        scoring=scoring.name,
        windows=windows,
        best_span=_quotable(text, windows[scoring.passage_scale].span) if windows else None,
    )


def _quotable(text: str, span: Span | None) -> Span | None:
    return None if span is None else in_whole_words(text, *span)


def _check_texts(query: Any, text: Any) -> None:
    for name, given in (("query", query), ("text", text)):
        if not isinstance(given, str):
            hint = ": pass its .text" if hasattr(given, "text") else ""
            raise TypeError(f"{name} must be a str, got {type(given).__name__}{hint}")
    if is_blank(query):
        raise ValueError(f"query is {query!r}: a query needs at least one word")


def _encoded(encoder: Encoder, text: str, kind: Kind) -> tuple[TokenVectors, tuple[Token, ...], bool]:
    """Give a text's vectors, its tokens, and whether it was cut. A blank text has no vectors, as in a ranking."""
    encode = encoder.encode_query if kind == "query" else encoder.encode_document
    texts = [] if is_blank(text) else [text]
    vectors = encode(texts)
    check_vectors(vectors, texts, encoder.dim, kind)
    tokens = tuple(Token(*token) for token in tokens_of(encoder, text, kind, len(vectors.values)))
    return vectors, tokens, bool(vectors.truncated.any())


def _matches(similarity: F32, tokens: tuple[Token, ...]) -> tuple[Match, ...]:
    if not tokens:
        return ()
    best = similarity.argmax(axis=1).tolist()
    return tuple(Match(i, j, float(similarity[i, j]), tokens[j].start, tokens[j].end) for i, j in enumerate(best))
