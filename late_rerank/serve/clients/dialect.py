"""What a client's language is: how it asks, how it is answered, how it is told an error."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from late_rerank.ranking.wanted import Wanted
from late_rerank.serve.answers import About
from late_rerank.serve.bodies import Asking, AskingForBest
from late_rerank.serve.errors import RequestError
from late_rerank.serve.limits import Limits
from late_rerank.serve.questions import Question, check_questions
from late_rerank.types import Candidate, Ranking


@dataclass(frozen=True)
class Asked:
    """A request, read.

    Attributes:
        questions: The rankings that it asks for; all with the same `wanted`.
        body: As the client sent it, for the answer.
    """

    questions: list[Question]
    body: Asking


def asked_once(body: AskingForBest, query: str, candidates: Sequence[str | Candidate], limits: Limits) -> Asked:
    """Check a request of one query, and make its question.

    Args:
        body: The request, which says what is wanted.
        query: Its query.
        candidates: Its documents.
        limits: The server's.

    Raises:
        RequestError: As `check_questions` does.
    """
    check_questions([query], candidates, limits, body.called)
    wanted = Wanted(deadline_s=body.deadline_s, min_relevance=body.min_relevance)
    return Asked([Question(query, list(candidates), wanted, top_k=body.n_best)], body)


class Dialect(ABC):
    """How one kind of client asks and is answered."""

    @abstractmethod
    def asked(self, body: bytes, limits: Limits) -> Asked:
        """Read a request.

        Raises:
            RequestError: If the body can't be read, or asks for nothing or for too much.
        """

    @abstractmethod
    def answer(self, rankings: Sequence[Ranking], asked: Asked, about: About) -> Any:
        """Write the answer that the client reads, as JSON values.

        Args:
            rankings: One for each question.
            asked: As `asked` gave it.
            about: What the answer says beside the rankings.
        """

    def error(self, error: RequestError, request_id: str) -> dict[str, Any]:
        """Write an error as the client knows it."""
        # Cohere's clients read `message`, Jina's and FastAPI's `detail`; vLLM's, Infinity's and OpenAI's `error`.
        return {
            "id": request_id,
            "message": error.message,
            "detail": error.message,
            "error": {"message": error.message, "type": error.kind, "param": None, "code": error.status},
        }
