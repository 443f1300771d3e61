"""Questions that come together are ranked together, in few threads; the event loop never waits for a thread."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from typing import Any, TypeVar

from late_rerank.reranker import Reranker
from late_rerank.serve.errors import RequestError
from late_rerank.serve.indexing import Indexer
from late_rerank.serve.limits import Limits
from late_rerank.serve.questions import Question
from late_rerank.serve.ranking import Answer, rank_in_time, rank_stored
from late_rerank.types import Candidate, Ranking
from late_rerank.vectors.indexing import IndexReport

Result = TypeVar("Result")

# Questions that are ranked in one call: more would keep the first of them waiting.
_TOGETHER = 16
# Threads for packing, explaining, searching.
_WORKERS = 4


class Gatherer:
    """Answers questions with one Reranker. Its methods are called on one event loop.

    One thread ranks the questions whose documents are stored, all that have come meanwhile in one call. Each other question
    waits for its documents in a thread of its own; they are encoded in batches that those questions share.

    Args:
        reranker: Shared by all threads.
        limits: How many may wait, and for how long.
    """

    def __init__(self, reranker: Reranker, limits: Limits) -> None:
        self._reranker = reranker
        self._limits = limits
        self._indexer = Indexer(reranker, limits.timeout_s)
        self._asked: list[tuple[Sequence[Question], asyncio.Future[list[Ranking]]]] = []
        self._is_ranking = False
        self._ranks = ThreadPoolExecutor(1, "late-rerank ranks")
        self._encodes = _Crew("waits", limits.waiting_encoders, limits.waiting_encoders)
        self._works = _Crew("works", _WORKERS, limits.working)

    async def rank(self, questions: Sequence[Question]) -> list[Ranking]:
        """Rank the questions of one request, in one call.

        Args:
            questions: At least one; all with the same `wanted` and `arrived`.

        Returns:
            The whole ranking of each, best first.

        Raises:
            RequestError: If too many wait for documents (429), or the time is up (504).
            Exception: If ranking one of them fails: the error.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[list[Ranking]] = loop.create_future()
        self._asked.append((questions, future))
        if not self._is_ranking:
            self._is_ranking = True
            loop.create_task(self._rank_all()).add_done_callback(_checked)
        try:
            rankings = await self._in_time(questions[0].arrived, future)
        finally:
            future.cancel()  # nobody waits for it any more
        if not any(ranking.n_unscored for ranking in rankings) or self._reranker.on_missing != "encode":
            return rankings
        # Not within `_in_time`: rank_in_time keeps the time, since a partial ranking may be the answer.
        return await self._encodes.do(partial(rank_in_time, self._reranker, questions, rankings, self._limits))

    async def index(self, documents: Sequence[str | Candidate], arrived: float) -> IndexReport:
        """Index documents, by `Indexer.index`.

        Raises:
            RequestError: If too many wait for documents to be encoded (429), or the time is up (504).
        """
        return await self._encodes.do(partial(self._indexer.index, documents, arrived))

    async def work(self, arrived: float, call: Callable[[], Result]) -> Result:
        """Run another call that takes a while, in one of few threads.

        Args:
            arrived: When it was asked for, of `time.monotonic()`.
            call: Goes on if it takes longer than `timeout_s`, but nobody gets its result.

        Raises:
            RequestError: If all threads are busy and enough calls wait for one (429), or the call takes too long (504).
        """
        return await self._in_time(arrived, self._works.do(call))

    def close(self) -> None:
        """Wait for what runs."""
        self._indexer.close()
        self._ranks.shutdown(wait=True)
        for crew in (self._encodes, self._works):
            crew.close()

    async def _in_time(self, arrived: float, future: asyncio.Future[Result]) -> Result:
        await asyncio.wait([future], timeout=max(0.0, arrived + self._limits.timeout_s - time.monotonic()))
        if future.done():
            return future.result()
        raise RequestError(504, f"this takes longer than {self._limits.timeout_s:g} s: ask for less at once", retry_after_s=10)

    async def _rank_all(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._asked:
                batch = self._next_batch()
                questions = [question for mine, _ in batch for question in mine]
                answers = iter(await loop.run_in_executor(self._ranks, rank_stored, self._reranker, questions))
                for mine, future in batch:
                    _answer(future, list(islice(answers, len(mine))))
        finally:
            self._is_ranking = False

    def _next_batch(self) -> list[tuple[Sequence[Question], asyncio.Future[list[Ranking]]]]:
        """Take the next requests, as many as have about 16 questions together."""
        batch, n = [], 0
        while self._asked and n < _TOGETHER:
            questions, future = self._asked.pop(0)
            if not future.done():
                batch.append((questions, future))
                n += len(questions)
        return batch


def _answer(future: asyncio.Future[list[Ranking]], answers: Sequence[Answer]) -> None:
    """Give a request its rankings, or the first error among them."""
    if future.done():
        return
    rankings = [answer for answer in answers if isinstance(answer, Ranking)]
    if len(rankings) == len(answers):
        future.set_result(rankings)
    else:
        future.set_exception(next(answer for answer in answers if isinstance(answer, Exception)))


class _Crew:
    """Threads with a bound on the calls at a time: those that run, and those that wait for a thread."""

    def __init__(self, does: str, n_threads: int, most: int) -> None:
        self._threads = ThreadPoolExecutor(n_threads, f"late-rerank {does}")
        self._most = most
        self._n = 0

    def do(self, call: Callable[[], Result]) -> asyncio.Future[Result]:
        """Begin a call; give its future.

        Raises:
            RequestError: If there are too many calls (429).
        """
        if self._n >= self._most:
            raise RequestError(429, "too many requests at once that take a while; try again", retry_after_s=1)
        self._n += 1
        future = asyncio.get_running_loop().run_in_executor(self._threads, call)
        future.add_done_callback(self._has_ended)
        return future

    def close(self) -> None:
        """Wait for what runs."""
        self._threads.shutdown(wait=True, cancel_futures=True)

    def _has_ended(self, future: asyncio.Future[Any]) -> None:
        self._n -= 1
        if not future.cancelled():
            future.exception()  # if nobody asked for it asyncio would log it, and it may quote a document


def _checked(task: asyncio.Task[None]) -> None:
    if not task.cancelled():
        task.result()  # the event loop logs what is raised here
