"""Which documents are encoded next: calls take turns, and with a deadline what fits into the time left comes first."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from late_rerank.vectors.documents import KeyedDocuments

# Documents a batch where more than one call waits, or one that won't wait for long. A processor encodes as fast in small ones.
SHARED_BATCH = 16
# No more documents are added to a batch of so many characters: a document may be as long as a book.
BATCH_CHARS = 150_000
# A batch for calls with a deadline takes about so long, if its documents are short enough: by then their scores count.
UNIT_S = 0.25
# A document comes in its turn if it needs less than the time left by this factor, since an estimate is no more than that.
_MARGIN = 1.5


@dataclass(eq=False)
class Miss:
    """A document to be encoded, for so many calls, or only to be fetched. `documents` or `error` is what became of it."""

    key: bytes
    text: str
    n_calls: int = 0
    is_stored: bool = False
    unit: Unit | None = None
    documents: KeyedDocuments | None = None
    error: BaseException | None = None

    @property
    def is_done(self) -> bool:
        return self.documents is not None or self.error is not None


@dataclass(eq=False)
class Unit:
    """What one thread encodes at once, as it was taken from each call; when it began, and how long it will take, in seconds."""

    taken: list[list[Miss]]
    began: float = 0.0
    expected_s: float = math.inf
    for_deadlines: bool = False

    @property
    def misses(self) -> list[Miss]:
        return [miss for of_call in self.taken for miss in of_call]

    @property
    def end(self) -> float:
        """When it will be done; never, while nothing is known."""
        return self.began + self.expected_s

    @property
    def late(self) -> float:
        """From when on others don't wait for it any more."""
        return self.began + (2 * self.expected_s if math.isfinite(self.expected_s) else 0.0) + UNIT_S / 2


@dataclass(eq=False)
class Call:
    """What a call waits for, until when, and of that what it may still have encoded; both in the candidates' order."""

    until: float | None = None
    waiting: dict[bytes, Miss] = field(default_factory=dict)
    todo: dict[bytes, Miss] = field(default_factory=dict)

    def next(self) -> Miss | None:
        """The next one that nobody encodes."""
        while self.todo:
            miss = self.todo.pop(next(iter(self.todo)))
            if miss.unit is None and not miss.is_done:
                return miss
        return None

    def open(self) -> Iterator[Miss]:
        """Those that nobody encodes in time, in order."""
        for key, miss in list(self.todo.items()):
            if miss.is_done or (miss.unit is not None and miss.unit.for_deadlines):
                del self.todo[key]
            elif miss.unit is None or miss.unit.end > (self.until or 0.0):
                yield miss

    def done(self) -> list[KeyedDocuments]:
        """Batches with documents of this call that it hasn't been given, each once."""
        found: dict[int, KeyedDocuments] = {}
        for miss in [miss for miss in self.waiting.values() if miss.is_done]:
            if miss.documents is not None:
                found[id(miss.documents)] = miss.documents
            elif miss.error is not None:
                raise miss.error
            self.waiting.pop(miss.key).n_calls -= 1
        return list(found.values())


class Pace:
    """How long documents take, by their characters: what was measured last counts most."""

    def __init__(self) -> None:
        self._seconds = 0.0
        self._chars = 0.0

    def measured(self, misses: list[Miss], seconds: float) -> None:
        """Take note of what these took."""
        self._seconds = self._seconds / 2 + seconds
        self._chars = self._chars / 2 + sum(len(miss.text) for miss in misses)

    def seconds(self, misses: list[Miss]) -> float:
        """What these will take; infinite while nothing was measured."""
        return sum(len(miss.text) for miss in misses) * self._seconds / self._chars if self._chars else math.inf


def in_turn(calls: deque[Call], size: int) -> list[list[Miss]]:
    """A batch for calls that wait for all their documents: one of each in turn. As taken from each call; they are rotated."""
    by_call: dict[Call, list[Miss]] = {}
    n_chars = n_idle = 0
    while size and n_chars < BATCH_CHARS and n_idle < len(calls):
        call = calls[0]
        calls.rotate(-1)
        miss = call.next()
        if miss is None:
            n_idle += 1
            continue
        by_call.setdefault(call, []).append(miss)
        n_idle = 0
        size -= 1
        n_chars += len(miss.text)
    return list(by_call.values())


def in_time(calls: deque[Call], pace: Pace, *, may_be_late: bool) -> list[list[Miss]]:
    """A batch for calls with deadlines: of each in turn the first that fits into its time. They are rotated.

    Args:
        calls: Those that wait.
        pace: While nothing was measured, the shortest document goes alone.
        may_be_late: If nothing fits, whether the shortest one is tried all the same: estimates err.
    """
    now = time.monotonic()
    by_call: dict[Call, list[Miss]] = {}
    spent = 0.0
    n_taken = n_idle = 0
    while n_taken < SHARED_BATCH and n_idle < len(calls):
        call = calls[0]
        calls.rotate(-1)
        miss = _first_that_fits(call, pace, now, spent)
        if miss is None:
            n_idle += 1
            continue
        del call.todo[miss.key]
        by_call.setdefault(call, []).append(miss)
        n_idle = 0
        n_taken += 1
        spent += pace.seconds([miss])
    if by_call or not (may_be_late or pace.seconds([]) == math.inf):
        return list(by_call.values())
    shortest = min((miss for call in calls if now < (call.until or 0.0) for miss in call.open()), key=_size, default=None)
    return [] if shortest is None else [[shortest]]


def _first_that_fits(call: Call, pace: Pace, now: float, spent: float) -> Miss | None:
    left = ((call.until or 0.0) - now) / _MARGIN
    for miss in call.open():
        needed = spent + pace.seconds([miss])
        if needed <= left:
            return None if spent and needed > UNIT_S else miss
    return None


def first_left(left: dict[bytes, Miss], pace: Pace) -> list[list[Miss]]:
    """A batch of what calls left behind at their deadlines, in their order."""
    taken: list[Miss] = []
    for miss in left.values():
        if miss.unit is not None or miss.is_done:
            continue
        if len(taken) == SHARED_BATCH or (taken and pace.seconds([*taken, miss]) > UNIT_S):
            break
        taken.append(miss)
        if sum(map(_size, taken)) >= BATCH_CHARS:
            break
    return [taken] if taken else []


def _size(miss: Miss) -> int:
    return len(miss.text)
