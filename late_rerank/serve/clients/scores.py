"""vLLM's /score and DeepInfra's /inference: scores of pairs of texts, in the order of the pairs."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import AliasChoices, BeforeValidator, FailFast, Field, model_validator

from late_rerank.ranking.wanted import Wanted
from late_rerank.serve.answers import About, meta_of_all, score_of, usage
from late_rerank.serve.bodies import MOST, AskingAsVllm
from late_rerank.serve.clients.dialect import Asked, Dialect
from late_rerank.serve.errors import NothingToRankError
from late_rerank.serve.limits import Limits
from late_rerank.serve.parsing import parsed
from late_rerank.serve.parts import Query
from late_rerank.serve.questions import Question, check_documents, check_queries
from late_rerank.types import Ranking


def _listed(sent: Any) -> Any:
    return sent if isinstance(sent, list) else [sent]


_Texts = Annotated[list[Query], Field(max_length=MOST), FailFast(), BeforeValidator(_listed)]


class ScoreBody(AskingAsVllm):
    """vLLM's request, and DeepInfra's: one text beside each of many, or two lists of one length."""

    text_1: _Texts = Field(validation_alias=AliasChoices("text_1", "queries", "data_1"), description="A query, or one a pair.")
    text_2: _Texts = Field(
        validation_alias=AliasChoices("text_2", "documents", "items", "data_2"), description="A document, or several."
    )

    @property
    def places(self) -> dict[str, list[int]]:
        """Query -> the places of its pairs. DeepInfra's clients send one query as often as there are documents."""
        found: dict[str, list[int]] = defaultdict(list)
        queries = self.text_1 * len(self.text_2) if len(self.text_1) == 1 else self.text_1
        for i, query in enumerate(queries):
            found[query].append(i)
        return found

    @model_validator(mode="after")
    def _are_pairs(self) -> ScoreBody:
        if len(self.text_1) not in (1, len(self.text_2)):
            raise ValueError(
                f"{len(self.text_1)} first texts and {len(self.text_2)} second texts: give one first text, or as many as second"
            )
        return self


class ScoresDialect(Dialect):
    """vLLM's."""

    def asked(self, body: bytes, limits: Limits) -> Asked:
        asked = parsed(ScoreBody, body)
        if not asked.text_1:
            raise NothingToRankError("the first text is missing: give at least one")
        check_documents(asked.text_2, limits, "documents")
        places = asked.places
        check_queries(list(places), limits)
        wanted = Wanted(deadline_s=asked.deadline_s)
        arrived = time.monotonic()
        questions = [Question(query, [asked.text_2[i] for i in mine], wanted, arrived) for query, mine in places.items()]
        return Asked(questions, asked)

    def answer(self, rankings: Sequence[Ranking], asked: Asked, about: About) -> dict[str, Any]:
        scores = [{"index": i, "object": "score", "score": score} for i, score in enumerate(_scores(rankings, asked))]
        told = {"id": about.request_id, "object": "list", "created": int(time.time()), "model": about.model, "data": scores}
        return told | {"usage": usage(rankings), "meta": meta_of_all(rankings, about)}


class DeepInfraDialect(ScoresDialect):
    """DeepInfra's: bare scores. The model's name stands in the path."""

    def answer(self, rankings: Sequence[Ranking], asked: Asked, about: About) -> dict[str, Any]:
        tokens = usage(rankings)["total_tokens"]
        status = {"status": "succeeded", "cost": 0.0, "tokens_input": tokens, "tokens_generated": 0}
        told = {"scores": _scores(rankings, asked), "input_tokens": tokens, "request_id": about.request_id}
        return told | {"inference_status": status, "meta": meta_of_all(rankings, about)}


def _scores(rankings: Sequence[Ranking], asked: Asked) -> list[float]:
    """Give each pair's score, in the order of the pairs."""
    body: ScoreBody = asked.body  # type: ignore[assignment] # what `asked` made
    scores = [0.0] * len(body.text_2)
    for ranking, places in zip(rankings, body.places.values(), strict=True):
        for document in ranking:
            scores[places[document.index]] = score_of(document, raw=body.is_raw)
    return scores
