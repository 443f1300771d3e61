"""The two languages of clients: a body -> a Question, its Ranking -> the answer, an error -> the one that the client knows."""

from __future__ import annotations

import re
from typing import Any, Protocol

from late_rerank.ranking.wanted import Wanted
from late_rerank.serve.answers import About, envelope, result, score_of
from late_rerank.serve.bodies import RerankBody, TextsBody
from late_rerank.serve.errors import RequestError
from late_rerank.serve.limits import Limits
from late_rerank.serve.parsing import parsed
from late_rerank.serve.questions import Question, candidates_of, check_question
from late_rerank.types import Ranking

_TEXTS, _DOCUMENTS = (re.compile(rb'"%s"\s*:' % name) for name in (b"texts", b"documents"))


class Dialect(Protocol):
    """How one kind of client asks and is answered."""

    def question(self, body: bytes, limits: Limits) -> tuple[Question, Any]:
        """Read a question.

        Returns:
            The question, and the body, which `answer` needs.

        Raises:
            RequestError: If the body can't be read, or asks for nothing or for too much.
        """

    def answer(self, ranking: Ranking, asked: Any, about: About) -> Any:
        """Write the answer that the client reads, as JSON values."""

    def error(self, error: RequestError, request_id: str) -> dict[str, Any]:
        """Write the error as the client knows it."""


class DocumentsDialect:
    """Cohere, Jina, vLLM, Infinity: `documents`, and `results` in an envelope."""

    def question(self, body: bytes, limits: Limits) -> tuple[Question, RerankBody]:
        asked = parsed(RerankBody, body)
        candidates = candidates_of(asked.documents, asked.rank_fields)
        check_question(asked.query, candidates, limits, "documents")
        wanted = Wanted(deadline_s=asked.deadline_s, max_tokens=asked.max_tokens_per_doc)
        return Question(asked.query, candidates, wanted), asked

    def answer(self, ranking: Ranking, asked: RerankBody, about: About) -> dict[str, Any]:
        shown = asked.shown if asked.return_documents else None
        best = list(ranking)[: asked.top_n or None]
        return envelope(ranking, (result(document, raw=asked.is_raw, shown=shown) for document in best), about)

    def error(self, error: RequestError, request_id: str) -> dict[str, Any]:
        # Cohere's clients read `message`, Jina's and FastAPI's `detail`; vLLM's, Infinity's and OpenAI's `error`.
        return {
            "id": request_id,
            "message": error.message,
            "detail": error.message,
            "error": {"message": error.message, "type": error.kind, "param": None, "code": error.status},
        }


class TextsDialect:
    """text-embeddings-inference: `texts`, and a bare array."""

    def question(self, body: bytes, limits: Limits) -> tuple[Question, TextsBody]:
        asked = parsed(TextsBody, body)
        check_question(asked.query, asked.texts, limits, "texts")
        return Question(asked.query, list(asked.texts), Wanted(deadline_s=asked.deadline_s)), asked

    def answer(self, ranking: Ranking, asked: TextsBody, about: About) -> list[dict[str, Any]]:  # noqa: ARG002 - no place for it
        return [
            {"index": document.index, "score": score_of(document, raw=asked.raw_scores)}
            | ({"text": document.text} if asked.return_text else {})
            for document in ranking
        ]

    def error(self, error: RequestError, request_id: str) -> dict[str, Any]:  # noqa: ARG002 - no place for it
        return {"error": error.message, "error_type": error.texts_kind}


DOCUMENTS = DocumentsDialect()
TEXTS = TextsDialect()


def dialect_of(body: bytes) -> Dialect:
    """Tell the client's language from a body or its beginning; a body that names neither counts as `documents`."""
    # Searching is cheaper than parsing twice. A text may hold either word, but not as a name: in a text its quotes are escaped.
    return TEXTS if _TEXTS.search(body) and not _DOCUMENTS.search(body) else DOCUMENTS
