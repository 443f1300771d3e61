"""Which documents wait, who waits for them, and which batches run: no threads, no locks, no clock."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from late_rerank.types import Encodable
from late_rerank.vectors.contents import characters
from late_rerank.vectors.documents import KeyedDocuments
from late_rerank.vectors.jobs import WAITING, Batch, Call, Done, Failed, Job, Kind, Leftovers, Outcome
from late_rerank.vectors.turns import SHARED_BATCH, Pace, Parts, first_left, in_time, in_turn

# Batches that are remembered as finished: a call's look into the store was at most so many ago when it comes to wait.
_REMEMBERED = 32
# A document that probably takes too long is tried all the same while no more batches than this are held up.
_MOST_TRIES = 1


@dataclass(frozen=True)
class Bounds:
    """What may go on in the background.

    Attributes:
        n_left: Documents that are left behind.
        n_left_chars: Their characters.
        n_behind: Batches at once: one, and others where it is held up by a document that takes longer than others can wait.
    """

    n_left: int = 10_000
    n_left_chars: int = 50_000_000
    n_behind: int = 4


class Queue:
    """Knows documents, calls, running batches, and what calls left behind; decides what is encoded next.

    A batch is taken (`take_for_callers`, `take_behind`), encoded somewhere else, and finished (`finish`) with its outcome.
    Times are of `time.monotonic()`, and passed in. Not safe to share between threads.

    - Every document is in one `Job`, however many calls want it, from the first call that wants it until it is settled or
      dropped. `Job` lists its states.
    - At most one batch for callers runs, and `Bounds.n_behind` in the background. Leftovers are encoded only while no call
      waits and no other batch runs in the background.
    - A call is given each of its documents once, or an error. Its `jobs` are those that it hasn't been given.

    Args:
        batch_size: Documents a batch where one call is alone.
        bounds: Of what goes on in the background.
        pace: How long documents take, if it is known.
        weight: How much work a document is, in characters of text.
    """

    def __init__(
        self,
        batch_size: int,
        bounds: Bounds | None = None,
        pace: Pace | None = None,
        *,
        weight: Callable[[Encodable], int] = characters,
    ) -> None:
        self.pace = pace or Pace()
        self.is_closed = False
        self._batch_size = batch_size
        self._weight = weight
        self._bounds = bounds or Bounds()
        self._jobs: dict[bytes, Job] = {}  # neither settled nor dropped
        self._calls: deque[Call] = deque()  # without a deadline; the next one's turn comes first
        self._hurried: deque[Call] = deque()  # with a deadline; likewise
        self._left = Leftovers()
        self._running: list[Batch] = []
        self._finished: deque[tuple[float, frozenset[bytes]]] = deque(maxlen=_REMEMBERED)

    @property
    def n_waiting(self) -> int:
        """Documents that are being encoded or wait for it."""
        return len(self._jobs)

    @property
    def is_encoding_for_callers(self) -> bool:
        """Whether a call encodes for all."""
        return any(batch.kind is Kind.CALLERS for batch in self._running)

    def __contains__(self, call: Call) -> bool:
        return call in self._calls or call in self._hurried

    def join(self, call: Call, contents: Mapping[bytes, Encodable], looked: float) -> None:
        """Let a call wait for documents.

        Args:
            call: One that isn't in the queue.
            contents: Key -> text or picture, in the candidates' order.
            looked: When the call found that the store hasn't these documents.
        """
        stored = frozenset().union(*(keys for finished, keys in self._finished if finished >= looked))
        for key, content in contents.items():
            job = self._jobs.get(key)
            if job is None:
                job = self._jobs[key] = Job(key, content, self._weight(content))
            if key in stored:
                job.may_be_stored = True
            call.add(job)
        (self._calls if call.until is None else self._hurried).append(call)

    def given(self, call: Call) -> list[KeyedDocuments]:
        """Give a call its documents that are done, each once and no other call's, batch by batch.

        Raises:
            BaseException: If one of its documents failed: that document's error.
        """
        found: dict[int, tuple[KeyedDocuments, set[bytes]]] = {}
        for job in [job for job in call.jobs.values() if job.is_settled]:
            state = job.state
            if isinstance(state, Failed):
                raise state.error
            if isinstance(state, Done):
                batch = found.get(id(state.documents))
                if batch is None:
                    batch = found[id(state.documents)] = (state.documents, set())
                batch[1].add(job.key)
            call.remove(job)
        return [documents.only(keys) for documents, keys in found.values()]

    def take_for_callers(self, call: Call, now: float) -> Batch | None:
        """Take a batch that a call's thread encodes for all calls.

        Returns:
            None if the call has a deadline, another call encodes, or every document is taken.
        """
        if call.until is not None or self.is_encoding_for_callers:
            return None
        is_shared = len(self._calls) + len(self._hurried) > 1
        size = min(self._batch_size, SHARED_BATCH) if is_shared else self._batch_size
        return self._begin(in_turn(self._calls, size), Kind.CALLERS, now, call)

    def take_behind(self, now: float) -> Batch | None:
        """Take a batch for a thread in the background: for calls with deadlines, else of leftovers.

        Returns:
            None if nothing is due, or enough batches run.
        """
        behind = self._behind()
        if self.is_closed or len(behind) >= self._bounds.n_behind or not all(self._is_held_up(batch, now) for batch in behind):
            return None
        parts = in_time(self._hurried, self.pace, now, may_be_late=len(behind) <= _MOST_TRIES)
        if parts:
            return self._begin(parts, Kind.DEADLINES, now)
        if self._calls or behind or any(job.is_open for call in self._hurried for job in call.jobs.values()):
            return None
        return self._begin(first_left(self._left, self.pace), Kind.LEFTOVERS, now)

    def finish(self, batch: Batch, outcome: Outcome, now: float) -> None:
        """Settle a batch's documents. Those that its outcome doesn't name are encoded by another batch.

        A batch that doesn't run is passed over: in a forked child, that is the parent's.
        """
        if batch not in self._running:
            return
        self._running.remove(batch)
        for job in batch.jobs:
            if job.is_settled:  # by the other batch that held it
                continue
            state = outcome.states.get(job.key)
            if state is None:
                job.give_back(batch)
            else:
                job.settle(state)
            self._tidy(job)
        self._finished.append((now, frozenset(key for key, state in outcome.states.items() if isinstance(state, Done))))
        if outcome.n_chars:
            self.pace.measured(outcome.n_chars, outcome.seconds)

    def may_come(self, call: Call, now: float) -> bool:
        """Whether a call with a deadline should wait on: there is time, and a batch runs."""
        return now < (call.until or 0.0) and (self.is_encoding_for_callers or (not self.is_closed and bool(self._running)))

    def next_look(self, call: Call, now: float) -> float:
        """When a call with a deadline should look again, if nothing changes: it is over, or a batch is held up."""
        return min([call.until or 0.0, *(batch.late for batch in self._behind() if batch.late > now)])

    def leave(self, call: Call, now: float, *, is_kept: bool) -> bool:
        """Let a call go. What it waited for until its deadline is left behind, within the bounds.

        Args:
            call: One that joined, or one that didn't come to it.
            now: Of `time.monotonic()`.
            is_kept: Whether the store keeps documents. If not, a batch at most is left behind, to see whether it does again.

        Returns:
            Whether the call was interrupted before it finished its batch, so that another call must encode.
        """
        calls = self._calls if call.until is None else self._hurried
        if call in calls:
            calls.remove(call)
        unfinished = [batch for batch in self._running if batch.caller is call]
        for batch in unfinished:
            self.finish(batch, Outcome(), now)
        if call.until is not None and not self.is_closed:
            n_left = self._bounds.n_left
            self._leave_behind(call, n_left if is_kept else min(n_left, SHARED_BATCH))
        for job in list(call.jobs.values()):
            call.remove(job)
            self._tidy(job)
        return bool(unfinished)

    def close(self) -> None:
        """Encode no more in the background. What runs there goes on."""
        self.is_closed = True
        for job in list(self._left.jobs.values()):
            self._left.remove(job)
            self._tidy(job)

    def is_unwanted(self, batch: Batch) -> bool:
        """Whether the queue is closed and nobody waits for a batch."""
        return self.is_closed and not any(job.wanted_by for job in batch.jobs)

    def _begin(self, parts: Parts, kind: Kind, now: float, caller: Call | None = None) -> Batch | None:
        if not parts:
            return None
        expected_s = self.pace.seconds(job for part in parts for job in part)
        batch = Batch(kind, tuple(map(tuple, parts)), now, expected_s, caller)
        for job in batch.jobs:
            job.take(batch)
        self._running.append(batch)
        return batch

    def _behind(self) -> list[Batch]:
        return [batch for batch in self._running if batch.kind is not Kind.CALLERS]

    def _is_held_up(self, batch: Batch, now: float) -> bool:
        """Tell whether a batch takes longer than other calls can wait, or nobody with a deadline waits for it."""
        keys = [job.key for job in batch.jobs]
        waiting = [call for call in self._hurried if any(key in call.jobs for key in keys)]
        if not waiting or now >= batch.late:
            return True
        others = [call for call in self._hurried if call not in waiting and any(job.is_open for job in call.jobs.values())]
        return any(batch.end - now > ((call.until or now) - now) / 2 for call in others)

    def _leave_behind(self, call: Call, n_most: int) -> None:
        for job in call.jobs.values():
            if job.is_settled or job.key in self._left.jobs:
                continue
            if len(self._left.jobs) >= n_most or self._left.n_chars + job.weight > self._bounds.n_left_chars:
                return
            self._left.add(job)

    def _tidy(self, job: Job) -> None:
        """Forget a document that is settled, or that nobody wants and no batch holds."""
        if job.is_settled:
            if self._left in job.wanted_by:
                self._left.remove(job)
        elif job.state is WAITING and not job.wanted_by:
            job.drop()
        else:
            return
        if self._jobs.get(job.key) is job:
            del self._jobs[job.key]
