"""Images within texts, as clients and frameworks send them: data URIs, base64 -> bytes. Nothing is fetched or opened."""

from __future__ import annotations

import base64
import binascii
import re

from late_rerank.pictures.image import PictureTooLargeError

_DATA = "data:"
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
# A type with its parameters has a few dozen characters. A comma further on isn't looked for.
_LONGEST_HEAD = 256


def is_url(text: str) -> bool:
    """Tell whether a text is a URL that somebody would have to fetch or open. A data URI isn't one; base64 has no colon."""
    return _SCHEME.match(text) is not None and not _is_data(text)


def bytes_of_data_uri(text: str, most_bytes: int) -> bytes:
    """Decode a data URI. Its type counts for nothing: the bytes tell what they are.

    Args:
        text: "data:image/png;base64,...".
        most_bytes: More are refused before they are decoded.

    Raises:
        PictureTooLargeError: If there are more bytes.
        ValueError: If the text is no data URI, or its data aren't base64.
    """
    if not _is_data(text):
        raise ValueError('a data URI must begin with "data:"')
    comma = text.find(",", 0, _LONGEST_HEAD)
    if comma < 0:
        raise ValueError('a data URI must have a comma before its data: "data:image/png;base64,..."')
    if not text[:comma].lower().endswith(";base64"):
        raise ValueError('the data of a data URI must be base64: "data:image/png;base64,..."')
    return bytes_of_base64(text[comma + 1 :], most_bytes)


def bytes_of_base64(text: str, most_bytes: int) -> bytes:
    """Decode base64 in one piece: the standard alphabet, padded, without white space.

    Args:
        text: Base64, without a URI's head.
        most_bytes: More are refused before they are decoded.

    Raises:
        PictureTooLargeError: If there are more bytes.
        ValueError: If it isn't base64, or holds no bytes.
    """
    n_bytes = len(text) * 3 // 4 - text.count("=", -2)
    if n_bytes > most_bytes:
        raise PictureTooLargeError(f"an image of {n_bytes:,} bytes: at most {most_bytes:,} are taken; make it smaller")
    try:
        decoded = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):  # ValueError: a character outside ASCII
        raise ValueError(f"no base64: {_reason(text)}") from None
    if not decoded:
        raise ValueError("an image must have bytes, got none")
    return decoded


def _is_data(text: str) -> bool:
    return text[: len(_DATA)].lower() == _DATA


def _reason(text: str) -> str:
    if any(character.isspace() for character in text):
        return "it has white space; send it in one line"
    if any(character in text for character in "-_%"):
        return "use the standard alphabet with + and /, and no percent signs"
    return "it has other characters, or isn't padded with = to a multiple of 4"
