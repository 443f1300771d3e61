"""Near-duplicates of a document that is in the context: texts that are equal to it, or a piece of it.

Texts that are alike may say the opposite: "not", "9 pm", "Rome to Oslo". So neither likeness nor token vectors decide here.
Unless it is proved that two documents say the same, both stay.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple
from unicodedata import normalize

from late_rerank.context.file_spans import are_of_one_source, counted_span
from late_rerank.context.pieces import LONG, UNSPACED_WORD, is_piece
from late_rerank.context.wording import are_equal, wording
from late_rerank.types import RankedDocument

# Long texts are compared word by word, which takes 1 ms a text, only if both share so many of the shorter one's rows of words.
_IN_A_ROW = 3
_COMMON = 0.4
# Texts of fewer words between spaces are looked up by their whole wording.
_SHORT = 40
# In scripts without spaces a row is of characters, about three words of them. Most of such a text is in these scripts.
_CHARACTERS_IN_A_ROW = 6
_UNSPACED = re.compile("[\u0e00-\u0eff\u0f40-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")

_Row = tuple[str, ...] | str


class Same(NamedTuple):
    """Which taken documents say the same as a further document.

    Attributes:
        stands_for: A taken document that says all that the further one says; None if there is none.
        replaced: Taken documents that are pieces of the further one: it says all that they say.
    """

    stands_for: int | None = None
    replaced: tuple[int, ...] = ()


class Twins:
    """Finds the taken documents that say the same as another document.

    Args:
        documents: All documents.
    """

    def __init__(self, documents: Sequence[RankedDocument]) -> None:
        self._documents = documents
        self._rows: dict[int, set[_Row]] = {}
        # Of documents that were taken at some time:
        self._indexed: set[int] = set()
        self._with_row: dict[_Row, list[int]] = {}
        self._worded: dict[str, list[int]] = {}
        self._of_file: dict[str, list[int]] = {}
        self._file_spans = [counted_span(document) for document in documents]
        self._compared: dict[tuple[int, int], tuple[bool, bool]] = {}  # "coverage" selects twice, compression once more

    def of(self, document: int, taken: Sequence[int], is_whole: Callable[[int], bool]) -> Same:
        """Compare a document with the taken ones.

        Args:
            document: Its position.
            taken: The positions of the taken documents.
            is_whole: Whether all of a document is shown, not only some of its sentences.
        """
        for other in taken:
            self._index(other)
        replaced = []
        for other in sorted(self._near_of(document).intersection(taken)):
            are_equal, is_inside = self._compare(document, other)
            if are_equal or (is_inside and is_whole(other)):
                return Same(other)
            if is_whole(document) and self._compare(other, document)[1]:
                replaced.append(other)
        return Same(None, tuple(replaced))

    def _compare(self, document: int, other: int) -> tuple[bool, bool]:
        """Tell whether both are equal, and whether the first is a piece of the other."""
        pair = document, other
        if pair not in self._compared:
            ours, theirs = self._documents[document].text, self._documents[other].text
            is_inside = self._is_within(document, other) or is_piece(ours, theirs)
            self._compared[pair] = are_equal(wording(ours), wording(theirs)), is_inside
        return self._compared[pair]

    def _near_of(self, document: int) -> set[int]:
        """Find the documents, taken at some time, that may say the same."""
        ours = self._rows_of(document)
        common = Counter(other for row in ours & self._with_row.keys() for other in self._with_row[row])
        near = {other for other, n in common.items() if n >= _COMMON * min(len(ours), len(self._rows[other]))}
        if self._is_short(document):
            text = self._documents[document].text
            near.update(self._worded.get(wording(text).plain, ()))
        span = self._file_spans[document]
        return near.union(self._of_file.get(span.path, ()) if span is not None else ())

    def _index(self, document: int) -> None:
        if document in self._indexed:
            return
        self._indexed.add(document)
        for row in self._rows_of(document):
            self._with_row.setdefault(row, []).append(document)
        if self._is_short(document):
            self._worded.setdefault(wording(self._documents[document].text).plain, []).append(document)
        span = self._file_spans[document]
        if span is not None:
            self._of_file.setdefault(span.path, []).append(document)

    def _rows_of(self, document: int) -> set[_Row]:
        """Give the rows of three words of a long text, or of six characters; none for a short text."""
        if document not in self._rows:
            self._rows[document] = _rows(normalize("NFC", self._documents[document].text).lower())
        return self._rows[document]

    def _is_short(self, document: int) -> bool:
        return len(self._documents[document].text.split(maxsplit=_SHORT)) < _SHORT

    def _is_within(self, document: int, other: int) -> bool:
        """Tell whether both are cut from one file, and the first lies within the other there."""
        ours, theirs = self._file_spans[document], self._file_spans[other]
        if ours is None or theirs is None or ours.path != theirs.path:
            return False
        piece, whole = self._documents[document], self._documents[other]
        if not theirs.start <= ours.start < ours.end <= theirs.end or len(whole.text) != theirs.end - theirs.start:
            return False
        inside = whole.text[ours.start - theirs.start : ours.end - theirs.start]
        return inside == piece.text and are_of_one_source(piece.metadata, whole.metadata)


def _rows(text: str) -> set[_Row]:
    words = text.split()
    joined = "".join(words)
    if not text.isascii() and len(_UNSPACED.findall(joined)) * 2 > len(joined) >= LONG / UNSPACED_WORD:
        joined = normalize("NFKC", joined)
        return {joined[i : i + _CHARACTERS_IN_A_ROW] for i in range(len(joined) - _CHARACTERS_IN_A_ROW + 1)}
    return set(zip(*(words[i:] for i in range(_IN_A_ROW)), strict=False)) if len(words) >= LONG else set()
