"""HTML -> its visible text, in place: every character stays at its offset, markup becomes white space."""

from __future__ import annotations

import html
from html.parser import HTMLParser

_BLOCKS = frozenset(
    ("address", "article", "aside", "blockquote", "br", "dd", "div", "dl", "dt", "fieldset", "figcaption", "figure", "footer")
    + ("form", "h1", "h2", "h3", "h4", "h5", "h6", "header", "hr", "li", "main", "nav", "ol", "p", "pre", "section", "table")
    + ("td", "th", "title", "tr", "ul")
)
_INVISIBLE = frozenset(("script", "style", "template", "noscript", "svg"))


def visible_text(source: str) -> str:
    """Blank out what a reader doesn't see.

    Returns:
        As many characters as `source`; text at its own offsets, an entity as the character that it stands for followed by
        spaces, a block's tags as line breaks, everything else as spaces.

    Raises:
        ValueError: Markup that the parser gives up on.
    """
    readable = _without_traps(source)
    parser = _Blanker(readable)
    try:
        parser.feed(readable)
        parser.close()
    except AssertionError as error:  # the standard library's parser, on unknown declarations
        raise ValueError(f"HTML that can't be parsed: {error}") from error
    return "".join(parser.shown)


def _without_traps(source: str) -> str:
    """Blank comments, and every "<" without a ">" before the next "<": on thousands of those the parser takes minutes."""
    parts = []
    end = 0
    while (start := source.find("<!--", end)) >= 0:
        parts.append(source[end:start])
        closing = source.find("-->", start + 4)
        end = len(source) if closing < 0 else closing + 3
        parts.append(" " * (end - start))
    head, *tags = "".join([*parts, source[end:]]).split("<")
    return head + "".join(f"<{tag}" if ">" in tag else f" {tag}" for tag in tags)


class _Blanker(HTMLParser):
    def __init__(self, source: str) -> None:
        super().__init__(convert_charrefs=False)
        self.shown = [" "] * len(source)
        self._source = source
        self._line_starts = [0, *(i + 1 for i, char in enumerate(source) if char == "\n")]
        self._hidden: list[str] = []

    def handle_data(self, data: str) -> None:
        self._show(data)

    def handle_entityref(self, name: str) -> None:
        self._show_reference(f"&{name}")

    def handle_charref(self, name: str) -> None:
        self._show_reference(f"&#{name}")

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002 - HTMLParser's call
        self._break(tag)
        if tag in _INVISIBLE:
            self._hidden.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002
        self._break(tag)

    def handle_endtag(self, tag: str) -> None:
        self._break(tag)
        if tag in self._hidden:
            del self._hidden[self._hidden.index(tag) :]

    def _place(self) -> int:
        line, column = self.getpos()
        return self._line_starts[line - 1] + column

    def _show_reference(self, reference: str) -> None:
        after = self._place() + len(reference)
        closed = f"{reference};" if self._source[after : after + 1] == ";" else reference
        self._show(html.unescape(closed))

    def _show(self, data: str) -> None:
        if not self._hidden:
            start = self._place()
            self.shown[start : start + len(data)] = data

    def _break(self, tag: str) -> None:
        if tag in _BLOCKS:
            # Two, where there is room: a blank line is where the splitter cuts first.
            start = self._place()
            self.shown[start : start + 2] = "\n\n"
