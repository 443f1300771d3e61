"""text-embeddings-inference: `texts`, and a bare array."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from pydantic import Field

from late_rerank.serve.answers import About, score_of
from late_rerank.serve.bodies import AskingForBest, Texts
from late_rerank.serve.clients.dialect import Asked, Dialect, asked_once
from late_rerank.serve.errors import RequestError
from late_rerank.serve.limits import Limits
from late_rerank.serve.numbers import Boolean
from late_rerank.serve.parsing import parsed
from late_rerank.serve.parts import Query
from late_rerank.types import Ranking


class TextsBody(AskingForBest):
    """text-embeddings-inference's request."""

    called: ClassVar[str] = "texts"

    query: Query
    texts: Texts
    return_text: Boolean | None = Field(None, description="With each text.")
    truncate: Boolean | None = Field(None, description="Nothing is too long for this server: windows are encoded.")
    truncation_direction: Literal["left", "right", "Left", "Right"] | None = Field(None, description="Nothing is cut.")


class TextsDialect(Dialect):
    """Has no place for `meta`: what was ignored or left unscored stands in headers."""

    def asked(self, body: bytes, limits: Limits) -> Asked:
        asked = parsed(TextsBody, body)
        return asked_once(asked, asked.query, asked.texts, limits)

    def answer(self, rankings: Sequence[Ranking], asked: Asked, about: About) -> list[dict[str, Any]]:  # noqa: ARG002 - no place
        body: TextsBody = asked.body  # type: ignore[assignment] # what `asked` made
        return [
            {"index": document.index, "score": score_of(document, raw=body.is_raw)}
            | ({"text": document.text} if body.return_text else {})
            for document in body.best(rankings[0])
        ]

    def error(self, error: RequestError, request_id: str) -> dict[str, Any]:  # noqa: ARG002 - no place for it
        return {"error": error.message, "error_type": error.texts_kind}
