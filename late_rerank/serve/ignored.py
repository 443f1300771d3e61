"""Fields of a request that this server, or its model, takes no account of: which of them would have changed the answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# Fields that change no order and no score: who asks, how it is counted, how the answer is written, and how a text that is too
# long is cut, since no text is too long here.
_CHANGE_NOTHING = frozenset(
    {
        "encoding_format", "extra_headers", "id", "labels", "metadata", "priority", "request_id", "return_len", "service_tier",
        "stream", "tags", "timeout", "truncate", "truncation", "truncation_direction", "user", "user_id", "webhook",
    }
)  # fmt: skip
# What a client sends where nothing was set: Xinference's client sends `kwargs` as "{}".
_UNSET: tuple[Any, ...] = (None, "", "{}", [], {}, False)
_MOST = 20
_LONGEST = 64


def ignored_names(fields: Mapping[str, Any] | None) -> list[str]:
    """Name the unknown fields that would change the answer, in their order; at most 20, each cut to 64 characters.

    Args:
        fields: Name -> value, of the fields that a body doesn't have.
    """
    named = (name for name, value in (fields or {}).items() if name not in _CHANGE_NOTHING and not is_unset(value))
    return [name[:_LONGEST] for name, _ in zip(named, range(_MOST), strict=False)]


def in_header(names: list[str]) -> str:
    """Write names into a header's value; a name that a header can't hold becomes "?"."""
    return ", ".join(name if name.isascii() and name.isprintable() and "," not in name else "?" for name in names)


def is_unset(value: Any) -> bool:
    """Tell whether a field says nothing: null, an empty text, list or object, false."""
    return any(type(value) is type(unset) and value == unset for unset in _UNSET)
