"""mixedbread: `input`, and `data` with `score` and `input`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import Field, model_validator

from late_rerank.ranking.wanted import Wanted
from late_rerank.serve.answers import About, envelope, score_of
from late_rerank.serve.bodies import AskingForBest, DocumentBody, Documents, text_of
from late_rerank.serve.clients.dialect import Asked, Dialect
from late_rerank.serve.limits import Limits
from late_rerank.serve.numbers import Boolean
from late_rerank.serve.parsing import parsed
from late_rerank.serve.parts import Query
from late_rerank.serve.questions import Question, candidates_of, check_questions
from late_rerank.types import RankedDocument, Ranking


class InputBody(AskingForBest):
    """mixedbread's request."""

    query: Query
    input: Documents
    rank_fields: list[str] | None = Field(None, max_length=64)
    return_input: Boolean | None = None

    @model_validator(mode="after")
    def _input_has_text(self) -> InputBody:
        for i, document in enumerate(self.input):
            if isinstance(document, DocumentBody) and text_of(document, self.rank_fields) is None:
                raise ValueError(f'input {i} has no text: there is nothing in its rank_fields or "text"')
        return self


class MixedbreadDialect(Dialect):
    """Its documents are called `input`, its limit `top_k`."""

    def asked(self, body: bytes, limits: Limits) -> Asked:
        asked = parsed(InputBody, body)
        candidates = candidates_of(asked.input, asked.rank_fields)
        check_questions([asked.query], candidates, limits, "input")
        wanted = Wanted(deadline_s=asked.deadline_s, min_relevance=asked.min_relevance)
        return Asked([Question(asked.query, candidates, wanted)], asked)

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
    return written | {"input": sent if isinstance(sent, str) else sent.sent}
