"""Cohere, Jina, vLLM, Infinity, Xinference, llama.cpp, Voyage, Fireworks: `documents`, and `results` in an envelope."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any

from pydantic import Field, model_validator

from late_rerank.encode.places import Span
from late_rerank.ranking.wanted import Wanted
from late_rerank.serve.answers import About, as_sent, envelope, result, several
from late_rerank.serve.bodies import AskingAsVllm, AskingOfObjects, AskingWithPrior, BestSpan, DocumentBody
from late_rerank.serve.clients.dialect import Asked, Dialect
from late_rerank.serve.errors import RequestError
from late_rerank.serve.limits import Limits
from late_rerank.serve.numbers import Boolean, Positive
from late_rerank.serve.parsing import parsed
from late_rerank.serve.parts import Query
from late_rerank.serve.passages import SpanOf
from late_rerank.serve.questions import Question, candidates_of, check_questions, prior_of, with_priors
from late_rerank.types import RankedDocument, Ranking

# Names that Voyage's clients, whose answer has `data`, don't send.
_OF_OTHERS = frozenset({"top_n", "rank_fields", "max_tokens_per_doc", "use_activation"})
_OF_VOYAGE = frozenset({"top_k", "truncation"})


class RerankBody(AskingWithPrior, AskingOfObjects, AskingAsVllm):
    """Cohere's, Jina's, vLLM's, Infinity's and Voyage's request in one."""

    query: Query | None = None
    queries: Annotated[list[Query], Field(min_length=1, max_length=1000, fail_fast=True)] | None = Field(
        None, description="Several queries instead of one: the answer is a list, with one ranking a query."
    )
    return_documents: Boolean | None = Field(None, description="With each document, as it was sent; of a text as its `text`.")
    best_span: BestSpan = None
    max_tokens_per_doc: Positive | None = Field(None, description="Only the first so many stored token vectors count.")
    rank_fields: Annotated[list[str], Field(max_length=64, fail_fast=True)] | None = Field(
        None, description="Which fields of object documents are read, where they have no text."
    )
    truncation: Boolean | None = Field(None, description="Voyage's. Nothing is too long for this server.")

    @property
    def may_be_voyages(self) -> bool:
        """Whether a client may have sent this that reads `data`. Continue sends nothing that would tell."""
        return bool(self.model_fields_set & _OF_VOYAGE) or not self.model_fields_set & _OF_OTHERS

    @property
    def sent_documents(self) -> list[str | DocumentBody]:
        """The documents, as sent."""
        return self.documents

    @property
    def fields_read(self) -> list[str] | None:
        """The fields whose text is ranked; None for a document's own text."""
        return self.rank_fields

    @property
    def span_of(self) -> SpanOf | None:
        """Tells where a result's best passage stands in its document's text as sent; None if the request doesn't ask for that.

        Nothing is known of a text that was put together of fields or parts.
        """
        return self._span_as_sent if self.best_span else None

    @property
    def asked_queries(self) -> list[str]:
        """All queries."""
        return self.queries or [self.query or ""]

    @model_validator(mode="after")
    def _is_one_or_several(self) -> RerankBody:
        if (self.query is None) == (self.queries is None):
            raise ValueError("give either query, a text, or queries, a list of texts")
        return self

    def as_sent(self, document: RankedDocument) -> dict[str, Any]:
        """Give a document as it was sent, as Cohere and Jina do: each field, of its own type. Never an image."""
        sent = self.documents[document.index]
        return {"text": sent} if isinstance(sent, str) else as_sent(document, sent)

    def _span_as_sent(self, document: RankedDocument) -> Span | None:
        sent = self.documents[document.index]
        text = sent if isinstance(sent, str) else sent.text
        return document.best_span if document.text == text else None


class DocumentsDialect(Dialect):
    """Answers with `results`, and with `data` where that may be what the client reads."""

    def asked(self, body: bytes, limits: Limits) -> Asked:
        asked = parsed(RerankBody, body)
        candidates = with_priors(candidates_of(asked.documents, asked.called, asked.rank_fields), asked.priors)
        check_questions(asked.asked_queries, candidates, limits, "documents")
        if len(body) * len(asked.asked_queries) > limits.body_bytes:
            # Each document would be written once a query, or its tokens looked up.
            for name, otherwise in (("return_documents", "read them by `index`"), ("best_span", "send fewer queries at once")):
                if getattr(asked, name):
                    raise RequestError(413, f"{name}: these documents, once for each query, are too much; {otherwise}")
        wanted = Wanted(
            deadline_s=asked.deadline_s,
            min_relevance=asked.min_relevance,
            max_tokens=asked.max_tokens_per_doc,
            prior=prior_of(asked.priors),
        )
        first = Question(asked.asked_queries[0], candidates, wanted, top_k=asked.n_best)
        return Asked([first, *(replace(first, query=query) for query in asked.asked_queries[1:])], asked)

    def answer(self, rankings: Sequence[Ranking], asked: Asked, about: About) -> dict[str, Any]:
        body: RerankBody = asked.body  # type: ignore[assignment] # what `asked` made
        if body.queries is not None:
            return several(rankings, [self._results(ranking, body) for ranking in rankings], asked.questions, about)
        (ranking,), (question,) = rankings, asked.questions
        told = envelope(ranking, self._results(ranking, body), about, question=question)
        if body.may_be_voyages:
            told["data"] = self._data(ranking, body)
        return told

    def shown(self, document: RankedDocument, body: RerankBody) -> Any:
        """Write a document that is given back."""
        return body.as_sent(document)

    def _results(self, ranking: Ranking, body: RerankBody) -> list[dict[str, Any]]:
        shown = (lambda document: self.shown(document, body)) if body.return_documents else None
        return [result(document, raw=body.is_raw, shown=shown, span_of=body.span_of) for document in body.best(ranking)]

    def _data(self, ranking: Ranking, body: RerankBody) -> list[dict[str, Any]]:
        shown = (lambda document: document.text) if body.return_documents else None
        return [result(document, raw=body.is_raw, shown=shown, span_of=body.span_of) for document in body.best(ranking)]


class InfinityDialect(DocumentsDialect):
    """Infinity: a document that is given back is a string. Nothing in a request tells Infinity's clients from Cohere's."""

    def shown(self, document: RankedDocument, body: RerankBody) -> str:  # noqa: ARG002 - the others' documents are in the body
        return document.text


class PineconeDialect(DocumentsDialect):
    """Pinecone: `data` with `score`. A header of its clients tells them from the others."""

    def answer(self, rankings: Sequence[Ranking], asked: Asked, about: About) -> dict[str, Any]:
        body: RerankBody = asked.body  # type: ignore[assignment] # what `asked` made
        told = super().answer(rankings, asked, about)
        if body.queries is not None:
            return told
        results = told.pop("results")
        told["data"] = [{"index": each["index"], "score": each["relevance_score"], **_further(each)} for each in results]
        told["usage"]["rerank_units"] = 1
        return told


def _further(written: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in written.items() if name in ("best_span", "prior", "document")}
