"""Documents that say the same as another that is in the context: equal to it, or a piece of it.

Texts that are alike may say the opposite: "not", "9 pm", "Rome to Oslo". So likeness decides nothing here, nor do token
vectors. Where nothing proves that two documents say the same, both stay.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple
from unicodedata import normalize

from late_rerank.context.layout import are_of_one_source, counted_place
from late_rerank.context.pieces import LONG, is_piece, n_words
from late_rerank.context.wording import are_equal, wording
from late_rerank.types import RankedDocument

# Long texts are compared if so much of the shorter one's rows of words stand in both: a look at each word takes 1 ms a text.
_IN_A_ROW = 3
_COMMON = 0.4
# Texts of fewer words between spaces are looked at as a whole.
_SHORT = 40

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
        self._rows: dict[int, set[_Row]] = {}
        # Of documents that were taken at some time:
        self._indexed: set[int] = set()
        self._with_row: dict[_Row, list[int]] = {}
        self._worded: dict[str, list[int]] = {}
        self._unspaced: list[int] = []
        self._of_file: dict[str, list[int]] = {}
        self._places = [counted_place(document.metadata, document.text) for document in documents]
        self._found: dict[tuple[int, int], tuple[bool, bool]] = {}  # asked for once by each way of choosing

    def of(self, document: int, taken: Sequence[int]) -> Same:
        """Compare a document with those that were taken."""
        for other in taken:
            self._index(other)
        replaced = []
        for other in sorted(self._near_of(document).intersection(taken)):
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
            ours, theirs = self._documents[document].text, self._documents[other].text
            is_inside = self._is_within(document, other) or is_piece(ours, theirs)
            self._found[pair] = are_equal(wording(ours), wording(theirs)), is_inside
        return self._found[pair]

    def _near_of(self, document: int) -> set[int]:
        """Documents, taken at some time, that may say the same."""
        ours = self._rows_of(document)
        common = Counter(other for row in ours & self._with_row.keys() for other in self._with_row[row])
        near = {other for other, n in common.items() if n >= _COMMON * min(len(ours), len(self._rows[other]))}
        if self._is_short(document):
            text = self._documents[document].text
            near.update(self._worded.get(wording(text).plain, ()), self._unspaced if n_words(text) >= LONG else ())
        place = self._places[document]
        return near.union(self._of_file.get(place[0], ()) if place is not None else ())

    def _index(self, document: int) -> None:
        if document in self._indexed:
            return
        self._indexed.add(document)
        for row in self._rows_of(document):
            self._with_row.setdefault(row, []).append(document)
        if self._is_short(document):
            text = self._documents[document].text
            self._worded.setdefault(wording(text).plain, []).append(document)
            if n_words(text) >= LONG:
                self._unspaced.append(document)
        place = self._places[document]
        if place is not None:
            self._of_file.setdefault(place[0], []).append(document)

    def _rows_of(self, document: int) -> set[_Row]:
        """Words in a row in a long text; none in a short one."""
        if document not in self._rows:
            words = normalize("NFC", self._documents[document].text).lower().split()
            is_long = len(words) >= LONG
            self._rows[document] = set(zip(*(words[i:] for i in range(_IN_A_ROW)), strict=False)) if is_long else set()
        return self._rows[document]

    def _is_short(self, document: int) -> bool:
        return len(self._documents[document].text.split(maxsplit=_SHORT)) < _SHORT

    def _is_within(self, document: int, other: int) -> bool:
        """Whether both are cut from one file, and the first lies within the other there."""
        ours, theirs = self._places[document], self._places[other]
        if ours is None or theirs is None or ours[0] != theirs[0]:
            return False
        piece, whole = self._documents[document], self._documents[other]
        (_, start, end), (_, first, last) = ours, theirs
        if not first <= start < end <= last or len(whole.text) != last - first:
            return False
        return whole.text[start - first : end - first] == piece.text and are_of_one_source(piece.metadata, whole.metadata)
