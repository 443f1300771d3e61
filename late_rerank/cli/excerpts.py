"""The part of a text that matches a query best, for a terminal, with the matching words marked."""

from __future__ import annotations

import re
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

        def place(at: int) -> int:
            return len(_SPACES.sub(" ", text[: at - cut]))

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
    return _laid_out(console, Text().append("… ", style).append_text(rest) if begin else rest, width, n_lines)


def _sentence_starts(text: str) -> list[int]:
    """Give the places of the sentences once the text is on one line."""
    from late_rerank.context.sentences import sentences

    starts = (Mark(start, start, "well", 0) for start, _ in sentences(text))
    return [mark.start for mark in MarkedText(text, tuple(starts)).on_a_line().marks]


def _beginning(line: MarkedText, sentence_starts: list[int], room: int) -> int:
    """Choose where to begin, at a sentence or shortly before a mark, so that the marks within `room` weigh most."""

    def start_for(mark: Mark) -> int:
        sentence = max((start for start in sentence_starts if start <= mark.start), default=0)
        return sentence if mark.end - sentence <= room else line.text.rfind(" ", 0, max(mark.start - _BEFORE, 0)) + 1

    def weight(start: int) -> float:
        return sum(mark.weight for mark in line.marks if start <= mark.start and mark.end <= start + room)

    return max((start_for(mark) for mark in line.marks), key=weight, default=0)


def _laid_out(console: rich.console.Console, text: Text, width: int, n_lines: int) -> list[Text]:
    lines = list(text.wrap(console, width))
    for line in lines:
        line.rstrip()
    if len(lines) > n_lines:
        lines = lines[:n_lines]
        if lines[-1].cell_len > width - _MARK_OF_CUT:
            lines[-1] = lines[-1][: max(lines[-1].plain.rfind(" ", 0, width - 1), 0)]
        lines[-1].append(" …")
    return lines
