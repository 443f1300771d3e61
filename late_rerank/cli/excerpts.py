"""The part of a text that matches a query best, for a terminal, with the matching words marked."""

from __future__ import annotations

import re
from bisect import bisect_left
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import rich.console
    from rich.text import Text

    from late_rerank.explanation import Explanation
    from late_rerank.explanation.matches import Matched

STYLES = {"well": "bold green", "weakly": "green"}
# Characters shown before a match whose sentence begins too far away.
_BEFORE = 24
_MARK_OF_CUT = 2  # "… " or " …"
_SPACES = re.compile(r"\s+")
_LONG_CHARACTER = 32  # code points; a longer one may be cut
# No line begins with closing marks and small letters of Chinese and Japanese.
_NOT_FIRST = re.compile(
    "[\u3001\u3002\uff0c\uff0e\uff01\uff1f\uff1a\uff1b\u300d\u300f\uff09\u3015\u3009\u300b\u3011\u201d\u2019\u30fc,.!?:;)\\]]"
)


class Mark(NamedTuple):
    """A word of a text that matches words of the query.

    Attributes:
        start: Where it starts, in code points.
        end: Where it ends.
        matched: How well.
        weight: Sum of the similarities of the query's words that it matches.
    """

    start: int
    end: int
    matched: Matched
    weight: float


class MarkedText(NamedTuple):
    """A text and the words to mark in it, in order and without overlap."""

    text: str
    marks: tuple[Mark, ...]

    def split(self, at: int) -> tuple[MarkedText, MarkedText]:
        """Cut the text in two. A word across the cut isn't marked."""
        return self._piece(0, at), self._piece(at, len(self.text))

    def on_a_line(self) -> MarkedText:
        """Make one space of all white space between words, line ends too, and none of it at the ends."""
        text = self.text.lstrip()
        cut = len(self.text) - len(text)
        gaps = [match.span() for match in _SPACES.finditer(text)]
        begins = [start for start, _ in gaps]
        left_out = list(accumulate((end - start - 1 for start, end in gaps), initial=0))

        def place(at: int) -> int:
            gap = bisect_left(begins, at - cut)  # gaps before it; the last one may go on
            within = max(gaps[gap - 1][1] - (at - cut), 0) if gap else 0
            return at - cut - left_out[gap] + within

        marks = (mark._replace(start=place(mark.start), end=place(mark.end)) for mark in self.marks)
        return MarkedText(_SPACES.sub(" ", text).rstrip(), tuple(marks))

    def _piece(self, start: int, end: int) -> MarkedText:
        within = (mark for mark in self.marks if start <= mark.start and mark.end <= end)
        marks = (mark._replace(start=mark.start - start, end=mark.end - start) for mark in within)
        return MarkedText(self.text[start:end], tuple(marks))


def marked_text(explanation: Explanation) -> MarkedText:
    """Mark the words of the text that match a word of the query. English stop words of the query are left out."""
    from late_rerank.explanation.matches import matched
    from late_rerank.retrieve.words import WordSplitter

    content = WordSplitter("english").of_query
    found: dict[tuple[int, int], list[float]] = {}
    for match in explanation.words:
        place = match.place
        if match.matched != "not at all" and place is not None and place.is_spoken and content(match.word.text):
            found.setdefault((place.start, place.end), []).append(match.similarity)
    marks = (Mark(*place, matched(max(values)), sum(values)) for place, values in sorted(found.items()))
    return MarkedText(explanation.text, tuple(marks))


def styled(console: rich.console.Console, marked: MarkedText, style: str = "") -> Text:
    """Style the marked words of a line. On a console without styles they stand in brackets.

    Args:
        console: Where the line will be printed.
        marked: The line.
        style: Of the other words.
    """
    from rich.text import Text

    from late_rerank.text.shown import shown

    line, last = Text(), 0
    for mark in marked.marks:
        word = shown(marked.text[mark.start : mark.end])
        line.append(shown(marked.text[last : mark.start]), style)
        line.append(word if console.color_system else f"[{word}]", STYLES[mark.matched])
        last = mark.end
    return line.append(shown(marked.text[last:]), style)


def excerpt(console: rich.console.Console, marked: MarkedText, *, width: int, n_lines: int, style: str = "") -> list[Text]:
    """Lay out the sentences in which most marks stand.

    Args:
        console: As `styled` takes it.
        marked: A text of any length.
        width: Of a line, in cells.
        n_lines: At most so many.
        style: As `styled` takes it.

    Returns:
        The lines; none if the text is blank. "…" stands where text is left out.
    """
    from rich.text import Text

    line = marked.on_a_line()
    if not line.text:
        return []
    begin = _beginning(line, _sentence_starts(marked.text), width * n_lines - 2 * _MARK_OF_CUT)
    rest = styled(console, line.split(begin)[1], style)
    return _laid_out(Text().append("… ", style).append_text(rest) if begin else rest, width, n_lines)


def _sentence_starts(text: str) -> list[int]:
    """Give the places of the sentences once the text is on one line."""
    from late_rerank.context.sentences import sentences

    starts = (Mark(start, start, "well", 0) for start, _ in sentences(text))
    return [mark.start for mark in MarkedText(text, tuple(starts)).on_a_line().marks]


def _beginning(line: MarkedText, sentence_starts: list[int], room: int) -> int:
    """Choose where to begin, at a sentence or shortly before a mark, so that the marks within `room` weigh most."""
    from late_rerank.text.shown import last_characters

    cells = _Cells(line.text)

    def start_for(mark: Mark) -> int:
        sentence = max((start for start in sentence_starts if start <= mark.start), default=0)
        if cells.between(sentence, mark.end) <= room:
            return sentence
        word = line.text.rfind(" ", 0, max(mark.start - _BEFORE, 0)) + 1
        if cells.between(word, mark.end) <= room:
            return word
        return mark.start - len(last_characters(line.text[: mark.start], _BEFORE))

    def weight(start: int) -> float:
        return sum(mark.weight for mark in line.marks if start <= mark.start and cells.between(start, mark.end) <= room)

    return max((start_for(mark) for mark in line.marks), key=weight, default=0)


class _Cells:
    """How many cells of a terminal a part of a text takes: a Chinese character takes two."""

    def __init__(self, text: str) -> None:
        from rich.cells import cell_len

        self._sums = None if text.isascii() else list(accumulate(map(cell_len, text), initial=0))

    def between(self, start: int, end: int) -> int:
        return end - start if self._sums is None else self._sums[end] - self._sums[start]


def _laid_out(text: Text, width: int, n_lines: int) -> list[Text]:
    """Lay a text out in lines, broken at spaces, and between characters of scripts without spaces."""
    lines: list[Text] = []
    rest = text
    while rest.plain and len(lines) < n_lines:
        is_last = len(lines) == n_lines - 1
        end = _line_end(rest.plain, width)
        if is_last and end < len(rest.plain):
            end = _line_end(rest.plain, width - _MARK_OF_CUT)
        line, rest = rest[:end], rest[end:]
        line.rstrip()
        rest = rest[len(rest.plain) - len(rest.plain.lstrip()) :]
        if is_last and rest.plain:
            line.append(" …")
        lines.append(line)
    return lines


def _line_end(text: str, width: int) -> int:
    """Find where the first line of a text ends, in code points; behind its first character at least."""
    from rich.cells import cell_len

    from late_rerank.text.words import character_ends, is_unspaced

    near = text[: width * _LONG_CHARACTER]
    before, start, taken, best = "", 0, 0, 0
    for end in character_ends(near):
        character = near[start:end]
        is_apart = character.isspace() or is_unspaced(character) or is_unspaced(before)
        if is_apart and not _NOT_FIRST.match(character):
            best = start
        taken += cell_len(character)
        if taken > width and not character.isspace():
            return best or start or end
        before, start = character, end
    return len(near)
