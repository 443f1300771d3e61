"""Functions of a Candidate for `prior=`: how new a document is, a number that its metadata hold, sums of such functions."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from late_rerank.arguments.given import finite
from late_rerank.arguments.numbers import number
from late_rerank.ranking.dates import is_missing, seconds_of
from late_rerank.types import Candidate

_DAY_S = 86_400.0


@dataclass(frozen=True)
class Recency:
    """How new a document is: `weight` for one of this moment, half of it for one that is a half-life old, and so on.

    `recency` makes it. It can be pickled and compared.

    Attributes:
        field: The metadata field with the date.
        half_life_days: Days, above 0.
        weight: What a document of this moment adds.
        now: The moment that ages count from, in Unix seconds; None for the moment of the call.
    """

    field: str
    half_life_days: float
    weight: float = 1.0
    now: float | None = None

    def __post_init__(self) -> None:
        _check_field(self.field)
        if number("half_life_days", self.half_life_days) <= 0:
            raise ValueError(f"half_life_days must be above 0, got {self.half_life_days}")
        _check_weight(self.weight)

    def __call__(self, candidate: Candidate) -> float:
        """Give what a document adds."""
        written = seconds_of(candidate.metadata.get(self.field), self.field)
        if written is None:
            return 0.0
        age_s = max((time.time() if self.now is None else self.now) - written, 0.0)
        return float(self.weight * 2.0 ** -(age_s / _DAY_S / self.half_life_days))

    def held(self) -> Recency:
        """Give the same at one moment: the one of the call, where none was given."""
        return self if self.now is not None else replace(self, now=time.time())


@dataclass(frozen=True)
class FromMetadata:
    """A number that the documents' metadata hold, times `weight`. `from_metadata` makes it. It can be pickled and compared.

    Attributes:
        field: The metadata field with the number.
        weight: What it is multiplied by.
    """

    field: str
    weight: float = 1.0

    def __post_init__(self) -> None:
        _check_field(self.field)
        _check_weight(self.weight)

    def __call__(self, candidate: Candidate) -> float:
        """Give what a document adds."""
        value = candidate.metadata.get(self.field)
        if is_missing(value):
            return 0.0
        found = finite(value)
        if found is None:
            raise TypeError(f"metadata[{self.field!r}] must be a finite number, or missing, got {value!r:.60}")
        return float(self.weight * found)


@dataclass(frozen=True)
class Sum:
    """The sum of several priors. `sum_of` makes it. It can be pickled if they can."""

    priors: tuple[Callable[[Candidate], float], ...]

    def __call__(self, candidate: Candidate) -> float:
        """Give what a document adds."""
        return sum(prior(candidate) for prior in self.priors)

    def held(self) -> Sum:
        """Give the same at one moment."""
        return Sum(tuple(prior.held() if hasattr(prior, "held") else prior for prior in self.priors))


def recency(field: str, *, half_life_days: float, weight: float = 1.0, now: Any = None) -> Recency:
    """Make a prior that lifts new documents: weight * 2 ** (-age / half-life).

    A document without a date adds 0, as a very old one does. One of the future counts as of this moment. All candidates of a
    call are compared at one moment.

    Args:
        field: The metadata field with the date: text as ISO 8601 ("2026-11-30", "2026-11-30T12:00:00Z", "2026-11"), a datetime,
            a date, a NumPy datetime64 or pandas Timestamp, or Unix seconds. Without a time zone it is UTC; without a time it is
            the day's beginning. No field, None, NaN, NaT and blank text are no date.
        half_life_days: After so many days a document adds half as much, above 0.
        weight: What a document of this moment adds: 1 is one standard deviation of the query's scores.
        now: The moment that ages count from, written as such a date. None takes the moment of each call.

    Raises:
        TypeError: If an argument has a wrong type.
        ValueError: If `half_life_days` isn't above 0, a number isn't finite, or `now` is no date.
    """
    moment = None if now is None else seconds_of(now, "now")
    if now is not None and moment is None:
        raise ValueError(f"now must be a date, or None for the moment of each call, got {now!r}")
    return Recency(field, half_life_days, weight, moment)


def from_metadata(field: str, *, weight: float = 1.0) -> FromMetadata:
    """Make a prior of a number that the documents' metadata hold, such as their popularity from 0 to 1.

    Args:
        field: The metadata field with the number. A document without it, or with None or NaN, adds 0.
        weight: What the number is multiplied by. A prior of 1 is one standard deviation of the query's scores, so counts of
            thousands need a small weight, or a logarithm: `lambda candidate: math.log1p(candidate.metadata["views"]) / 10`.

    Raises:
        TypeError: If an argument has a wrong type.
        ValueError: If the name is blank, or the weight isn't finite.
    """
    return FromMetadata(field, weight)


def sum_of(*priors: Callable[[Candidate], float]) -> Callable[[Candidate], float]:
    """Add priors up.

    Args:
        priors: Functions of a Candidate.

    Raises:
        TypeError: If one can't be called.
    """
    for i, prior in enumerate(priors):
        if not callable(prior):
            raise TypeError(f"priors[{i}] must be a function of a Candidate, got {type(prior).__name__}: {prior!r:.60}")
    return priors[0] if len(priors) == 1 else Sum(priors)


def _check_field(field: object) -> None:
    if not isinstance(field, str):
        raise TypeError(f"field must be the name of a metadata field, got {type(field).__name__}: {field!r:.60}")
    if not field.strip():
        raise ValueError(f"field must be the name of a metadata field, got {field!r}")


def _check_weight(given: object) -> None:
    number("weight", given, low=-1e300)
