"""Characters that a page or a terminal can't show as they are, or must not obey."""

from __future__ import annotations

# Control characters as their pictures: an escape sequence in a document must not move a terminal's cursor, and HTML has no NUL.
_PICTURES = {code: 0x2400 + code for code in range(0x20) if chr(code) not in "\t\n"}
_REPLACED = dict.fromkeys([*range(0x80, 0xA0), *range(0xD800, 0xE000)], 0xFFFD)
_SHOWN = {**_PICTURES, 0x7F: 0x2421, **_REPLACED}


def shown(text: str) -> str:
    """A text as it can be shown: control characters as pictures, lone surrogates as U+FFFD, line ends as line feeds."""
    return text.replace("\r\n", "\n").replace("\r", "\n").translate(_SHOWN)


def around(text: str, start: int, end: int, width: int) -> tuple[str, str, str]:
    """A piece of text with what is about it, each on one line and shown; "…" where something is cut off.

    Args:
        text: The whole text.
        start: Where the piece starts.
        end: Where it ends.
        width: Code points to show on either side, at most; cut between words where there are any.
    """
    before, after = _one_line(text[max(start - width, 0) : start]), _one_line(text[end : end + width])
    if start > width:
        before = "… " + (before.partition(" ")[2] or before)
    if end + width < len(text):
        after = (after.rpartition(" ")[0] or after) + " …"
    return before, _one_line(text[start:end]), after


def _one_line(text: str) -> str:
    return shown(text).replace("\n", " ").replace("\t", " ")
