"""What users add to the order themselves -> one checked number for each candidate."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from late_rerank.arguments.given import as_candidate, finite
from late_rerank.ranking.priors import from_metadata, held
from late_rerank.types import Candidate

F64 = NDArray[np.float64]
FoundPrior: TypeAlias = "str | Callable[[Candidate], float]"
"""A prior of documents that are found later: the name of a metadata field that holds a number, or a function of a Candidate."""

_WANTED = "one finite number for each candidate, or a function of a Candidate"
_FOUND = (
    "a function of a Candidate, or the name of a metadata field: which documents will be found isn't known beforehand, so a "
    "list of numbers can't belong to them"
)
_IN_METADATA = ". The number in a metadata field is late_rerank.ranking.from_metadata(field)"


def checked_prior(given: Any) -> Any:
    """Check a prior, and keep numbers as Python's own, which can be compared and hashed.

    Args:
        given: None, a function of a Candidate, or numbers: a list, an array, a Series, a tensor. For several queries a function
            or one list of numbers for each.

    Returns:
        None, the function, a tuple of floats, or a tuple of such tuples.

    Raises:
        TypeError: If it is none of these, or one is no number.
        ValueError: If a number is NaN or infinite; names its place.
    """
    if given is None or callable(given):
        return given
    is_array = hasattr(given, "__array__")
    if isinstance(given, (str, bytes, Mapping, Set)) or not (is_array or isinstance(given, Iterable)):
        hint = _IN_METADATA if isinstance(given, str) else ""
        raise TypeError(f"prior must be {_WANTED}, got {type(given).__name__}: {given!r:.60}{hint}")
    return _numbers(_as_array(given) if is_array else list(given), "prior")


def checked_found_prior(given: Any) -> Any:
    """Check a prior for documents that are found later: a function of a Candidate, the name of a metadata field, or None.

    Raises:
        TypeError: If it is none of these.
        ValueError: If the name is blank.
    """
    if isinstance(given, str) and not given.strip():
        raise ValueError(f"prior must be {_FOUND}; got the name {given!r}")
    if given is None or isinstance(given, str) or callable(given):
        return given
    raise TypeError(f"prior must be {_FOUND}; got {type(given).__name__}: {given!r:.60}")


def as_function(given: FoundPrior | None) -> Callable[[Candidate], float] | None:
    """Give the function that a prior of found documents stands for: of a field's name, one that reads the field's number.

    Raises:
        TypeError: As in `checked_found_prior`.
        ValueError: As in `checked_found_prior`.
    """
    checked_found_prior(given)
    return from_metadata(given) if isinstance(given, str) else given


def of_queries(prior: Any, n: int) -> Sequence[Any]:
    """Give each query's own part of a checked prior: None, a function or a tuple of numbers.

    A function that looks at the clock is held at one moment, so that the documents of all queries are compared at the same.

    Raises:
        ValueError: If there are lists for another number of queries.
    """
    if prior is None or callable(prior):
        return [held(prior)] * n
    if not prior and n > 1:
        raise ValueError(f"prior must be a function, or one list of numbers for each of {n} queries; got an empty list")
    if not prior or not isinstance(prior[0], tuple):
        if n > 1:
            raise ValueError(f"prior must be a function, or one list of numbers for each of {n} queries; got one list")
        return [prior] * n
    if len(prior) != n:
        raise ValueError(f"prior must be a function, or one list of numbers for each query; got {len(prior)} lists for {n}")
    return list(prior)


def of_candidates(prior: Any, candidates: Sequence[Any], what: str = "candidates") -> F64:
    """Give the number of each candidate of one query.

    Args:
        prior: A function of a Candidate, or a tuple of numbers.
        candidates: As the user gave them, for a function. For numbers only their number counts.
        what: Names them in messages.

    Returns:
        (n_candidates,) float64, finite.

    Raises:
        ValueError: If there are more or fewer numbers than candidates. Also if the function raises, or gives NaN or infinity;
            names the candidate.
        TypeError: If the function gives no number; names the candidate.
    """
    if not callable(prior):
        if len(prior) != len(candidates):
            raise ValueError(
                f"prior has {len(prior)} numbers for {len(candidates)} {what}: give one for each, in the order of {what}"
            )
        return np.array(prior, dtype=np.float64)
    values = (_called(prior, as_candidate(each, i, what), i, what) for i, each in enumerate(candidates))
    return np.fromiter(values, dtype=np.float64, count=len(candidates))


def _called(prior: Callable[[Candidate], float], candidate: Candidate, index: int, what: str) -> float:
    try:
        value: Any = prior(candidate)
    except Exception as error:  # the user's own code: whatever it raises
        raise ValueError(f"prior failed for {_place(candidate, index, what)}: {type(error).__name__}: {error}") from error
    if type(value) is float and math.isfinite(value):
        return value
    return _number(value, f"prior of {_place(candidate, index, what)}")


def _place(candidate: Candidate, index: int, what: str) -> str:
    named = "" if candidate.id is None else f" (id {candidate.id!r:.60})"
    return f"{what}[{index}]{named}"


def _as_array(given: Any) -> list[Any]:
    try:
        listed = np.asarray(given).tolist()
    except (TypeError, ValueError, RuntimeError) as error:  # a tensor on an accelerator, or one with a gradient
        raise TypeError(f"prior must be {_WANTED}; this {type(given).__name__} can't be read as an array: {error}") from error
    if not isinstance(listed, list):
        raise TypeError(f"prior must be {_WANTED}, got one number: {listed!r:.60}")
    return listed


def _numbers(given: list[Any], place: str) -> tuple[Any, ...]:
    if given and all(_is_list(each) for each in given):
        lists = (_as_array(each) if hasattr(each, "__array__") else list(each) for each in given)
        return tuple(_flat(each, f"{place}[{i}]") for i, each in enumerate(lists))
    return _flat(given, place)


def _flat(given: list[Any], place: str) -> tuple[float, ...]:
    if all(type(value) is float and math.isfinite(value) for value in given):
        return tuple(given)
    return tuple(_number(value, f"{place}[{i}]") for i, value in enumerate(given))


def _is_list(value: Any) -> bool:
    return isinstance(value, (list, tuple)) or getattr(value, "ndim", 0) == 1


def _number(value: Any, place: str) -> float:
    if getattr(value, "ndim", None) == 0 and hasattr(value, "item"):
        value = value.item()  # an array or a tensor of one number
    number = finite(value)
    if number is not None:
        return number
    is_number = isinstance(value, (int, float, np.floating)) and not isinstance(value, bool)
    kind: type[Exception] = ValueError if is_number else TypeError
    raise kind(f"{place} must be a finite number, got {value!r:.60}")
