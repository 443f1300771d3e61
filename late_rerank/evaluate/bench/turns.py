"""Fair timing: contenders take turns in shuffled order, and medians count."""

from __future__ import annotations

import os
import random
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from late_rerank.observing.progress import progress_bar

Sampler = Callable[[], float]
"""Takes one turn and returns what it measured."""

Name = TypeVar("Name")
Call = TypeVar("Call", bound=Callable[[], Any])

# Long enough for the clock; short enough that a slow contender is called once a turn.
_TURN_S = 0.002

# Windows counts CPU time in steps of 16 ms.
_cpu_time = time.perf_counter if os.name == "nt" else time.process_time


def timed(call: Callable[[], Any], *, warm_up: bool = True) -> Sampler:
    """Make a sampler of one call's seconds on one thread.

    Args:
        call: The call to time.
        warm_up: Don't time a turn's first call: it refills the caches, which the contender before has emptied.
    """

    def sample() -> float:
        if warm_up:
            call()
        samples: list[float] = []
        while not samples or sum(samples) < _TURN_S:
            samples.append(_seconds(call))
        return statistics.median(samples)

    return sample


def _seconds(call: Callable[[], Any]) -> float:
    """Time one call as if it had a core to itself.

    Gives clock time or CPU time, whichever is less. On a busy machine another process often interrupts a call of some
    milliseconds, but rarely a short one: by the clock alone the faster contender would look faster than it is. On a quiet
    machine both times are equal; reading the CPU time takes 0.7 us.
    """
    cpu, clock = _cpu_time(), time.perf_counter()
    call()
    clock = time.perf_counter() - clock
    return min(clock, _cpu_time() - cpu)


def fastest(*forms: Call) -> Call:
    """Give the fastest of several calls that compute the same: a peer should run in its best form."""
    return min(forms, key=lambda form: min(timed(form)() for _ in range(3)))


def medians(
    samplers: Mapping[Name, Sampler], *, n_turns: int, title: str = "", progress: bool = False, seed: int = 0
) -> dict[Name, float]:
    """Give the median of each contender's turns.

    Each turn runs all contenders in a new random order. A machine that slows down for a while then slows all contenders, and no
    contender always follows the same one.
    """
    order = list(samplers)
    shuffle = random.Random(seed).shuffle
    samples: dict[Name, list[float]] = {name: [] for name in order}
    for _ in progress_bar(range(n_turns), unit=" turns", desc=title, leave=False, progress=progress):
        shuffle(order)
        for name in order:
            samples[name].append(samplers[name]())
    return {name: statistics.median(values) for name, values in samples.items()}
