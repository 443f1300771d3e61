"""Functions of a Candidate for `prior=`: how new a document is, a number that its metadata hold, sums of such functions."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from late_rerank.arguments.given import finite
from late_rerank.arguments.numbers import number
from late_rerank.ranking.dates import is_missing, seconds_of
from late_rerank.types import Candidate

_DAY_S = 86_400.0
# A number of this size times a weight of this size is still no infinity.
_MOST_WEIGHT = 1e150


class AtOneMoment:
    """A prior that looks at the clock. A base class, and no attribute that users' own functions might have too."""

    def held(self) -> Callable[[Candidate], float]:
        """Give the same at one moment: that of this call, where none was given."""
        raise NotImplementedError


def held(prior: Any) -> Any:
    """Give a prior that looks at the clock at one moment; another as it is."""
    return prior.held() if isinstance(prior, AtOneMoment) else prior


@dataclass(frozen=True)
class Recency(AtOneMoment):
    """How new a document is: `weight` for one of this moment, half of it for one that is a half-life old, and so on.

    `recency` makes it. It can be pickled and compared.

    Attributes:
        field: The metadata field with the date.
        half_life_days: Days, above 0.
        weight: What a document of this moment adds.
        now: The moment that ages count from, in Unix seconds; None for the moment of the call. May be given as any date.
    """

    field: str
    half_life_days: float
    weight: float = 1.0
    now: float | None = None

    def __post_init__(self) -> None:
        _check_field(self.field)
        # Python's own numbers: a file of a pipeline holds no NumPy.
        object.__setattr__(self, "half_life_days", _half_life(self.half_life_days))
        object.__setattr__(self, "weight", _weight(self.weight))
        if self.now is not None:
            object.__setattr__(self, "now", _moment(self.now))

    def __call__(self, candidate: Candidate) -> float:
        """Give what a document adds."""
        written = seconds_of(candidate.metadata.get(self.field), self.field)
        if written is None:
            return 0.0
        age_s = max((time.time() if self.now is None else self.now) - written, 0.0)
        return float(self.weight * 2.0 ** -(age_s / _DAY_S / self.half_life_days))

    def held(self) -> Recency:
        """Give the same at one moment: that of this call, where none was given."""
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
        object.__setattr__(self, "weight", _weight(self.weight))

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
class Sum(AtOneMoment):
    """The sum of several priors. `sum_of` makes it. It can be pickled if they can."""

    priors: tuple[Callable[[Candidate], float], ...]

    def __post_init__(self) -> None:
        for i, prior in enumerate(self.priors):
            if not callable(prior):
                raise TypeError(f"priors[{i}] must be a function of a Candidate, got {type(prior).__name__}: {prior!r:.60}")

    def __call__(self, candidate: Candidate) -> float:
        """Give what a document adds."""
        return sum(prior(candidate) for prior in self.priors)

    def held(self) -> Sum:
        """Give the same at one moment."""
        return Sum(tuple(map(held, self.priors)))


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
        ValueError: If `half_life_days` isn't above 0, the weight is NaN or further from 0 than 1e150, or `now` is no date.
    """
    return Recency(field, half_life_days, weight, now)


def from_metadata(field: str, *, weight: float = 1.0) -> FromMetadata:
    """Make a prior of a number that the documents' metadata hold, such as their popularity from 0 to 1.

    Args:
        field: The metadata field with the number. A document without it, or with None or NaN, adds 0.
        weight: What the number is multiplied by. A prior of 1 is one standard deviation of the query's scores, so counts of
            thousands need a small weight, or a logarithm: `lambda candidate: math.log1p(candidate.metadata["views"]) / 10`.

    Raises:
        TypeError: If an argument has a wrong type.
        ValueError: If the name is blank, or the weight is out of range: NaN, or further from 0 than 1e150.
    """
    return FromMetadata(field, weight)


def sum_of(*priors: Callable[[Candidate], float]) -> Callable[[Candidate], float]:
    """Add priors up.

    Args:
        priors: Functions of a Candidate.

    Raises:
        TypeError: If one can't be called.
    """
    found = Sum(priors)
    return priors[0] if len(priors) == 1 else found


def _check_field(field: object) -> None:
    if not isinstance(field, str):
        raise TypeError(f"field must be the name of a metadata field, got {type(field).__name__}: {field!r:.60}")
    if not field.strip():
        raise ValueError(f"field must be the name of a metadata field, got {field!r}")


def _weight(given: object) -> float:
    return number("weight", given, low=-_MOST_WEIGHT, high=_MOST_WEIGHT)


def _half_life(given: object) -> float:
    days = finite(given)
    if days is not None and days > 0:
        return days
    is_number = isinstance(given, (int, float, np.floating)) and not isinstance(given, bool)
    kind: type[Exception] = ValueError if days is not None or is_number else TypeError
    raise kind(f"half_life_days must be a finite number above 0, got {given!r:.60}")


def _moment(given: Any) -> float:
    moment = seconds_of(given, "now")
    if moment is None:
        raise ValueError(f"now must be a date, or None for the moment of each call, got {given!r}")
    return moment
