"""What a query encoder is called: "full", "fast", or its folder's path."""

from __future__ import annotations

import os
from typing import Any

from late_rerank.errors import IncompatibleError

FULL, FAST = "full", "fast"
"""The model itself; the small one that is built in."""


def as_query_encoder(given: Any) -> str:
    """Check the name of a query encoder. Nothing is opened.

    Args:
        given: "full", "fast", or a folder's path.

    Returns:
        It as a str.

    Raises:
        ValueError: If it is blank.
        TypeError: If it is neither str nor path.
    """
    if not isinstance(given, (str, os.PathLike)):
        raise TypeError(f'query_encoder must be "{FULL}", "{FAST}" or a folder, got {type(given).__name__}: {given!r:.60}')
    name = os.fspath(given)
    if not isinstance(name, str) or not name.strip():
        raise ValueError(f'query_encoder must be "{FULL}", "{FAST}" or the folder of a query encoder, got {name!r}')
    return name


def refused_by_pages(query_encoder: str, model: object) -> IncompatibleError:
    """Say that a model of page images takes no query encoder."""
    return IncompatibleError(
        f"query_encoder={query_encoder!r} is for text models, and {model} is a model of page images, which encodes its queries "
        f'itself: leave query_encoder="{FULL}"'
    )
