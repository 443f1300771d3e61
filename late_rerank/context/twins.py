"""Documents that say the same as another that is in the context: equal to it, or a piece of it.

Texts that are alike may say the opposite: "not", "9 pm", "Rome to Oslo". So likeness decides nothing here, nor do token
vectors. Where nothing proves that two documents say the same, both stay.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple
from unicodedata import normalize

from late_rerank.context.layout import Place, are_of_one_source, counted_place
from late_rerank.context.pieces import is_piece
from late_rerank.context.wording import are_equal, wording
from late_rerank.types import RankedDocument

# Long texts are compared if so much of the shorter one's rows of words stand in both: a look at each word takes 1 ms a text.
_IN_A_ROW = 3
_COMMON = 0.4
# Texts of fewer words are all compared; those of more words are long.
_SHORT = 40
_LONG = 32

_Row = tuple[str, ...]


class Same(NamedTuple):
    """Which of the taken documents say the same as another.

    Attributes:
        stands_for: A taken one that says all that it does; None if none does.
        replaced: Taken ones that are pieces of it: it says all that they do.
    """

    stands_for: int | None = None
    replaced: tuple[int, ...] = ()


class Twins:
    """Finds, among documents that were taken, those that say the same as another.

    Args:
        documents: All of them.
        is_whole: Whether all of a document is shown, not some of its sentences only.
    """

    def __init__(self, documents: Sequence[RankedDocument], is_whole: Callable[[int], bool]) -> None:
        self._documents = documents
        self._is_whole = is_whole
        self._rows: list[set[_Row]] = []
        self._with_row: dict[_Row, list[int]] = {}
        self._near: dict[int, list[int]] = {}
        self._short: list[int] = []
        self._of_file: dict[str, list[int]] = {}
        self._found: dict[tuple[int, int], tuple[bool, bool]] = {}  # asked for once by each way of choosing

    def of(self, document: int, taken: Sequence[int]) -> Same:
        """Compare a document with those that were taken."""
        replaced = []
        for other in sorted(set(self._near_of(document)).intersection(taken)):
            are_equal, is_inside = self._compare(document, other)
            if are_equal or (is_inside and self._is_whole(other)):
                return Same(other)
            if self._is_whole(document) and self._compare(other, document)[1]:
                replaced.append(other)
        return Same(None, tuple(replaced))

    def _compare(self, document: int, other: int) -> tuple[bool, bool]:
        """Whether both are equal, and whether the first is a piece of the other."""
        pair = document, other
        if pair not in self._found:
            ours, theirs = self._documents[document], self._documents[other]
            self._found[pair] = (
                are_equal(wording(ours.text), wording(theirs.text)),
                _is_within(ours, theirs) or is_piece(ours.text, theirs.text),
            )
        return self._found[pair]

    def _near_of(self, document: int) -> list[int]:
        """Documents that may say the same."""
        if not self._rows:
            self._index()
        if document not in self._near:
            ours = self._rows[document]
            common = Counter(other for row in ours for other in self._with_row.get(row, ()))
            near = [other for other, n in common.items() if n >= _COMMON * min(len(ours), len(self._rows[other]))]
            short = self._short if document in self._short else []
            place = _place(self._documents[document])
            beside = [] if place is None else self._of_file[place[0]]
            self._near[document] = sorted({*near, *short, *beside} - {document})
        return self._near[document]

    def _index(self) -> None:
        for i, document in enumerate(self._documents):
            words = normalize("NFC", document.text).lower().split()
            if (place := _place(document)) is not None:
                self._of_file.setdefault(place[0], []).append(i)
            if len(words) < _SHORT:
                self._short.append(i)
            rows = set(zip(*(words[j:] for j in range(_IN_A_ROW)), strict=False)) if len(words) >= _LONG else set()
            self._rows.append(rows)
            for row in rows:
                self._with_row.setdefault(row, []).append(i)


def _place(document: RankedDocument) -> Place | None:
    return counted_place(document.metadata, document.text)


def _is_within(piece: RankedDocument, whole: RankedDocument) -> bool:
    """Whether both are cut from one file, and one lies within the other there."""
    ours, theirs = _place(piece), _place(whole)
    if ours is None or theirs is None or ours[0] != theirs[0] or not are_of_one_source(piece.metadata, whole.metadata):
        return False
    (_, start, end), (_, first, last) = ours, theirs
    is_inside = first <= start and end <= last and bool(piece.text)
    return is_inside and len(whole.text) == last - first and whole.text[start - first : end - first] == piece.text
