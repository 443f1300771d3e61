"""Which documents are encoded next: calls take turns; with a deadline, the documents that fit into the time left come first."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable

from late_rerank.vectors.contents import BATCH_CHARS
from late_rerank.vectors.jobs import UNIT_S, Call, Job, Leftovers

# Documents a batch where more than one call waits, or one with a deadline. A processor encodes as fast in small ones.
SHARED_BATCH = 16
# A document comes in its turn if it needs less than the time left by this factor, since an estimate is no more than that.
_MARGIN = 1.5

# The documents of a batch, as they were taken from each call.
Parts = list[list[Job]]


class Pace:
    """How long documents take, by their characters. The last measurement counts most."""

    def __init__(self) -> None:
        self._seconds = 0.0
        self._chars = 0.0

    @property
    def is_known(self) -> bool:
        """Whether anything was measured."""
        return self._chars > 0

    def measured(self, n_chars: int, seconds: float) -> None:
        """Take note of how long so many characters took. What was measured before counts half from now on."""
        self._seconds = self._seconds / 2 + seconds
        self._chars = self._chars / 2 + n_chars

    def seconds(self, jobs: Iterable[Job]) -> float:
        """Estimate how long documents will take; infinite while nothing was measured."""
        return sum(map(_size, jobs)) * self._seconds / self._chars if self.is_known else math.inf


def in_turn(calls: deque[Call], size: int) -> Parts:
    """Choose a batch for calls that wait for all their documents: one document of each call in turn.

    Args:
        calls: Rotated, so that the next batch goes on with the next call.
        size: Documents at most.
    """
    parts: dict[Call, list[Job]] = {}
    chosen: set[Job] = set()
    untaken = {call: (job for job in call.untaken() if job not in chosen) for call in calls}
    n_chars = n_idle = 0
    while len(chosen) < size and n_chars < BATCH_CHARS and n_idle < len(calls):
        call = calls[0]
        calls.rotate(-1)
        job = next(untaken[call], None)
        if job is None:
            n_idle += 1
            continue
        parts.setdefault(call, []).append(job)
        chosen.add(job)
        n_idle = 0
        n_chars += job.weight
    return list(parts.values())


def in_time(calls: deque[Call], pace: Pace, now: float, *, may_be_late: bool) -> Parts:
    """Choose a batch for calls with deadlines: of each in turn the first document that fits into its time.

    Args:
        calls: Rotated, so that the next batch goes on with the next call.
        pace: While nothing was measured, the shortest document goes alone.
        now: Of `time.monotonic()`.
        may_be_late: If nothing fits, whether the shortest document is tried all the same: estimates err.
    """
    parts: dict[Call, list[Job]] = {}
    chosen: set[Job] = set()
    spent = 0.0
    n_idle = 0
    while len(chosen) < SHARED_BATCH and n_idle < len(calls):
        call = calls[0]
        calls.rotate(-1)
        left = ((call.until or 0.0) - now) / _MARGIN
        job = _first_that_fits((job for job in call.late() if job not in chosen), pace, left, spent)
        if job is None:
            n_idle += 1
            continue
        parts.setdefault(call, []).append(job)
        chosen.add(job)
        n_idle = 0
        spent += pace.seconds([job])
    if parts or not (may_be_late or not pace.is_known):
        return list(parts.values())
    shortest = min((job for call in calls if now < (call.until or 0.0) for job in call.late()), key=_size, default=None)
    return [] if shortest is None else [[shortest]]


def _first_that_fits(jobs: Iterable[Job], pace: Pace, left: float, spent: float) -> Job | None:
    for job in jobs:
        needed = spent + pace.seconds([job])
        if needed <= left:
            return None if spent and needed > UNIT_S else job
    return None


def first_left(left: Leftovers, pace: Pace) -> Parts:
    """Choose a batch of what calls left behind at their deadlines, in their order; each alone, as if each had a call."""
    chosen: list[Job] = []
    for job in left.untaken():
        if len(chosen) == SHARED_BATCH or (chosen and pace.seconds([*chosen, job]) > UNIT_S):
            break
        chosen.append(job)
        if sum(map(_size, chosen)) >= BATCH_CHARS:
            break
    return [[job] for job in chosen]


def _size(job: Job) -> int:
    return job.weight
