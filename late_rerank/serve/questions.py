"""Questions: one ranking that a client asks for, whatever its language, checked against the server's limits."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from late_rerank.ranking import from_metadata
from late_rerank.ranking.priors import FromMetadata
from late_rerank.ranking.wanted import Wanted
from late_rerank.serve.bodies import DocumentBody, text_of
from late_rerank.serve.errors import NothingToRankError, RequestError
from late_rerank.serve.images import the_image
from late_rerank.serve.limits import Limits
from late_rerank.text.words import is_blank
from late_rerank.types import Candidate

_PRIOR = "prior"


@dataclass(frozen=True)
class Question:
    """One ranking that is asked for.

    Attributes:
        query: Not blank.
        candidates: At least one.
        wanted: The options of the rerank; `deadline_s` counts from `arrived`. All candidates are ranked, so that it has no
            `top_k`: the answer's counts and tokens are of all.
        arrived: When the request's body was there, of `time.monotonic()`.
        top_k: At most so many results are in the answer; None for all.
    """

    query: str
    candidates: list[str | Candidate]
    wanted: Wanted = field(default_factory=Wanted)
    arrived: float = field(default_factory=time.monotonic)
    top_k: int | None = None


def candidates_of(
    documents: Sequence[str | DocumentBody], called: str, rank_fields: list[str] | None = None
) -> list[str | Candidate]:
    """Turn the documents of a request into candidates, in the same order. Their images are read when the model is known.

    Args:
        documents: As sent.
        called: What the client calls its documents.
        rank_fields: The fields that are read of a document that has no text.

    Raises:
        RequestError: If a document has no text and no image, or a part that is neither, or alone an image that can't be one
            (422).
    """
    return [
        document
        if isinstance(document, str)
        else Candidate(_text(document, f"{called}[{i}]", rank_fields), id=_name(document.id))
        for i, document in enumerate(documents)
    ]


def with_priors(candidates: list[str | Candidate], priors: Sequence[float] | None) -> list[str | Candidate]:
    """Put the numbers that a request adds to the order beside its candidates, where `prior_of` finds them.

    Questions of several requests are ranked in one call, with one `wanted`: so each number goes with its candidate.
    """
    if priors is None:
        return candidates
    given = zip(candidates, priors, strict=True)
    return [replace(Candidate(each) if isinstance(each, str) else each, metadata={_PRIOR: prior}) for each, prior in given]


def prior_of(priors: Sequence[float] | None) -> FromMetadata | None:
    """Give the prior of a question's `wanted`, which reads what `with_priors` wrote; None if there are no numbers."""
    return None if priors is None else from_metadata(_PRIOR)


def check_questions(queries: Sequence[str], documents: Sequence[str | Candidate], limits: Limits, name: str) -> None:
    """Check that there is something to rank, and not too much.

    Args:
        queries: As asked: each is asked of all documents.
        documents: As asked.
        limits: The server's.
        name: What the client calls its documents.

    Raises:
        RequestError: If a query is blank or there are no documents (400), or if one of them is too long or there are too many
            (413).
    """
    check_queries(queries, limits)
    check_documents(documents, limits, name)
    n_pairs = len(queries) * len(documents)
    if len(queries) > 1 and n_pairs > limits.n_pairs:
        raise RequestError(
            413,
            f"{len(queries)} queries of {len(documents)} {name} are {n_pairs:,} pairs: at most {limits.n_pairs:,} are taken; "
            "send fewer at once",
        )


def check_queries(queries: Sequence[str], limits: Limits) -> None:
    """Check queries alone, as in `check_questions`."""
    if len(queries) > limits.n_queries:
        raise RequestError(413, f"{len(queries)} queries: at most {limits.n_queries} are taken in one request; send fewer")
    for i, query in enumerate(queries):
        name = "query" if len(queries) == 1 else f"queries[{i}]"
        if is_blank(query):
            raise NothingToRankError(f"{name} is blank: it needs at least one word")
        if len(query) > limits.query_chars:
            raise RequestError(
                413, f"{name} has {len(query):,} characters: at most {limits.query_chars:,} are taken; shorten it"
            )


def check_documents(documents: Sequence[str | Candidate], limits: Limits, name: str) -> None:
    """Check documents alone, as in `check_questions`."""
    if not documents:
        raise NothingToRankError(f"{name} is empty: give at least one")
    if len(documents) > limits.n_documents:
        raise RequestError(413, f"{len(documents)} {name}: at most {limits.n_documents} are taken in one request; send fewer")
    for i, document in enumerate(documents):
        length = len(document if isinstance(document, str) else document.text)
        if length > limits.document_chars:
            raise RequestError(
                413,
                f"{name}[{i}] has {length:,} characters: at most {limits.document_chars:,} are taken; split it into passages",
            )


def _text(document: DocumentBody, place: str, rank_fields: list[str] | None) -> str:
    """Give a document's text; "" for one that is an image."""
    try:
        text = text_of(document, rank_fields)
    except ValueError as error:
        raise RequestError(422, f"{place} {error}") from None
    if text is not None:
        return text
    if rank_fields:
        raise RequestError(422, f"{place} has no text: there is nothing in its rank_fields")
    if not document.images:
        raise RequestError(422, f'{place} has no text and no image: there is nothing in "text", "content" and "image"')
    try:
        _ = the_image(document.images).text  # a URL is told before a model is loaded
    except ValueError as error:
        raise RequestError(422, f"{place}: {error}") from None
    return ""


def _name(sent: object) -> str | None:
    """Turn a document's id into a Candidate's; ids of other types stay with the client's document alone."""
    return str(sent) if isinstance(sent, (str, int, float)) else None
