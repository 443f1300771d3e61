"""Where a call's time goes. Whatever writes `timings_ms` of a Ranking does it through this module."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Protocol

from late_rerank.observing.tracing import span

TOTAL = "total"
_OF_A_RERANK = ("encode_query", "fetch", "encode_missing", "maxsim", TOTAL)
# Of a batch's times those that are each ranking's own, or no stage.
_NOT_SHARED = ("maxsim", TOTAL)


class Timed(Protocol):
    """A Ranking, as far as this module knows it.

    Attributes:
        timings_ms: Stage -> milliseconds; "total" is no stage.
    """

    timings_ms: dict[str, float]


class Timer:
    """Milliseconds by stage; a stage entered again adds up.

    Args:
        stages: Their names; those of a rerank unless given.

    Attributes:
        ms: Stage -> milliseconds; stages that weren't entered are 0.
    """

    def __init__(self, stages: Sequence[str] = _OF_A_RERANK) -> None:
        self.ms = dict.fromkeys(stages, 0.0)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count what happens inside, and give it a span in programs that trace."""
        started = time.perf_counter()
        try:
            with nullcontext() if name == TOTAL else span(name):
                yield
        finally:
            self.ms[name] += (time.perf_counter() - started) * 1000


def add_first_stage(ranking: Timed, ms: float) -> None:
    """Put the first stage's time before the others and into the total.

    Args:
        ranking: What was ranked of the first stage's candidates; changed.
        ms: What finding them took, in milliseconds.
    """
    ranking.timings_ms = {"first_stage": ms, **ranking.timings_ms, TOTAL: ms + ranking.timings_ms[TOTAL]}


def add_earlier(ranking: Timed, earlier: Timed) -> None:
    """Add the times of an earlier look at the same question, stage by stage, the total too.

    Args:
        ranking: The later one; changed.
        earlier: The earlier one, with the same stages.
    """
    for stage, ms in earlier.timings_ms.items():
        ranking.timings_ms[stage] += ms


def share(rankings: Sequence[Timed]) -> None:
    """Make of a batch's times each ranking's part, so that they can be summed up. MaxSim's is its own already.

    Args:
        rankings: Of one batch; changed.
    """
    for ranking in rankings:
        for stage in ranking.timings_ms:
            if stage not in _NOT_SHARED:
                ranking.timings_ms[stage] /= len(rankings)


def set_total(ranking: Timed, ms: float) -> None:
    """Set the total to what a question took altogether; what is left of it beside the stages is "waiting".

    Args:
        ranking: The question's; changed.
        ms: From the question's arrival to its ranking, in milliseconds.
    """
    worked_ms = sum(of_stage for stage, of_stage in ranking.timings_ms.items() if stage != TOTAL)
    ranking.timings_ms |= {"waiting": max(0.0, ms - worked_ms), TOTAL: ms}
