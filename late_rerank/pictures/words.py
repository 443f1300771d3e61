"""The words on a page of a PDF file, and where each is seen."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeAlias

Box: TypeAlias = tuple[float, float, float, float]
"""Left, top, right and bottom in fractions of the page as it is shown: from 0 to 1, from the top left."""

Word: TypeAlias = tuple[str, Box]
"""A word as it is printed, and its box."""

# PDFium's coordinates of a bitmap are whole numbers: so many pixels on each side give fractions to a millionth.
_SIDE = 1_000_000
# A hyphen at the end of a line.
_HYPHEN = 0x02
_SURROGATES = range(0xD800, 0xE000)


def words(page: Any) -> list[Word]:
    """Find the words on a page, in PDFium's order of reading. The caller holds the turn.

    A word that is hyphenated at the end of a line is two, since it stands at two places.

    Args:
        page: PDFium's. Its rotation counts: boxes are those of the page as it is shown.
    """
    text = page.get_textpage()
    try:
        return list(_words(_characters(page, text)))
    finally:
        text.close()


def _characters(page: Any, text: Any) -> Iterator[tuple[str, Box | None]]:
    """Give each character with its box; None for white space and what isn't drawn."""
    from pypdfium2 import PdfPosConv, raw  # noqa: PLC0415 - loaded by now

    place = PdfPosConv(page, (0, 0, _SIDE, _SIDE, 0)).to_bitmap
    high = 0
    for i in range(text.count_chars()):
        code = raw.FPDFText_GetUnicode(text, i)
        if code in _SURROGATES and not high:
            high = code  # its partner stands at the same place
            continue
        character = "-" if code == _HYPHEN else _character(high, code)
        high = 0
        if character.isspace() or not character.isprintable():
            yield " ", None
            continue
        left, bottom, right, top = text.get_charbox(i)
        (x0, y0), (x1, y1) = place(left, top), place(right, bottom)
        yield character, _within(min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1))
        if code == _HYPHEN:
            yield " ", None


def _character(high: int, code: int) -> str:
    pair = bytes((high & 255, high >> 8, code & 255, code >> 8)) if high else b""
    return pair.decode("utf-16-le", errors="replace") if pair else chr(code)


def _within(left: int, top: int, right: int, bottom: int) -> Box:
    left, top, right, bottom = (min(max(at, 0), _SIDE) for at in (left, top, right, bottom))
    return left / _SIDE, top / _SIDE, right / _SIDE, bottom / _SIDE


def _words(characters: Iterator[tuple[str, Box | None]]) -> Iterator[Word]:
    word, box = "", None
    for character, place in characters:
        if place is None:
            if box is not None:
                yield word, box
            word, box = "", None
            continue
        word += character
        box = place if box is None else _around(box, place)
    if box is not None:
        yield word, box


def _around(one: Box, other: Box) -> Box:
    return min(one[0], other[0]), min(one[1], other[1]), max(one[2], other[2]), max(one[3], other[3])
