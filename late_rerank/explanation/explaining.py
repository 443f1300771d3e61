"""Query + document -> Explanation or PageExplanation. Both are encoded again, now with the places of their tokens."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, overload

from late_rerank.encode import unpooled
from late_rerank.encode.places import Span, check_places
from late_rerank.explanation.encoding import encoded, given_with_tokens
from late_rerank.explanation.matches import Match, Token
from late_rerank.explanation.pages.comparing import check_patches, explain_page
from late_rerank.explanation.pages.result import PageExplanation
from late_rerank.explanation.result import Explanation
from late_rerank.explanation.windows import best_windows
from late_rerank.pictures import Picture
from late_rerank.text.words import in_whole_words, is_blank
from late_rerank.types import F32, Candidate, Content, GivenVectors, RankedDocument

# Scores of one query and document by packed and by whole vectors differ by at most so much.
_PACKED, _MOST_PACKED, _POOLED = {"float32": 1e-4, "float16": 0.01, "int8": 0.02}, 0.15, 0.5

if TYPE_CHECKING:
    from late_rerank.reranker import Reranker


@overload
def explain(reranker: Reranker, query: str, text: str) -> Explanation: ...


@overload
def explain(reranker: Reranker, query: str, text: Picture) -> PageExplanation: ...


@overload
def explain(reranker: Reranker, query: str, text: Candidate | RankedDocument) -> Explanation | PageExplanation: ...


def explain(reranker: Reranker, query: str, text: str | Picture | Candidate | RankedDocument) -> Explanation | PageExplanation:
    """Explain a document's score: each query token's best match in the document, and the place of that match.

    Query and document are encoded again, in float32 and without the store, because stored vectors have lost their places. So
    the score is the ranking's score up to the codec's rounding. If the model pools its tokens, the explanation shows the same
    model before pooling. Then its score isn't the ranking's (`Explanation.pooled`).

    If the Reranker's scoring has windows, the explanation tells the best window of each scale. A query token then adds the mean
    of its best matches in these windows. The matches shown are the best ones in the whole document.

    Args:
        reranker: A Reranker. Its encoder encodes both, and its scoring is explained; its store is neither read nor written.
        query: Must not be blank.
        text: A document's text, of any length; a Picture; or a Candidate or RankedDocument, of which is explained what the
            Reranker encodes: the picture, if there is one and the model sees pictures, else the text. If it came with token
            vectors, these are explained, with the tokens of its text. Of a RankedDocument that a prior or the first stage's
            scores helped to place, the explanation tells that too, `ranked_by`, unless its score is another query's or model's.

    Returns:
        An Explanation of a text, a PageExplanation of a picture.

    Raises:
        ValueError: If the query is blank, or the encoder gives NaN or infinity. Also if a picture is damaged, or known by its
            key alone.
        TypeError: If the query isn't a str, or the document is none of these.
        IncompatibleError: If the encoder can't tell its tokens' or its patches' places, or doesn't tell one for each vector.
            Also if it can't encode what the document has, or names another number of tokens than the document came with.
        OSError: If a picture is in a file that can't be read.
    """
    if hasattr(reranker, "rerankers"):
        raise TypeError("reranker must be one Reranker, got several models: explain each of its `rerankers`' own score")
    _check_query(query)
    content = _content(reranker, text)
    found: Explanation | PageExplanation
    if isinstance(content, GivenVectors):
        found = _explain_text(reranker, query, getattr(text, "text", ""), content)
    elif isinstance(content, str):
        found = _explain_text(reranker, query, content)
    else:
        found = explain_page(reranker, query, content)
    if isinstance(text, RankedDocument) and text.ranked_by is not None and _is_its(found, text.score, reranker.codec.name):
        return replace(found, rank=text.rank, ranked_by=text.ranked_by)
    return found


def _is_its(found: Explanation | PageExplanation, score: float | None, codec: str) -> bool:
    """Whether a ranking's score can be this model's for this query: another query or model has placed a document elsewhere."""
    if score is None:
        return False
    # Codecs keep less than float32, and pooling merges tokens.
    rounding = _POOLED if found.pooled else _PACKED.get(codec, _MOST_PACKED)
    return abs(found.score - score) <= rounding * max(1.0, abs(found.score))


def _check_query(query: Any) -> None:
    if not isinstance(query, str):
        raise TypeError(f"query must be a str, got {type(query).__name__}")
    if is_blank(query):
        raise ValueError(f"query is {query!r}: a query needs at least one word")


def _content(reranker: Reranker, document: Any) -> Content:
    """Give what the Reranker encodes of a document."""
    if isinstance(document, str):
        return document
    if isinstance(document, Picture):
        document = Candidate(image=document)
    if not isinstance(document, (Candidate, RankedDocument)):
        raise TypeError(
            f"text must be a str, a Picture, a Candidate or a RankedDocument, got {type(document).__name__}: "
            "late_rerank.pictures.as_picture makes a Picture of an image's bytes, path or Pillow image"
        )
    if document.image is not None and is_blank(document.text) and "image" in getattr(reranker.encoder, "modalities", ()):
        check_patches(reranker.encoder)  # without them it doesn't count as one that sees images, and the error would say so
    return reranker.content_of(document)


def _explain_text(reranker: Reranker, query: str, text: str, given: GivenVectors | None = None) -> Explanation:
    encoder = reranker.encoder
    plain = unpooled(encoder) if given is None else encoder
    check_places(plain, "explained")
    query_vectors, query_tokens, query_truncated = encoded(plain, query, "query")
    vectors, tokens, truncated = encoded(plain, text, "document") if given is None else given_with_tokens(plain, text, given)
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


def _matches(similarity: F32, tokens: tuple[Token, ...]) -> tuple[Match, ...]:
    if not tokens:
        return ()
    best = similarity.argmax(axis=1).tolist()
    return tuple(Match(i, j, float(similarity[i, j]), tokens[j].start, tokens[j].end) for i, j in enumerate(best))
