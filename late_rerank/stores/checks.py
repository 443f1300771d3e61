"""Numbers and words that stores on servers are given: checked at the door."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any

from late_rerank.stores.trouble import LONGEST_PAUSE_S


def check_seconds(name: str, value: Any, *, otherwise: str = "") -> None:
    """Refuse what is no time to wait.

    Raises:
        ValueError: If the value isn't a finite number above 0.
    """
    if not _is(value, Real) or not 0 < value < float("inf"):
        raise ValueError(f"{name} must be a number of seconds above 0{otherwise}, got {value!r:.60}")


def check_count(name: str, value: Any, least: int) -> None:
    """Refuse what is no number of things.

    Raises:
        ValueError: If the value isn't a whole number from `least` on.
    """
    if not _is(value, Integral) or value < least:
        raise ValueError(f"{name} must be a whole number, at least {least}, got {value!r:.60}")


def check_pause(value: Any) -> None:
    """Refuse what is no pause.

    Raises:
        ValueError: If the value isn't a number up to the longest pause.
    """
    if not _is(value, Real) or not 0 <= value <= LONGEST_PAUSE_S:
        raise ValueError(f"pause_s must be a number from 0 to {LONGEST_PAUSE_S:g}, got {value!r:.60}")


def check_on_error(value: Any) -> None:
    """Refuse what says nothing about errors.

    Raises:
        ValueError: If the value is neither "miss" nor "raise".
    """
    if value not in ("miss", "raise"):
        raise ValueError(f'on_error must be "miss" or "raise", got {value!r:.60}')


def told(url: object) -> str:
    """Give what a wrong URL begins with, or what it is instead of a text; no more, since a password may follow."""
    if not isinstance(url, str):
        return type(url).__name__
    scheme, found, _ = url.partition("://")
    return repr(scheme[:20]) if found else "a text without" if url else "an empty text"


def _is(value: Any, kind: type) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)
