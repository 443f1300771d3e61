"""Text -> text that a page or a terminal can show: characters that it can't show, or would obey, are replaced."""

from __future__ import annotations

from late_rerank.text.words import character_ends, is_unspaced

_LAST = 3  # code points in which the last letter stands, before a mark or a full stop
_LONG_CHARACTER = 32  # code points: `around` looks this much further, to cut between characters

# Control characters as their pictures: an escape sequence in a document must not move a terminal's cursor, and HTML has no NUL.
_PICTURES = {code: 0x2400 + code for code in range(0x20) if chr(code) not in "\t\n"}
# C1 has one-character forms of escape sequences. Embeddings and isolates turn the order of the text after them, beyond the
# document's own, so that a line reads wrong. Marks of direction and joiners (200B to 200F) stay: scripts and emoji need them.
_C1, _EMBEDDINGS, _ISOLATES, _SURROGATES = (
    range(0x80, 0xA0),
    range(0x202A, 0x202F),
    range(0x2066, 0x206A),
    range(0xD800, 0xE000),
)
_REPLACED = dict.fromkeys([*_C1, *_EMBEDDINGS, *_ISOLATES, *_SURROGATES], 0xFFFD)
_SHOWN = {**_PICTURES, 0x7F: 0x2421, **_REPLACED}
# A JSON escape stands for the same character, so that a JSON reader gets it back. JSON itself escapes characters below 0x20.
_ESCAPED = {code: f"\\u{code:04x}" for code in (0x7F, *_REPLACED)}


def shown(text: str) -> str:
    """Give a text as it can be shown.

    Control characters become their pictures. Lone surrogates, embeddings and isolates become U+FFFD. Line ends become line
    feeds. Tabs stay.
    """
    if text.isascii() and text.isprintable():
        return text
    return text.replace("\r\n", "\n").replace("\r", "\n").translate(_SHOWN)


def one_line(text: str) -> str:
    """Give a text as it can be shown within a line: as `shown`, with spaces for line ends and tabs."""
    return " ".join(shown(text).replace("\t", " ").splitlines())


def escaped_json(json_text: str) -> str:
    """Escape the characters of a JSON text that `shown` would replace: the same JSON, but a terminal can show it."""
    return json_text if json_text.isascii() and "\x7f" not in json_text else json_text.translate(_ESCAPED)


def around(text: str, start: int, end: int, width: int) -> tuple[str, str, str]:
    """Give a piece of text and the text before and after it, each on one line and shown; "…" where text is cut off.

    Args:
        text: The whole text.
        start: Where the piece starts.
        end: Where it ends.
        width: Code points to show on either side, at most; cut between words where there are any, else between characters.
    """
    before = _on_a_line(last_characters(text[max(start - width - _LONG_CHARACTER, 0) : start], width))
    after = _on_a_line(first_characters(text[end : end + width + _LONG_CHARACTER], width))
    if start > width and not is_unspaced(before[:1]):
        before = before.partition(" ")[2] or before
    if end + width < len(text) and not any(map(is_unspaced, after[-_LAST:])):
        after = after.rpartition(" ")[0] or after
    opening, closing = "… " if start > width else "", " …" if end + width < len(text) else ""
    return opening + before, _on_a_line(text[start:end]), after + closing


def first_characters(text: str, width: int) -> str:
    """Give the whole characters with which a text begins, at most `width` code points."""
    near = text[: width + _LONG_CHARACTER]
    return near[: max((place for place in character_ends(near) if place <= width), default=0)]


def last_characters(text: str, width: int) -> str:
    """Give the whole characters with which a text ends, at most `width` code points."""
    near = text[max(len(text) - width - _LONG_CHARACTER, 0) :]
    first = max(len(near) - width, 0)
    return near[next((place for place in [0, *character_ends(near)] if place >= first), len(near)) :]


def _on_a_line(text: str) -> str:
    # White space at the edges stays, unlike in `one_line`: pieces are put together there.
    return shown(text).replace("\n", " ").replace("\t", " ")
