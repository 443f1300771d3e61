"""Questions that arrive together are ranked together, in few threads; the event loop never waits for one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

from late_rerank.reranker import Reranker
from late_rerank.serve.dialects import Question, RequestError
from late_rerank.serve.limits import Limits
from late_rerank.serve.ranking import rank_in_time, rank_stored
from late_rerank.types import Ranking

Result = TypeVar("Result")

# Questions that are ranked in one call: more would keep the first of them waiting.
_TOGETHER = 16


class Gatherer:
    """Answers questions with one Reranker. Its methods are called on one event loop.

    Questions whose documents are stored are answered by one thread, all that have come meanwhile in one call. Each of the
    others waits in a thread of its own for its documents, which are encoded in batches that they share.

    Args:
        reranker: Shared by all threads.
        limits: How many may wait, and for how long.
    """

    def __init__(self, reranker: Reranker, limits: Limits) -> None:
        self._reranker = reranker
        self._limits = limits
        self._asked: list[tuple[Question, asyncio.Future[Ranking]]] = []
        self._is_ranking = False
        self._ranks = ThreadPoolExecutor(1, "late-rerank ranks")
        self._waits = ThreadPoolExecutor(limits.waiting_encoders, "late-rerank waits")
        self._n_waiting = 0

    async def rank(self, question: Question) -> Ranking:
        """A question's ranking, all of it, best first.

        Raises:
            RequestError: Too many wait for documents, or it took too long.
            Exception: What went wrong with this question.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Ranking] = loop.create_future()
        self._asked.append((question, future))
        if not self._is_ranking:
            self._is_ranking = True
            loop.create_task(self._rank_all()).add_done_callback(_checked)
        ranking = await future
        if not ranking.n_unscored or self._reranker.on_missing != "encode":
            return ranking
        # It sees to its own time: what is scored by then may be answered.
        return await self._in_thread(partial(rank_in_time, self._reranker, question, ranking, self._limits))

    async def in_time(self, arrived: float, call: Callable[[], Result]) -> Result:
        """Something that may take long, in one of few threads.

        Args:
            arrived: When it was asked for, of `time.monotonic()`.
            call: What to do. Where it takes longer than `timeout_s` it goes on, and what it encodes is kept.

        Raises:
            RequestError: 429: all of the threads are busy; 503: it takes too long.
        """
        future = self._in_thread(call)
        remaining = max(0.0, arrived + self._limits.timeout_s - time.monotonic())
        await asyncio.wait([future], timeout=remaining)
        if future.done():
            return future.result()
        raise RequestError(
            503,
            f"this takes longer than {self._limits.timeout_s:g} s; what it encodes is kept: ask again, or for less at once",
            retry_after_s=10,
        )

    def close(self) -> None:
        """Wait for what runs."""
        self._ranks.shutdown(wait=True)
        self._waits.shutdown(wait=True, cancel_futures=True)

    def _in_thread(self, call: Callable[[], Result]) -> asyncio.Future[Result]:
        if self._n_waiting >= self._limits.waiting_encoders:
            raise RequestError(429, "too many requests wait for documents to be encoded; try again", retry_after_s=1)
        self._n_waiting += 1
        done = asyncio.get_running_loop().run_in_executor(self._waits, call)
        done.add_done_callback(self._has_ended)
        return done

    def _has_ended(self, done: asyncio.Future[Any]) -> None:
        self._n_waiting -= 1
        if not done.cancelled():
            done.exception()  # seen, though nobody may wait any more: asyncio would log it, and it may quote a document

    async def _rank_all(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._asked:
                batch, self._asked = self._asked[:_TOGETHER], self._asked[_TOGETHER:]
                batch = [(question, future) for question, future in batch if not future.done()]  # the client may have gone
                questions = [question for question, _ in batch]
                answers = await loop.run_in_executor(self._ranks, rank_stored, self._reranker, questions)
                for (_, future), answer in zip(batch, answers, strict=True):
                    if future.done():
                        continue
                    if isinstance(answer, Exception):
                        future.set_exception(answer)
                    else:
                        future.set_result(answer)
        finally:
            self._is_ranking = False


def _checked(task: asyncio.Task[None]) -> None:
    if not task.cancelled():
        task.result()  # what went wrong is told by the event loop
