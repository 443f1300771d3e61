"""Questions -> rankings, in the threads that work: many questions at once, each with its own error and its own deadline."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from late_rerank.observing import timing
from late_rerank.observing.tracing import silent
from late_rerank.ranking.wanted import Wanted
from late_rerank.reranker import Reranker
from late_rerank.serve.errors import RequestError
from late_rerank.serve.limits import Limits
from late_rerank.serve.questions import Question
from late_rerank.types import Ranking

Answer = Ranking | Exception


def rank_stored(reranker: Reranker, questions: Sequence[Question]) -> list[Answer]:
    """Rank all questions together, from stored vectors alone: none waits for another's documents to be encoded.

    Returns:
        For each question its ranking, or its error. A ranking's `n_unscored` counts the documents that the store doesn't hold;
        they are being encoded now.
    """
    answers: dict[int, Answer] = {}
    alike: dict[Wanted, list[int]] = defaultdict(list)
    for i, question in enumerate(questions):
        alike[replace(question.wanted, deadline_s=0.0)].append(i)
    for wanted, positions in alike.items():
        answers.update(zip(positions, _ranked(reranker, [questions[i] for i in positions], wanted), strict=True))
    return [answers[i] for i in range(len(questions))]


def rank_in_time(reranker: Reranker, questions: Sequence[Question], firsts: Sequence[Ranking], limits: Limits) -> list[Ranking]:
    """Rank one request's questions, whose documents aren't all stored: wait until they are encoded, or the time is up.

    Args:
        reranker: Whose store it is.
        questions: The questions; all with the same `wanted` and `arrived`.
        firsts: The questions' rankings by `rank_stored`.
        limits: `timeout_s` and `deadline_s`.

    Raises:
        RequestError: If the time is up and the client asked for no partial answer (504).
    """
    asked = questions[0]
    deadlines = [seconds for seconds in (asked.wanted.deadline_s, limits.deadline_s) if seconds is not None]
    waited = time.monotonic() - asked.arrived
    remaining = max(0.0, min([limits.timeout_s, *deadlines]) - waited)
    if not remaining and deadlines:
        return list(firsts)
    wanted = replace(asked.wanted, deadline_s=remaining)
    vectors = [first.query_vectors for first in firsts]
    queries, candidate_lists = [each.query for each in questions], [each.candidates for each in questions]
    with silent():  # the request's own span tells of it
        rankings = reranker.rank(queries, candidate_lists, wanted, query_vectors=vectors)
    n_unscored = max(ranking.n_unscored for ranking in rankings)
    if n_unscored and not deadlines:
        raise RequestError(
            504,
            f"{n_unscored} documents weren't encoded within {limits.timeout_s:g} s: ask again, what was encoded is "
            "stored, or send deadline_s to be answered with what is there by then",
            retry_after_s=10,
        )
    timing.share(rankings)
    for ranking, first in zip(rankings, firsts, strict=True):
        # A document that the first look missed is a miss, though the store holds it by now.
        ranking.n_hits, ranking.n_misses = first.n_hits, first.n_misses
        timing.add_earlier(ranking, first)
    return list(rankings)


def _ranked(reranker: Reranker, questions: Sequence[Question], wanted: Wanted) -> Sequence[Answer]:
    try:
        with silent():
            rankings = reranker.rank([each.query for each in questions], [each.candidates for each in questions], wanted)
    except Exception as error:  # noqa: BLE001 - it is one question's, which is found by asking them one by one
        return [error] if len(questions) == 1 else [_ranked(reranker, [question], wanted)[0] for question in questions]
    timing.share(rankings)
    return rankings
