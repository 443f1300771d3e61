"""HTML -> its visible text, in place: every character stays at its offset, markup becomes white space."""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Iterator

import regex

_BLOCKS = frozenset(
    ("address", "article", "aside", "blockquote", "br", "dd", "div", "dl", "dt", "fieldset", "figcaption", "figure", "footer")
    + ("form", "h1", "h2", "h3", "h4", "h5", "h6", "header", "hr", "li", "main", "nav", "ol", "p", "pre", "section", "table")
    + ("td", "th", "title", "tr", "ul")
)
_NEVER_SEEN = frozenset(("script", "style", "template", "noscript", "svg", "iframe", "noembed", "noframes", "datalist"))
# Their content is no markup, up to their own end tag.
_RAW = frozenset(("script", "style", "iframe", "noembed", "noframes", "xmp", "title", "textarea"))
_VOID = frozenset(("area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"))
# A tag as browsers read it: a quote begins a value after "=" only. A tag or comment without an end takes the rest of the file.
# No two alternatives match the same text, and none backtracks, so that reading takes time in proportion to the length.
_VALUE = r"""=\s*+(?:"[^"]*+"|'[^']*+'|[^\s>"'][^\s>]*+)"""
_REFERENCE = r"&(?:\#x?[0-9a-f]+|[a-z][a-z0-9]*);?"
_REFERENCES = regex.compile(rf"(?i){_REFERENCE}")
_MARKUP = regex.compile(
    rf"""(?six)
    <!--(?:-?>|.*?(?:--!?>|\Z))
    | <(?P<end>/?)(?P<tag>[a-z][^\s/>]*+)(?P<attributes>(?:{_VALUE}|[^>=]++|=)*+)(?:>|\Z)
    | <[!?/][^>]*+(?:>|\Z)
    | {_REFERENCE}
    """
)
_ATTRIBUTE = regex.compile(rf"(?s)(?P<name>[^\s/>=][^\s/>=]*+)\s*+(?P<value>{_VALUE})?+")
_HIDING = regex.compile(r"(?i)(?:^|;)\s*+(?:display\s*+:\s*+none|visibility\s*+:\s*+(?:hidden|collapse))\b")
# Start tag -> the open elements that it ends without an end tag, and the elements that bound its reach.
_ROWS = frozenset(("table", "template"))
_BOUNDS = _ROWS | {"ul", "ol", "dl", "td", "th", "caption", "button", "object"}
_ENDED_BY: dict[str, tuple[frozenset[str], frozenset[str]]] = {
    **{name: (frozenset({"p"}), _BOUNDS) for name in _BLOCKS - {"br", "dd", "dt", "li", "td", "th", "title", "tr"}},
    "li": (frozenset({"li"}), _BOUNDS),
    **dict.fromkeys(("dd", "dt"), (frozenset({"dd", "dt"}), _BOUNDS)),
    **dict.fromkeys(("td", "th"), (frozenset({"td", "th"}), _ROWS | {"tr"})),
    "tr": (frozenset({"tr"}), _ROWS),
    **dict.fromkeys(("tbody", "thead", "tfoot"), (frozenset({"tbody", "thead", "tfoot"}), _ROWS)),
    "option": (frozenset({"option"}), _BOUNDS | {"select"}),
}
_OF_TABLES = frozenset(("table", "tbody", "thead", "tfoot", "tr", "td", "th", "caption", "template"))
# Browsers nest elements no deeper.
_DEEPEST = 512


def visible_text(source: str) -> str:
    """Blank out markup, and text that the markup hides. Style sheets are ignored.

    Returns:
        As many characters as `source`: text at its own offsets, an entity as its character followed by spaces, a block's tags
        as line breaks, everything else as spaces.

    Source: the HTML standard, sections 13.2.5 (tokenization) and 15.3.1 (hidden elements); the implied end tags of 13.2.6 as
    far as they decide where a hidden element ends.
    """
    return "".join(_parts(source))


def _parts(source: str) -> Iterator[str]:
    elements, last = _Elements(), 0
    while markup := _MARKUP.search(source, last):
        start, end = markup.span()
        yield _seen(source[last:start], hidden=elements.hidden)
        if source[start] == "&":
            yield _seen(html.unescape(markup[0]).ljust(end - start), hidden=elements.hidden)
            last = end
            continue
        tag = "" if markup["tag"] is None else markup["tag"].lower()
        # Two line breaks: a blank line is where the splitter cuts first.
        yield "\n\n".ljust(end - start) if tag in _BLOCKS and end - start > 1 else " " * (end - start)
        last = end
        if markup["end"]:
            elements.end(tag)
        elif tag:
            closed = markup["attributes"].endswith("/")
            elements.start(tag, markup["attributes"], closed=closed)
            if tag in _RAW and not closed:
                last = _raw_end(source, end, tag)
                yield _seen(
                    _unescaped(source[end:last]) if tag in ("title", "textarea") else source[end:last], hidden=elements.hidden
                )
    yield _seen(source[last:], hidden=elements.hidden)


def _seen(text: str, *, hidden: bool) -> str:
    return " " * len(text) if hidden else text


def _raw_end(source: str, start: int, tag: str) -> int:
    """Find where the end tag begins of an element whose content is no markup; the end of the source if there is none."""
    found = regex.compile(rf"(?i)</{tag}(?=[\s/>])").search(source, start)
    return len(source) if found is None else int(found.start())


def _unescaped(text: str) -> str:
    return str(_REFERENCES.sub(lambda found: html.unescape(found[0]).ljust(len(found[0])), text))


class _Elements:
    """The open elements, as far as they decide where hidden ones end."""

    def __init__(self) -> None:
        self._open: list[tuple[str, bool]] = []
        self._n_open: Counter[str] = Counter()

    @property
    def hidden(self) -> bool:
        """Whether text in the innermost open element is hidden."""
        return bool(self._open) and self._open[-1][1]

    def start(self, tag: str, attributes: str, *, closed: bool) -> None:
        """Go past a start tag."""
        if tag in _ENDED_BY:
            self._close(*_ENDED_BY[tag])
        if not closed and tag not in _VOID:
            self._n_open[tag] += 1
            self._open.append((tag, self.hidden or tag in _NEVER_SEEN or _hides(tag, attributes)))

    def end(self, tag: str) -> None:
        """Go past an end tag; one without a start is passed over."""
        bounds = _ROWS if tag in _OF_TABLES else _ROWS | {"td", "th", "caption"}
        self._close(frozenset({tag}), bounds if tag in _BLOCKS or tag in _NEVER_SEEN else bounds | _BLOCKS)

    def _close(self, tags: frozenset[str], bounds: frozenset[str]) -> None:
        if not any(self._n_open[tag] for tag in tags):
            return
        for back, (tag, _) in enumerate(reversed(self._open[-_DEEPEST:]), start=1):
            if tag in tags:
                self._n_open.subtract(ended for ended, _ in self._open[-back:])
                del self._open[-back:]
                return
            if tag in bounds:
                return


def _hides(tag: str, attributes: str) -> bool:
    """Tell whether an element's own start tag hides it."""
    if tag == "dialog":
        return "open" not in _values(attributes)
    lower = attributes.lower()
    if "hidden" not in lower and "none" not in lower and "collapse" not in lower and "&" not in lower:
        return False
    values = _values(attributes)
    return values.get("hidden", "until-found").lower() != "until-found" or bool(_HIDING.search(values.get("style", "")))


def _values(attributes: str) -> dict[str, str]:
    values: dict[str, str] = {}
    for found in _ATTRIBUTE.finditer(attributes):
        value = (found["value"] or "=")[1:].strip()
        bare = value[1:-1] if value[:1] in ("'", '"') else value
        values.setdefault(found["name"].lower(), html.unescape(bare))  # of two, the first counts
    return values
