"""Questions -> rankings, in the threads that do the work: many at once, each with its own error and its own deadline."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence

from late_rerank.reranker import Reranker
from late_rerank.serve.dialects import Question, RequestError
from late_rerank.serve.limits import Limits
from late_rerank.types import Ranking

Answer = Ranking | Exception


def rank_stored(reranker: Reranker, questions: Sequence[Question]) -> list[Answer]:
    """All questions together, from stored vectors alone: none waits for a document of another's to be encoded.

    Returns:
        For each question its ranking, whose `n_unscored` says what is missing and is being encoded now; or its error.
    """
    answers: dict[int, Answer] = {}
    alike: dict[int | None, list[int]] = defaultdict(list)
    for i, question in enumerate(questions):
        alike[question.max_tokens].append(i)
    for max_tokens, positions in alike.items():
        some = [questions[i] for i in positions]
        try:
            rankings = reranker.rerank_batch(
                [question.query for question in some],
                [question.candidates for question in some],
                deadline_s=0.0,
                max_tokens=max_tokens,
            )
            _share(rankings)
            found: Sequence[Answer] = rankings
        except Exception as error:  # noqa: BLE001 - it is one question's, and told to that one
            found = [error] if len(some) == 1 else [rank_stored(reranker, [question])[0] for question in some]
        answers.update(zip(positions, found, strict=True))
    return [answers[i] for i in range(len(questions))]


def rank_in_time(reranker: Reranker, question: Question, first: Ranking, limits: Limits) -> Ranking:
    """One question whose documents aren't all stored: waits until they are encoded, or its time is up.

    Args:
        reranker: Whose store it is.
        question: The question.
        first: What `rank_stored` gave it.
        limits: `timeout_s` and `deadline_s`.

    Raises:
        RequestError: 503: the time is up, and the client asked for no partial answer.
    """
    deadlines = [seconds for seconds in (question.deadline_s, limits.deadline_s) if seconds is not None]
    waited = time.monotonic() - question.arrived
    remaining = max(0.0, min([limits.timeout_s, *deadlines]) - waited)
    if not remaining and deadlines:
        return first
    ranking = reranker.rerank(question.query, question.candidates, deadline_s=remaining, max_tokens=question.max_tokens)
    if ranking.n_unscored and not deadlines:
        raise RequestError(
            503,
            f"{ranking.n_unscored} documents weren't encoded within {limits.timeout_s:g} s: ask again, what was encoded is "
            "stored, or send deadline_s to be answered with what is there by then",
            retry_after_s=10,
        )
    # What the first look found missing was a miss, though it is a hit by now.
    ranking.n_hits, ranking.n_misses = first.n_hits, first.n_misses
    for stage, ms in first.timings_ms.items():
        ranking.timings_ms[stage] += ms
    return ranking


def _share(rankings: Sequence[Ranking]) -> None:
    """Make of a batch's times each one's part, so that they can be summed up. MaxSim's is its own already."""
    for ranking in rankings:
        for stage in ranking.timings_ms:
            if stage not in ("maxsim", "total"):
                ranking.timings_ms[stage] /= len(rankings)
