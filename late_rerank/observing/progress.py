"""Progress bars of long work, on standard error where that is a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any


def progress_bar(items: Iterable[Any] | None = None, *, progress: bool = True, **options: Any) -> Any:
    """Make a bar of tqdm's, which also is a context manager and an iterator of `items`.

    Args:
        items: What is gone through; None for a bar that is told of each step.
        progress: Whether a bar is wanted at all. Without, tqdm isn't loaded.
        **options: As `tqdm.tqdm` takes them.
    """
    if not progress:
        return _NoBar(items)
    from tqdm import tqdm  # noqa: PLC0415 - answering a query shows no bar

    # disable=None: tqdm draws on a terminal only.
    return tqdm(items, disable=None, **options)


class _NoBar:
    """What tqdm's bar is where it is disabled, as far as it is used here."""

    n = 0
    disable = True

    def __init__(self, items: Iterable[Any] | None) -> None:
        self._items = () if items is None else items

    def __iter__(self) -> Iterator[Any]:
        return iter(self._items)

    def __enter__(self) -> _NoBar:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def update(self, n: float = 1) -> None:
        """Show nothing."""

    def set_description(self, desc: str) -> None:
        """Show nothing."""

    def set_postfix(self, **values: Any) -> None:
        """Show nothing."""

    def close(self) -> None:
        """Show nothing."""
