"""mixedbread: `input`, and `data` with `score` and `input`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from pydantic import Field

from late_rerank.serve.answers import About, as_sent, envelope, score_of
from late_rerank.serve.bodies import AskingOfObjects, DocumentBody, Documents
from late_rerank.serve.clients.dialect import Asked, Dialect, asked_once
from late_rerank.serve.limits import Limits
from late_rerank.serve.numbers import Boolean
from late_rerank.serve.parsing import parsed
from late_rerank.serve.parts import Query
from late_rerank.serve.questions import candidates_of
from late_rerank.types import RankedDocument, Ranking


class InputBody(AskingOfObjects):
    """mixedbread's request."""

    called: ClassVar[str] = "input"

    query: Query
    input: Documents
    rank_fields: list[str] | None = Field(None, max_length=64)
    return_input: Boolean | None = None

    @property
    def sent_documents(self) -> list[str | DocumentBody]:
        """The documents, as sent."""
        return self.input

    @property
    def fields_read(self) -> list[str] | None:
        """The fields whose text is ranked; None for a document's own text."""
        return self.rank_fields


class MixedbreadDialect(Dialect):
    """Its documents are called `input`, its limit `top_k`."""

    def asked(self, body: bytes, limits: Limits) -> Asked:
        asked = parsed(InputBody, body)
        return asked_once(asked, asked.query, candidates_of(asked.input, asked.called, asked.rank_fields), limits)

    def answer(self, rankings: Sequence[Ranking], asked: Asked, about: About) -> dict[str, Any]:
        body: InputBody = asked.body  # type: ignore[assignment] # what `asked` made
        told = envelope(rankings[0], [], about, question=asked.questions[0])
        del told["results"]
        data = [_written(document, body) for document in body.best(rankings[0])]
        shown = {"object": "list", "data": data, "top_k": len(data), "return_input": bool(body.return_input)}
        told["usage"] |= {"completion_tokens": 0}
        return told | shown


def _written(document: RankedDocument, body: InputBody) -> dict[str, Any]:
    written = {"index": document.index, "score": score_of(document, raw=body.is_raw), "object": "rank_result"}
    if not body.return_input:
        return written
    sent = body.input[document.index]
    return written | {"input": sent if isinstance(sent, str) else as_sent(document, sent)}
