"""NVIDIA's NIM: `query` and `passages` with `text`, and `rankings` with `logit`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

from late_rerank.serve.answers import About, envelope, score_of
from late_rerank.serve.bodies import AskingOfObjects, DocumentBody, Documents
from late_rerank.serve.clients.dialect import Asked, Dialect, asked_once
from late_rerank.serve.limits import Limits
from late_rerank.serve.parsing import parsed
from late_rerank.serve.parts import Query
from late_rerank.serve.questions import candidates_of
from late_rerank.types import RankedDocument, Ranking

# Relevance of 0 and 1 has no finite logit.
_LEAST, _MOST = 1e-6, 1 - 1e-6


class PassagesBody(AskingOfObjects):
    """NVIDIA's request."""

    called: ClassVar[str] = "passages"

    query: Query
    passages: Documents

    @property
    def sent_documents(self) -> list[str | DocumentBody]:
        """The documents, as sent."""
        return self.passages


class NvidiaDialect(Dialect):
    """A logit is ln(r / (1 - r)) of relevance r: clients that put it through a sigmoid get relevance back."""

    def asked(self, body: bytes, limits: Limits) -> Asked:
        asked = parsed(PassagesBody, body)
        return asked_once(asked, asked.query, candidates_of(asked.passages, asked.called), limits)

    def answer(self, rankings: Sequence[Ranking], asked: Asked, about: About) -> dict[str, Any]:
        body: PassagesBody = asked.body  # type: ignore[assignment] # what `asked` made
        told = envelope(rankings[0], [], about, question=asked.questions[0])
        del told["results"]
        best = body.best(rankings[0])
        return told | {"rankings": [{"index": each.index, "logit": _logit(each, raw=body.is_raw)} for each in best]}


def _logit(document: RankedDocument, *, raw: bool) -> float:
    score = score_of(document, raw=raw)
    if raw:
        return score
    relevance = min(max(score, _LEAST), _MOST)
    return math.log(relevance / (1 - relevance))
