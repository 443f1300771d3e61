"""A document on its way to its packed vectors: the states it passes, who wants it, and the batches that encode it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property

from late_rerank.types import Encodable
from late_rerank.vectors.contents import characters
from late_rerank.vectors.documents import KeyedDocuments

# A batch for calls with deadlines takes about so long, if its documents are short enough: by then their scores count.
UNIT_S = 0.25


@dataclass(frozen=True)
class Waiting:
    """No batch holds the document."""


@dataclass(frozen=True)
class Taken:
    """One batch encodes the document, or two: see `Job`."""

    by: tuple[Batch, ...]


@dataclass(frozen=True)
class Done:
    """The document is encoded, among these."""

    documents: KeyedDocuments


@dataclass(frozen=True)
class Failed:
    """The document could not be encoded."""

    error: BaseException


@dataclass(frozen=True)
class Dropped:
    """Nobody wanted the document any more before a batch took it."""


State = Waiting | Taken | Done | Failed | Dropped
WAITING = Waiting()
_LEGAL: dict[type[State], tuple[type[State], ...]] = {
    Waiting: (Taken, Dropped),
    Taken: (Taken, Waiting, Done, Failed),
    Done: (),
    Failed: (),
    Dropped: (),
}
_SETTLED = (Done, Failed)


class Job:
    """One document to be encoded, or to be fetched, for everybody who wants it.

    Its `state` changes as follows, and in no other way. The `Queue` makes every change.

    ======== ======== ============================================================================================
    from     to       when
    ======== ======== ============================================================================================
    Waiting  Taken    a batch takes it
    Waiting  Dropped  the last call that wants it leaves
    Taken    Taken    a batch for deadlines takes it too, since the first has others and ends too late for a call;
                      or one of two batches gives it back
    Taken    Waiting  its only batch gives it back: the batch was interrupted, or no thread could be started
    Taken    Done     the first of its batches has encoded it
    Taken    Failed   the first of its batches could not encode it
    ======== ======== ============================================================================================

    Done, Failed and Dropped are final.

    Attributes:
        key: The document's key.
        content: The document: a text or a picture.
        weight: How much work it is, in characters of text.
        is_settled: Whether it is done or failed.
        may_be_stored: Whether the store should be asked first: another call may have stored it meanwhile.
        wanted_by: The calls that wait for it, and the leftovers if it was left behind.
    """

    __slots__ = ("_state", "content", "is_settled", "key", "may_be_stored", "wanted_by", "weight")

    def __init__(self, key: bytes, content: Encodable, weight: int | None = None) -> None:
        self.key = key
        self.content = content
        self.weight = characters(content) if weight is None else weight
        self.may_be_stored = False
        self.wanted_by: set[Claim] = set()
        self._state: State = WAITING
        self.is_settled = False  # no property: it is asked several times a document

    @property
    def state(self) -> State:
        """Where the document stands now."""
        return self._state

    @property
    def is_open(self) -> bool:
        """Whether a batch for deadlines may take it: no batch has, or one of another kind that has other documents too.

        Where a document is alone, the same machine would end a later batch later.
        """
        if isinstance(self._state, Taken):
            return all(batch.kind is not Kind.DEADLINES and batch.has_several for batch in self._state.by)
        return isinstance(self._state, Waiting)

    @property
    def end(self) -> float:
        """When the batch that holds it will be done; infinite without one, or while no batch was measured."""
        return min(batch.end for batch in self._state.by) if isinstance(self._state, Taken) else math.inf

    def take(self, batch: Batch) -> None:
        """Let a batch encode the document."""
        if self._state is WAITING:
            self._become(batch.taken)
            return
        others = self._state.by if isinstance(self._state, Taken) else ()
        if others and (batch.kind is not Kind.DEADLINES or not self.is_open):
            raise RuntimeError(f"a batch for {batch.kind.value} can't take a document that {len(others)} others encode")
        self._become(Taken((*others, batch)))

    def give_back(self, batch: Batch) -> None:
        """Let another batch encode it, since this one doesn't."""
        others = tuple(other for other in self._state.by if other is not batch) if isinstance(self._state, Taken) else ()
        self._become(Taken(others) if others else WAITING)

    def settle(self, state: Done | Failed) -> None:
        """Take note of what became of it."""
        self._become(state)

    def drop(self) -> None:
        """End it, since nobody wants it."""
        self._become(Dropped())

    def _become(self, state: State) -> None:
        if type(state) not in _LEGAL[type(self._state)]:
            raise RuntimeError(f"a document can't become {type(state).__name__} once it is {type(self._state).__name__}")
        self._state = state
        self.is_settled = type(state) in _SETTLED


class Claim:
    """Documents that somebody wants, in order.

    Attributes:
        jobs: By their keys.
    """

    def __init__(self) -> None:
        self.jobs: dict[bytes, Job] = {}

    def add(self, job: Job) -> None:
        """Want a document."""
        self.jobs[job.key] = job
        job.wanted_by.add(self)

    def remove(self, job: Job) -> None:
        """Want a document no more."""
        del self.jobs[job.key]
        job.wanted_by.discard(self)

    def untaken(self) -> Iterator[Job]:
        """Give the documents that no batch holds, in order."""
        return (job for job in self.jobs.values() if job.state is WAITING)


class Call(Claim):
    """A call, and the documents that it hasn't been given yet, in its candidates' order.

    Args:
        until: Its deadline, of `time.monotonic()`; None if it waits for all.
    """

    def __init__(self, until: float | None = None) -> None:
        super().__init__()
        self.until = until

    def late(self) -> Iterator[Job]:
        """Give the documents that no batch encodes by the deadline, in order."""
        until = self.until or 0.0
        return (job for job in self.jobs.values() if job.is_open and job.end > until)


class Leftovers(Claim):
    """Documents that calls left behind at their deadlines, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.n_chars = 0

    def add(self, job: Job) -> None:
        super().add(job)
        self.n_chars += job.weight

    def remove(self, job: Job) -> None:
        super().remove(job)
        self.n_chars -= job.weight


class Kind(Enum):
    """Whom a batch is encoded for."""

    CALLERS = "callers"  # one of them encodes it
    DEADLINES = "deadlines"  # a thread does
    LEFTOVERS = "leftovers"  # likewise, when nobody waits


@dataclass(frozen=True, eq=False)
class Batch:
    """Documents that one thread encodes at once.

    Attributes:
        kind: Whom it is encoded for.
        parts: Its documents, as they were taken from each call.
        began: When it began, of `time.monotonic()`.
        expected_s: How long it will take; infinite while no batch was measured.
        caller: The call whose thread encodes it; None for a thread in the background.
    """

    kind: Kind
    parts: tuple[tuple[Job, ...], ...]
    began: float
    expected_s: float = math.inf
    caller: Call | None = None

    @cached_property
    def taken(self) -> Taken:
        """The state of a document that only this batch holds."""
        return Taken((self,))

    @property
    def jobs(self) -> list[Job]:
        """Its documents."""
        return [job for part in self.parts for job in part]

    @cached_property
    def has_several(self) -> bool:
        """Whether it has more than one document."""
        return sum(map(len, self.parts)) > 1

    @property
    def end(self) -> float:
        """When it will be done; infinite while no batch was measured."""
        return self.began + self.expected_s

    @property
    def late(self) -> float:
        """From when on calls with deadlines don't wait for it any more."""
        return self.began + (2 * self.expected_s if math.isfinite(self.expected_s) else 0.0) + UNIT_S / 2


@dataclass
class Outcome:
    """What became of a batch, as far as it came.

    Attributes:
        states: Key -> Done or Failed. The keys of an interrupted batch's other documents are missing.
        n_chars: Characters of the documents whose encoding was timed.
        seconds: How long those took.
    """

    states: dict[bytes, Done | Failed] = field(default_factory=dict)
    n_chars: int = 0
    seconds: float = 0.0
