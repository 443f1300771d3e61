"""Numbers that users give -> Python's own numbers, or an error that names the argument and its range."""

from __future__ import annotations

import math
from typing import overload

import numpy as np


@overload
def whole_number(name: str, value: object, at_least: int = 1) -> int: ...


@overload
def whole_number(name: str, value: object, at_least: int = 1, *, or_none: str) -> int | None: ...


def whole_number(name: str, value: object, at_least: int = 1, *, or_none: str = "") -> int | None:
    """Check a count. NumPy's integers are taken, a bool isn't.

    Args:
        name: The argument, for the error.
        value: As given.
        at_least: The smallest count allowed.
        or_none: What None stands for ("for all"); None is refused where this is empty.

    Raises:
        TypeError: If it is no whole number.
        ValueError: If it is below `at_least`.
    """
    if value is None and or_none:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name} must be an int{' or None' if or_none else ''}, got {value!r:.60}")
    if value < at_least:
        raise ValueError(f"{name} must be at least {at_least}, got {value}{f'; None stands {or_none}' if or_none else ''}")
    return int(value)


def number(name: str, value: object, low: float = 0.0, high: float = math.inf, *, or_else: str = "") -> float:
    """Check a number. NumPy's numbers are taken, a bool isn't.

    Args:
        name: The argument, for the error.
        value: As given.
        low: The smallest number allowed.
        high: The largest; infinity for any finite number.
        or_else: What may be given instead, for the error: "None to keep all".

    Raises:
        TypeError: If it is no number.
        ValueError: If it is NaN, infinite, or out of its range.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise TypeError(f"{name} must be a number{f' or {or_else}' if or_else else ''}, got {value!r:.60}")
    if not low <= value <= high or math.isinf(value):
        span = f"from {low:g} to {high:g}" if math.isfinite(high) else f"{low:g} or more and finite"
        raise ValueError(f"{name} must be {span}{f', or {or_else}' if or_else else ''}, got {value}")
    return float(value)


def page_number(given: object) -> int:
    """Read a page's number, as metadata hold it: some vector stores make 3.0 of 3, and readers write "3".

    Raises:
        ValueError: If it is no whole number.
    """
    if isinstance(given, str) and given.strip().isdecimal():
        return int(given)
    if isinstance(given, float) and given.is_integer():
        return int(given)
    if isinstance(given, bool) or not hasattr(given, "__index__"):
        raise ValueError(f"a page's number must be a whole number from 1, got {given!r:.60}")
    return int(given.__index__())
