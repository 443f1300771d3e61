"""What PDFium reads from a page -> the page's text: hyphenated words joined, nothing in it that isn't seen."""

from __future__ import annotations

import re
import unicodedata

# PDFium writes U+FFFE for a hyphen at the end of a line, and leaves the line's end out. Other hyphens keep their line's end.
_HYPHEN = re.compile("\ufffe(?:\r?\n[ \t]*)?|[\u00ad\u2010]\r?\n[ \t]*")
_BLANK_ENDS = re.compile(r"[ \t]+(?=\n)")
_LINES = re.compile(r"\n{3,}")
# Control characters are glyphs that the file doesn't name. Soft hyphens, joiners and marks of byte order aren't seen.
_CLEAN = str.maketrans(
    {
        **dict.fromkeys((*range(9), *range(11, 32), *range(0x7F, 0xA0)), None),
        **dict.fromkeys("\u00ad\u200b\u2060\ufeff\ufffe\uffff", None),
        # Ligatures: a search for "file" must find it.
        **{chr(i): unicodedata.normalize("NFKC", chr(i)) for i in range(0xFB00, 0xFB07)},
    }
)


def cleaned(raw: str) -> str:
    """Clean a page's text. All offsets into a page's text count the characters of what this gives.

    A word that was hyphenated at the end of a line is whole again: "infor-" and "mation" give "information". The hyphen stays
    between capital and small letters (X-ray), behind one letter (x-axis) and beside digits. "Unix-like" loses it if a line
    ended there: no rule but a dictionary tells it from a hyphenated word.

    Args:
        raw: As PDFium gives it.

    Returns:
        Lines, parted by line feeds alone. No line ends in blanks.
    """
    text = _HYPHEN.sub(_joint, raw).replace("\r\n", "\n").translate(_CLEAN)
    return _LINES.sub("\n\n", _BLANK_ENDS.sub("", text)).strip()


def _joint(hyphen: re.Match[str]) -> str:
    text, start, end = hyphen.string, hyphen.start(), hyphen.end()
    before, after = text[max(start - 2, 0) : start], text[end : end + 1]
    if text[start] == "\u00ad":
        return ""
    if len(before) == 2 and before.isalpha() and after.isalpha() and before[-1].isupper() == after.isupper():
        return ""
    return "-"
