"""Bytes -> text, where the encoding is certain."""

from __future__ import annotations

import codecs
import re

# The longer marks first: UTF-32's mark begins as UTF-16's does.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# Japanese, Korean and Chinese mail and old files: letters in ASCII's bytes, after an escape sequence that no terminal knows.
_ISO_2022 = re.compile(rb"\x1b(?:\$[@AB]|\$[()*+][A-Z@]|\([IJ])")
_HZ = re.compile(rb"~\{(?:[\x21-\x77][\x21-\x7e]){2,}~\}")
_UTF_7_MARK = re.compile(rb"\+/v[89+/]")


def decoded(raw: bytes) -> str:
    """Decode UTF-8, or the encoding of a byte order mark. Line ends stay as they are, so that offsets hold.

    Raises:
        ValueError: If the bytes are binary, or in another encoding.
    """
    encoding = next((name for mark, name in _MARKS if raw.startswith(mark)), "utf-8-sig")
    if encoding == "utf-32":
        raise ValueError("UTF-32; convert it to UTF-8")
    if encoding == "utf-8-sig" and b"\x00" in raw:
        raise ValueError("binary, not text")
    try:
        text = raw.decode(encoding)
    except UnicodeDecodeError as error:
        name = encoding.upper().removesuffix("-SIG")
        raise ValueError(f"not {name} at byte {error.start}; convert it to UTF-8") from error
    if "\x00" in text:
        raise ValueError("binary, not text")
    if encoding == "utf-8-sig" and (other := _seven_bit(raw)):
        raise ValueError(f"looks like {other}, not UTF-8; convert it to UTF-8")
    return text


def _seven_bit(raw: bytes) -> str | None:
    """Name the encoding with ASCII bytes only, if its escape sequences show; None for plain ASCII or UTF-8."""
    if b"\x1b" in raw and _ISO_2022.search(raw):
        return "ISO-2022"
    if b"~{" in raw and raw.isascii() and _HZ.search(raw) and _is_hz(raw):
        return "HZ"
    return "UTF-7" if _UTF_7_MARK.match(raw) else None


def _is_hz(raw: bytes) -> bool:
    """Tell whether the bytes decode as HZ. A Lisp format string (`~{~A~}`) doesn't."""
    try:
        raw.decode("hz")
    except UnicodeDecodeError:
        return False
    return True
