"""Query + picture -> PageExplanation. Both are encoded again, now with the places of their vectors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from late_rerank.encode import Box, Encoder, SeesPictures, unpooled
from late_rerank.encode.places import check_places
from late_rerank.errors import IncompatibleError
from late_rerank.explanation.encoding import encoded
from late_rerank.explanation.pages.matches import PatchMatch
from late_rerank.explanation.pages.near import HasWords
from late_rerank.explanation.pages.result import PageExplanation
from late_rerank.explanation.windows import best_rows
from late_rerank.pictures import Picture, StoredPicture
from late_rerank.types import F32, TokenVectors
from late_rerank.vectors.encoding import check_vectors

if TYPE_CHECKING:
    from late_rerank.reranker import Reranker

_NEEDED = "patches(picture), which gives (left, top, right, bottom) row for row with the vectors of a picture"


def explain_page(reranker: Reranker, query: str, picture: Picture) -> PageExplanation:
    """Explain a picture's score, as `late_rerank.explain` does.

    Raises:
        ValueError: If the picture is damaged or known by its key alone, or the encoder gives NaN or infinity.
        IncompatibleError: If the encoder can't tell its tokens' or its patches' places, or doesn't tell one for each vector.
        OSError: If the picture is in a file that can't be read.
    """
    if isinstance(picture, StoredPicture):
        raise ValueError(f"{picture!r} is known by its key alone; an explanation shows the image: give the image itself")
    encoder = reranker.encoder
    plain = unpooled(encoder)
    check_places(plain, "explained")
    seeing = check_patches(plain)
    query_vectors, query_tokens, query_truncated = encoded(plain, query, "query")
    vectors, boxes = _patches(seeing, picture, plain.dim)
    similarity: F32 = query_vectors.values @ vectors.values.T
    return PageExplanation(
        query_tokens,
        boxes,
        similarity,
        _matches(similarity, boxes),
        query=query,
        picture=picture,
        model=reranker.model_name,
        pooled=plain is not encoder,
        query_truncated=query_truncated,
        scoring=reranker.scoring.name,
        windows=best_rows(reranker.scoring, query_vectors, vectors),
        page_words=tuple(picture.words()) if isinstance(picture, HasWords) else (),
    )


def check_patches(encoder: Encoder) -> SeesPictures:
    """Refuse an encoder that can't tell which part of a picture a vector stands for.

    Raises:
        IncompatibleError: If it is no SeesPictures.
    """
    if not isinstance(encoder, SeesPictures):
        lacks = "has no attribute batch_pictures" if callable(getattr(encoder, "patches", None)) else f"has no method {_NEEDED}"
        raise IncompatibleError(
            f"the encoder {type(encoder).__name__} can't be explained on a picture: it {lacks}. Add it "
            "(late_rerank.encode.SeesPictures says what it does), or use a page-image model given by name"
        )
    return encoder


def _patches(encoder: SeesPictures, picture: Picture, dim: int) -> tuple[TokenVectors, tuple[Box, ...]]:
    vectors = encoder.encode_document([picture])
    check_vectors(vectors, [picture], dim, "document")
    boxes: list[Box] = []
    for left, top, right, bottom in encoder.patches(picture):
        boxes.append((float(left), float(top), float(right), float(bottom)))
    if len(boxes) != len(vectors.values):
        raise IncompatibleError(
            f"{type(encoder).__name__}.patches names {len(boxes)} places in a picture that has {len(vectors.values)} vectors; "
            f"it must be {_NEEDED}"
        )
    return vectors, tuple(boxes)


def _matches(similarity: F32, boxes: tuple[Box, ...]) -> tuple[PatchMatch, ...]:
    if not boxes:
        return ()
    best = similarity.argmax(axis=1).tolist()
    return tuple(PatchMatch(i, j, float(similarity[i, j]), boxes[j]) for i, j in enumerate(best))
