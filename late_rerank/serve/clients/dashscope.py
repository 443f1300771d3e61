"""Alibaba's DashScope: `input` with query and documents, `parameters`, and `output.results`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from late_rerank.ranking.wanted import Wanted
from late_rerank.serve.answers import About, envelope, result
from late_rerank.serve.bodies import Asking, AskingForBest, Body, Texts
from late_rerank.serve.clients.dialect import Asked, Dialect
from late_rerank.serve.limits import Limits
from late_rerank.serve.numbers import Boolean
from late_rerank.serve.parsing import parsed
from late_rerank.serve.parts import Query
from late_rerank.serve.questions import Question, check_questions
from late_rerank.types import RankedDocument, Ranking


class DashScopeInput(Body):
    """What is ranked."""

    query: Query
    documents: Texts


class DashScopeParameters(AskingForBest):
    """How it is ranked."""

    return_documents: Boolean | None = None


class DashScopeBody(Asking):
    """DashScope's request."""

    input: DashScopeInput
    parameters: DashScopeParameters | None = None

    @property
    def given(self) -> DashScopeParameters:
        """The parameters; without any, those of an empty object."""
        return self.parameters or DashScopeParameters.model_validate({})

    @property
    def ignored(self) -> list[str]:
        """Names of unknown fields that would have changed the answer, those of `parameters` among them."""
        return [*super().ignored, *self.given.ignored]


class DashScopeDialect(Dialect):
    """Its results stand in `output`."""

    def asked(self, body: bytes, limits: Limits) -> Asked:
        asked = parsed(DashScopeBody, body)
        query, texts, parameters = asked.input.query, asked.input.documents, asked.given
        check_questions([query], texts, limits, "documents")
        deadline_s = asked.deadline_s or parameters.deadline_s
        wanted = Wanted(deadline_s=deadline_s, min_relevance=parameters.min_relevance)
        return Asked([Question(query, list(texts), wanted, top_k=parameters.n_best)], asked)

    def answer(self, rankings: Sequence[Ranking], asked: Asked, about: About) -> dict[str, Any]:
        body: DashScopeBody = asked.body  # type: ignore[assignment] # what `asked` made
        given = body.given
        raw, shown = body.is_raw or given.is_raw, _shown if given.return_documents else None
        results = [result(document, raw=raw, shown=shown) for document in given.best(rankings[0])]
        told = envelope(rankings[0], [], about, question=asked.questions[0])
        del told["results"]
        return told | {"output": {"results": results}, "request_id": about.request_id}


def _shown(document: RankedDocument) -> dict[str, str]:
    return {"text": document.text}
