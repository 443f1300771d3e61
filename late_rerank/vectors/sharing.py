"""Documents that several calls need at once: each encoded once, in batches that the calls share; by a deadline, or after it."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from threading import Condition, RLock

from late_rerank.processes.forks import guarded, watch
from late_rerank.types import Encodable
from late_rerank.vectors.contents import characters
from late_rerank.vectors.documents import KeyedDocuments
from late_rerank.vectors.jobs import Batch, Call, Outcome
from late_rerank.vectors.queue import Queue
from late_rerank.vectors.turns import SHARED_BATCH
from late_rerank.vectors.worker import Encode, Worker

__all__ = ["SHARED_BATCH", "SharedEncoding"]


class SharedEncoding:
    """Encodes documents for calls of many threads. Safe to share between them.

    One of the calls that wait for all their documents encodes for all of them. When its own documents are there, the next call
    goes on. Calls take turns in a batch, so that one with a thousand documents doesn't hold up one with three. For calls with a
    deadline, threads in the background encode. They go on when the calls have left, and end when nothing is to do.

    This class has the lock and the clock. The `Queue` decides what is encoded next, the `Worker` encodes it.

    Args:
        encode: Encodes and keeps documents, given as key -> text or picture. Of the keys named beside them it asks the
            store first.
        batch_size: Documents a batch where one call is alone.
        is_kept: Whether the store kept the last batch. If not, only one batch is left for the background, to see whether the
            store keeps the next one.
        weight: How much work a document is, in characters of text.
    """

    def __init__(
        self,
        encode: Encode,
        batch_size: int,
        is_kept: Callable[[], bool] = lambda: True,
        *,
        weight: Callable[[Encodable], int] = characters,
    ) -> None:
        self._is_kept = is_kept
        self._batch_size = batch_size
        self._weight = weight
        self._worker = Worker(encode, self._is_unwanted, self._next_behind)
        self._begin(Queue(batch_size, weight=self._weight))
        watch(self)

    def _begin(self, queue: Queue) -> None:
        # Reentrant: a generator of `documents` may be collected anywhere, also while its thread holds the lock, and leaves.
        self._changed = Condition(guarded(RLock()))
        # All below are read and written under the lock.
        self._queue = queue
        self._is_changing = False  # a method of the queue runs
        self._gone: deque[Call] = deque()  # to leave the queue when no method of it runs

    def after_fork(self) -> None:
        """Begin with nothing to do: the calls and threads are the parent's."""
        queue = Queue(self._batch_size, pace=self._queue.pace, weight=self._weight)
        queue.is_closed = self._queue.is_closed
        self._begin(queue)

    def documents(
        self, contents: Mapping[bytes, Encodable], until: float | None = None, *, looked: float | None = None
    ) -> Iterator[KeyedDocuments]:
        """Give the documents of these keys, each once, batch by batch.

        Args:
            contents: Key -> text or picture. Encoded in this order; with `until`, documents that don't fit into the time come
                last.
            until: The deadline, of `time.monotonic()`. Documents that aren't there by then are not given, but encoded later in
                the background. None to wait for all.
            looked: When the caller found that the store hasn't these documents, of `time.monotonic()`; None for now. Documents
                that another call has finished since are fetched from the store.

        Raises:
            Exception: If `encode` raised one for one of the documents.
        """
        call = Call(until)
        try:
            with self._changing() as queue:
                queue.join(call, contents, time.monotonic() if looked is None else looked)
            while found := self._next(call):
                yield from found
        finally:
            self._leave(call)

    @property
    def n_waiting(self) -> int:
        """Documents that are being encoded or wait for it."""
        return self._queue.n_waiting

    def close(self) -> None:
        """Encode nothing more in the background. A running batch isn't waited for: it ends with its batch of windows."""
        with self._changing() as queue:
            queue.close()
            self._changed.notify_all()

    @contextmanager
    def _changing(self) -> Iterator[Queue]:
        """Hold the lock, and let no call leave the queue while one of its methods runs."""
        with self._changed:
            self._is_changing = True
            try:
                yield self._queue
            finally:
                self._is_changing = False
                self._let_go()

    def _next(self, call: Call) -> list[KeyedDocuments]:
        """Give the next documents of a call, when there are some; none if no more will come."""
        while True:
            batch = None
            with self._changed:
                with self._changing() as queue:
                    found = queue.given(call)
                    if found or not call.jobs:
                        return found
                    if call not in queue:  # which is a forked child's
                        queue.join(call, {key: job.content for key, job in call.jobs.items()}, time.monotonic())
                    batch = queue.take_for_callers(call, time.monotonic())
                if batch is None and not self._wait(call):
                    return []
            if batch is not None:
                self._encode_for_all(batch)

    def _wait(self, call: Call) -> bool:
        """Wait for a change. Give False at once if nothing more will come by the call's deadline."""
        seconds = None
        if call.until is not None:
            with self._changing() as queue:
                now = time.monotonic()
                self._go_on_behind(now)
                if not queue.may_come(call, now):
                    return False
                seconds = queue.next_look(call, now) - now
        self._changed.wait(seconds)
        return True

    def _encode_for_all(self, batch: Batch) -> None:
        outcome = Outcome()
        try:
            self._worker.encode_batch(batch, outcome)
        finally:
            with self._changing() as queue:
                now = time.monotonic()
                queue.finish(batch, outcome, now)
                self._changed.notify_all()
                self._go_on_behind(now)

    def _leave(self, call: Call) -> None:
        self._gone.append(call)
        with self._changed:
            if not self._is_changing:
                self._let_go()

    def _let_go(self) -> None:
        """Let calls leave the queue; last those whose generators are collected meanwhile."""
        while self._gone:
            self._is_changing = True
            try:
                now = time.monotonic()
                if self._queue.leave(self._gone.popleft(), now, is_kept=self._is_kept()):
                    self._changed.notify_all()
                self._go_on_behind(now)
            finally:
                self._is_changing = False

    def _go_on_behind(self, now: float) -> None:
        """See to it that a thread encodes what is due in the background."""
        batch = self._queue.take_behind(now)
        if batch is not None and not self._worker.start(batch):
            self._queue.finish(batch, Outcome(), now)

    def _next_behind(self, batch: Batch, outcome: Outcome) -> Batch | None:
        with self._changing() as queue:
            now = time.monotonic()
            queue.finish(batch, outcome, now)
            self._changed.notify_all()
            return queue.take_behind(now)

    def _is_unwanted(self, batch: Batch) -> bool:
        with self._changing() as queue:
            return queue.is_unwanted(batch)
