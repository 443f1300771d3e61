"""Progress bars of long work, on standard error where that is a terminal."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


def progress_bar(items: Iterable[Any] | None = None, *, progress: bool = True, **options: Any) -> Any:
    """Make a bar of tqdm's, which also is a context manager and an iterator of `items`.

    Args:
        items: What is gone through; None for a bar that is told of each step.
        progress: Whether a bar is wanted at all.
        **options: As `tqdm.tqdm` takes them.
    """
    from tqdm import tqdm  # noqa: PLC0415 - answering a query shows no bar

    # disable=None: tqdm draws on a terminal only.
    return tqdm(items, disable=None if progress else True, **options)
