"""Dates as metadata hold them -> Unix seconds."""

from __future__ import annotations

import re
from datetime import date, datetime, timezone
from functools import lru_cache
from typing import Any

import numpy as np

from late_rerank.arguments.given import finite

# Unix seconds of more are milliseconds: as seconds they would be past the year 5000.
_MOST_S = 1e11
# Whole numbers of these are years, and days such as 20261129, that somebody wrote as numbers: as seconds they are all in 1970.
_YEARS = (1000, 9999)
_DAYS = (19_000_101, 21_001_231)
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_FRACTION = re.compile(r"[.,](\d+)")
# datetime.fromisoformat takes other forms of ISO 8601 from Python 3.11 on only.
_REDUCED = re.compile(r"\d{4}(-\d{2})?")
_BASIC = re.compile(r"(\d{4})(\d{2})(\d{2})(?:T(\d{2})(\d{2})(\d{2})?)?(.*)", re.DOTALL)
_ZONE = re.compile(r"[zZ]|[+-]\d{2}(:?\d{2})?")
_SHORT_ZONE = re.compile(r"([+-]\d{2}):?(\d{2})?$")


def seconds_of(value: Any, field: str) -> float | None:
    """Read a date as Unix seconds.

    Args:
        value: Text as ISO 8601, a datetime, a date, a NumPy datetime64, a pandas Timestamp, or Unix seconds. Without a time
            zone it is UTC; without a time it is the day's beginning.
        field: Names it in messages.

    Returns:
        None for None, NaN, NaT and blank text.

    Raises:
        ValueError: If a number is no Unix time in seconds, or a text is no date.
        TypeError: If it is something else.
    """
    if value is None or isinstance(value, str):
        return None if value is None or not value.strip() else _of_text(value.strip(), field)
    if isinstance(value, np.datetime64):
        value = _of_numpy(value, field)
    if is_missing(value):
        return None
    return _of_datetime(value) if isinstance(value, date) else _of_number(value, field)


def is_missing(value: Any) -> bool:
    """Tell whether a value is None, NaN, or pandas' NaT or NA: tables write so what they don't have."""
    if value is None or type(value).__name__ in ("NaTType", "NAType"):
        return True
    return isinstance(value, (float, np.floating)) and bool(value != value)


def _of_numpy(value: np.datetime64, field: str) -> datetime | None:
    found: Any = value.astype("datetime64[us]").item()
    if isinstance(found, int):  # no datetime holds it
        raise ValueError(f"{field} must be a date of the years 1 to 9999, got {value!r:.60}")
    return found  # type: ignore[no-any-return]


def _of_datetime(value: date) -> float:
    if not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day, tzinfo=timezone.utc)
    return (value if value.tzinfo is not None else value.replace(tzinfo=timezone.utc)).timestamp()


@lru_cache(4096)  # documents come again with the next query
def _of_text(text: str, field: str) -> float:
    try:
        return _of_datetime(datetime.fromisoformat(_whole(text)))
    except ValueError:
        raise ValueError(
            f"{field} must be a date as ISO 8601, such as 2026-11-30 or 2026-11-30T12:00:00Z, got {text!r:.60}"
        ) from None


def _whole(text: str) -> str:
    """Write a date of ISO 8601 in the form that Python 3.10 reads."""
    if _REDUCED.fullmatch(text):
        return f"{text}-01-01"[:10]
    day, rest = text[:10], text[10:]
    if (basic := _BASIC.fullmatch(text)) is not None:
        year, month, of_month, hour, minute, second, tail = basic.groups()
        day, rest = f"{year}-{month}-{of_month}", f"T{hour}:{minute}:{second or '00'}{tail}" if hour else tail
    if _DAY.fullmatch(day) is None:
        raise ValueError  # a week's date, which Python 3.10 doesn't read
    if _ZONE.fullmatch(rest.strip()) is not None:
        rest = f"T00:00{rest}"  # else Python reads the zone of a day as its time
    elif rest and rest[0] not in "Tt ":
        raise ValueError  # Python takes any character before a time: in "1712123100000" a digit
    rest = re.sub(r"\s*[zZ]$", "+00:00", rest)
    rest = _FRACTION.sub(lambda found: f".{found[1][:6]:<06}", rest, count=1)
    if ":" in rest:  # a time: "+0100" and "+01" are zones, too
        rest = _SHORT_ZONE.sub(lambda zone: f"{zone[1]}:{zone[2] or '00'}", rest)
    return day + rest


def _of_number(value: Any, field: str) -> float:
    number = finite(value)
    if number is None:
        raise TypeError(f"{field} must be a date, text as ISO 8601 or Unix seconds, got {type(value).__name__}: {value!r:.60}")
    if abs(number) > _MOST_S:
        raise ValueError(
            f"{field} must be Unix seconds, got {value!r:.60}, which is past the year 5000: milliseconds? Divide them by 1000"
        )
    if number.is_integer() and 0 < number <= _DAYS[1]:
        _check_is_no_date(int(number), value, field)
    return number


def _check_is_no_date(number: int, value: Any, field: str) -> None:
    told = f"{field} must be a date, got {value!r:.60}: as Unix seconds that is in 1970"
    if _YEARS[0] <= number <= _YEARS[1]:
        raise ValueError(f'{told}. Write a year as text, "{number}"')
    if _DAYS[0] <= number and _is_day(number):
        raise ValueError(f'{told}. Write a day as text, "{number}"')


def _is_day(number: int) -> bool:
    try:
        date(number // 10_000, number // 100 % 100, number % 100)
    except ValueError:
        return False
    return True
