"""What each client says and reads: a request's body -> a Question; its Ranking -> the answer; an error -> the one it knows."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from pydantic import BaseModel, ValidationError

from late_rerank.serve import json_text
from late_rerank.serve.bodies import DocumentBody, RerankBody, Shown, TextsBody, text_of
from late_rerank.serve.limits import Limits
from late_rerank.text.words import is_blank
from late_rerank.types import Candidate, RankedDocument, Ranking

# What clients' libraries call an error of this status.
_KINDS = {
    400: "invalid_request_error",
    401: "authentication_error",
    404: "not_found_error",
    408: "timeout_error",
    413: "invalid_request_error",
    415: "invalid_request_error",
    422: "invalid_request_error",
    429: "rate_limit_error",
    503: "overloaded_error",
}
_TEXTS_KINDS = {429: "Overloaded", 500: "Backend", 503: "Overloaded"}
_SHOWN_ERRORS = 3

Body = TypeVar("Body", bound=BaseModel)

_TEXTS, _DOCUMENTS = (re.compile(rb'"%s"\s*:' % name) for name in (b"texts", b"documents"))


class RequestError(Exception):
    """Something that the client is told.

    Args:
        status: Of HTTP.
        message: What was given, what was expected, what to do; without document text.
        retry_after_s: When it may be tried again; None for never.
    """

    def __init__(self, status: int, message: str, retry_after_s: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.retry_after_s = retry_after_s


class NothingToRankError(RequestError):
    """400: a blank query, or no documents."""

    def __init__(self, message: str) -> None:
        super().__init__(400, message)


@dataclass
class Question:
    """One ranking that is asked for, whatever the client's language."""

    query: str
    candidates: list[str | Candidate]
    max_tokens: int | None = None
    deadline_s: float | None = None
    arrived: float = field(default_factory=time.monotonic)


class Dialect(Protocol):
    """How one kind of client asks and is answered."""

    def question(self, body: bytes, limits: Limits) -> tuple[Question, Any]:
        """What is asked, and whatever `answer` needs to know of how.

        Raises:
            RequestError: The body can't be read, or asks for nothing.
        """

    def answer(self, ranking: Ranking, asked: Any, about: dict[str, Any]) -> Any:
        """What the client reads, as JSON values."""

    def error(self, error: RequestError, request_id: str) -> dict[str, Any]:
        """The error as the client knows it."""


class DocumentsDialect:
    """Cohere, Jina, vLLM, Infinity: `documents`, and `results` in an envelope."""

    def question(self, body: bytes, limits: Limits) -> tuple[Question, RerankBody]:
        asked = parsed(RerankBody, body)
        candidates = candidates_of(asked.documents, asked.rank_fields)
        check_question(asked.query, candidates, limits, "documents")
        return Question(asked.query, candidates, asked.max_tokens_per_doc, asked.deadline_s), asked

    def answer(self, ranking: Ranking, asked: Shown, about: dict[str, Any]) -> dict[str, Any]:
        results = []
        for document in ranking[: asked.top_n or None]:
            result: dict[str, Any] = {"index": document.index, "relevance_score": _score(document, raw=asked.is_raw)}
            if asked.return_documents:
                result["document"] = asked.shown(document)
            results.append(result)
        return {
            "id": about["request_id"],
            "object": "rerank",
            "created": int(time.time()),
            "model": about["model"],
            "results": results,
            "usage": {"prompt_tokens": ranking.n_tokens, "total_tokens": ranking.n_tokens},
            "meta": {"api_version": {"version": about["version"]}, "billed_units": {"search_units": 0}, **meta(ranking)},
        }

    def error(self, error: RequestError, request_id: str) -> dict[str, Any]:
        # `message` is Cohere's, `detail` Jina's and FastAPI's, `error` vLLM's and Infinity's (and OpenAI's).
        kind = _KINDS.get(error.status, "server_error")
        return {
            "id": request_id,
            "message": error.message,
            "detail": error.message,
            "error": {"message": error.message, "type": kind, "param": None, "code": error.status},
        }


class TextsDialect:
    """text-embeddings-inference: `texts`, and a bare array."""

    def question(self, body: bytes, limits: Limits) -> tuple[Question, TextsBody]:
        asked = parsed(TextsBody, body)
        check_question(asked.query, asked.texts, limits, "texts")
        return Question(asked.query, list(asked.texts), deadline_s=asked.deadline_s), asked

    def answer(self, ranking: Ranking, asked: TextsBody, about: dict[str, Any]) -> list[dict[str, Any]]:  # noqa: ARG002
        results = []
        for document in ranking:
            result: dict[str, Any] = {"index": document.index, "score": _score(document, raw=asked.raw_scores)}
            if asked.return_text:
                result["text"] = document.text
            results.append(result)
        return results

    def error(self, error: RequestError, request_id: str) -> dict[str, Any]:  # noqa: ARG002
        kind = "Empty" if isinstance(error, NothingToRankError) else _TEXTS_KINDS.get(error.status, "Validation")
        return {"error": error.message, "error_type": kind}


DOCUMENTS = DocumentsDialect()
TEXTS = TextsDialect()


def dialect_of(body: bytes) -> Dialect:
    """Who is asking, by a body or its beginning; what names neither is answered as `documents` clients know it."""
    # A look instead of parsing twice. A text may hold either word, but not as a name: there its quotes are escaped.
    return TEXTS if _TEXTS.search(body) and not _DOCUMENTS.search(body) else DOCUMENTS


def meta(ranking: Ranking) -> dict[str, Any]:
    """Whether an answer is complete, what the store held for it, and where its time went."""
    return {
        "degraded": bool(ranking.n_unscored),
        "n_unscored": ranking.n_unscored,
        "query_truncated": ranking.query_truncated,
        "cache": {"hits": ranking.n_hits, "misses": ranking.n_misses},
        "timings_ms": {name: round(ms, 3) for name, ms in ranking.timings_ms.items()},
    }


def parsed(kind: type[Body], body: bytes) -> Body:
    """A body as one of our models.

    Raises:
        RequestError: 400 where it is no JSON, 422 where it is other JSON; says where, never what stood there.
    """
    try:
        return _validated(kind, json_text.without_mark(body))
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)
        if found[0]["type"] == "json_invalid":
            raise RequestError(400, f"the body is no JSON: {found[0]['msg']}") from None
        told = "; ".join(f"{_place(each['loc'])}{each['msg']}" for each in found[:_SHOWN_ERRORS])
        more = f"; and {len(found) - _SHOWN_ERRORS} more" if len(found) > _SHOWN_ERRORS else ""
        raise RequestError(422, told + more) from None


def _validated(kind: type[Body], body: bytes) -> Body:
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        if error.errors(include_url=False)[0]["type"] != "json_invalid" or not json_text.may_hold_halves(body):
            raise
    # pydantic's parser takes no lone surrogate.
    try:
        value = json_text.loads(body)
    except ValueError as error:
        raise RequestError(400, f"the body is no JSON: {error}") from None
    known = {name: inner for name, inner in value.items() if name.isascii()} if isinstance(value, dict) else value
    return kind.model_validate(known)


def candidates_of(documents: list[str | DocumentBody], rank_fields: list[str] | None = None) -> list[str | Candidate]:
    """Documents of a request as the reranker takes them."""
    found: list[str | Candidate] = []
    for document in documents:
        if isinstance(document, str):
            found.append(document)
        else:
            name = str(document.id) if isinstance(document.id, (str, int, float)) else None
            found.append(Candidate(text_of(document, rank_fields) or "", id=name))
    return found


def check_question(query: str, documents: Sequence[str | Candidate], limits: Limits, name: str) -> None:
    """See to it that there is something to rank, and not too much.

    Args:
        query: As asked.
        documents: As asked.
        limits: The server's.
        name: What the client calls documents.

    Raises:
        RequestError: 400 for a blank query or no documents, 413 for too many of them, and for what is too long.
    """
    if is_blank(query):
        raise NothingToRankError("query is blank: it needs at least one word")
    if len(query) > limits.query_chars:
        raise RequestError(413, f"query has {len(query):,} characters: at most {limits.query_chars:,} are taken; shorten it")
    check_documents(documents, limits, name)


def check_documents(documents: Sequence[str | Candidate], limits: Limits, name: str) -> None:
    """As in `check_question`."""
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


def _score(document: RankedDocument, *, raw: bool) -> float:
    """What the client sorts by; 0 for what wasn't scored."""
    return float((document.score if raw else document.relevance) or 0.0)


def _place(location: tuple[int | str, ...]) -> str:
    return (
        "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location).lstrip(".") + ": "
        if location
        else ""
    )
