"""Where a document's best passage stands: looked up when it is first asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol


class PassagePlace:
    """Where a document's best passage stands. The place is looked up when it is first asked for, since that takes a tokenizer.

    Pickling asks for it too, since the encoder stays behind. Copies share one.

    Args:
        find: Finds the passage's start and end in code points, or None.
    """

    __slots__ = ("_find", "_span")

    def __init__(self, find: Callable[[], tuple[int, int] | None]) -> None:
        self._find: Callable[[], tuple[int, int] | None] | None = find
        self._span: tuple[int, int] | None = None

    @property
    def span(self) -> tuple[int, int] | None:
        """The passage's start and end in code points. None if the encoder can't tell."""
        find = self._find
        if find is not None:
            self._span, self._find = find(), None
        return self._span

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the place alone, without the encoder that finds it."""
        return _found_place, (self.span,)

    def __copy__(self) -> PassagePlace:
        """Give itself: a place never changes."""
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> PassagePlace:
        return self


def _found_place(span: tuple[int, int] | None) -> PassagePlace:
    return PassagePlace(lambda: span)


class Passages(Protocol):
    """The best passages of one ranking's documents."""

    def of(self, document: Any) -> PassagePlace | None:
        """Give a document's passage. None if the scoring looks for none, or the document has no tokens."""


# Pickles of earlier releases name that file.
_found_place.__module__ = "late_rerank.types.documents"
