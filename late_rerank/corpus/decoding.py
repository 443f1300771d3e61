"""Bytes -> text, where the encoding is certain: by a mark, as UTF-8, as the caller or the file says, or by its letters."""

from __future__ import annotations

import codecs
import re
from typing import NamedTuple

from late_rerank.corpus.labels import declared, is_wide, python_name, shown

# The longer marks first: UTF-32's mark begins as UTF-16's does.
MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_WIDE = ("utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be")
# Japanese, Korean and Chinese mail and old files: letters in ASCII's bytes, after an escape sequence that no terminal knows.
_ISO_2022 = re.compile(rb"\x1b(?:\$[@AB]|\$[()*+][A-Z@]|\([IJ])")
_ISO_2022_NAMES = ("iso2022_jp", "iso2022_jp_2", "iso2022_jp_ext")
_ISO_2022_KR = b"\x1b$)C"
_ISO_2022_CN = (b"\x1b$)A", b"\x1b$)G", b"\x1b$)E")  # which Python doesn't know
_HZ = re.compile(rb"~\{(?:[\x21-\x77][\x21-\x7e]){2,}~\}")
_UTF_7_MARK = re.compile(rb"\+/v[89+/]")
# What shows an encoding that was named: less is enough than where it is found out.
_NAMED_ESCAPES = {
    "iso2022": re.compile(_ISO_2022.pattern + rb"|\x1b\.[AF]|[\x0e\x0f]"),
    "hz": re.compile(rb"~\{(?:[\x21-\x77][\x21-\x7e])+~\}"),
    "utf-7": re.compile(rb"\+[A-Za-z0-9+/]{2}"),
}
# In no text; backspaces, escape sequences and DOS's mark of the end are.
_CONTROL = re.compile(rb"[\x00-\x06\x0e-\x19\x1c-\x1f]")
_CONTROL_CHARACTER = re.compile(r"[\x00-\x06\x0e-\x19\x1c-\x1f]")
_BEYOND_ASCII = re.compile(rb"[\x80-\xff]")
_TAG = re.compile(rb"<[^<>]*>")
# In all encodings here such a byte is a character of its own.
_BETWEEN = re.compile(rb"[ \t\r\n]")
# What is asked about: some bytes at the beginning, in the middle and near the end, from places with letters beyond ASCII.
_SAMPLE_BYTES = 2048
_TAGGED_BYTES = 8192
_SAMPLES = 3
# Of both ends of a text in UTF-16 without a mark.
_LOOKED_AT = 2048


class Decoded(NamedTuple):
    """A file's text.

    Attributes:
        text: Line ends stay as they are, so that offsets hold.
        encoding: Python's name of the encoding.
        told: What else is to be told, as "declares UTF-8"; None for nothing.
    """

    text: str
    encoding: str
    told: str | None = None


def decode(raw: bytes, *, encoding: str | None = None, html: bool = False) -> Decoded:
    """Decode a file.

    Args:
        raw: The file.
        encoding: Python's name of its encoding, for a file without a byte order mark that isn't UTF-8. A UTF-8 file beside it
            is still read as UTF-8: one in UTF-16 shows by its NUL bytes, one in ISO-2022, HZ or UTF-7 by its escape sequences.
            None finds it out.
        html: Whether it is HTML, which declares its encoding within a tag.

    Raises:
        ValueError: If the bytes are binary, or it is uncertain which encoding they are in.
    """
    certain = _by_its_form(raw, encoding)
    if certain is not None:
        return certain
    try:
        return Decoded(raw.decode("utf-8"), "utf-8", _declares_another(raw) if html else None)
    except UnicodeDecodeError as error:
        start = error.start
    if encoding is not None:
        return Decoded(_named_text(raw, encoding), encoding)
    if _CONTROL.search(raw):
        raise ValueError("binary, not text")
    label = declared(raw, html=html)
    try:
        return _by_its_letters(raw, label, html=html)
    except ValueError as error:
        said = "" if label is None else f", declared as {label!r:.40}"
        raise ValueError(
            f"not UTF-8 at byte {start}{said}, and {error}: convert it to UTF-8, or name its encoding if the command has "
            "--encoding (in Python: encoding=)"
        ) from error


def _declares_another(raw: bytes) -> str | None:
    label = declared(raw, html=True)
    return None if label is None or raw.isascii() or _named(label) == "utf-8" else f"declares {label:.40}"


def _by_its_form(raw: bytes, given: str | None) -> Decoded | None:
    """Decode what has a byte order mark, NUL bytes or escape sequences; None if it has none of them."""
    marked = next((name for mark, name in MARKS if raw.startswith(mark)), None)
    if marked is not None:
        return Decoded(_strictly(raw, marked), marked)
    if b"\x00" in raw:
        text = _decodes(raw, given) if given is not None and is_wide(given) else None
        return _wide(raw) if given is None or text is None or _CONTROL_CHARACTER.search(text) else Decoded(text, given)
    text = None if given is None else escaped_text(raw, given)
    return _seven_bit(raw) if given is None or text is None else Decoded(text, given)


def escaped_text(raw: bytes, encoding: str) -> str | None:
    """Decode bytes by an encoding that was named and has ASCII bytes only; None if none of its escape sequences is there.

    Plain ASCII and UTF-8 texts may lie beside such files. A plus sign in them begins no UTF-7: that must give letters.
    """
    pattern = next((each for name, each in _NAMED_ESCAPES.items() if encoding.startswith(name)), None)
    if pattern is None or not raw.isascii() or not pattern.search(raw):
        return None
    text = _decodes(raw, encoding)
    if text is not None and encoding == "utf-7":
        from late_rerank.corpus.detecting import has_one_alphabet, is_of_a_language  # noqa: PLC0415 - UTF-8 needs no tables

        ends = _ends(text.removeprefix("\ufeff"))
        if ends.isascii() or not (is_of_a_language(ends) or has_one_alphabet(ends)):
            return None
    return None if text is None else text.removeprefix("\ufeff")


def _named_text(raw: bytes, encoding: str) -> str:
    text = _strictly(raw, encoding)
    if _CONTROL_CHARACTER.search(text):
        raise ValueError("binary, not text")
    return text


def _strictly(raw: bytes, encoding: str) -> str:
    try:
        text = raw.decode(encoding)
    except UnicodeError as error:
        place = f" at byte {error.start}" if isinstance(error, UnicodeDecodeError) else ""
        raise ValueError(f"not {shown(encoding)}{place}; convert it to UTF-8") from error
    if "\x00" in text:
        raise ValueError("binary, not text")
    return text


def _wide(raw: bytes) -> Decoded:
    """Decode UTF-16 or UTF-32 without a mark. A wrong order of bytes gives letters of no language.

    Raises:
        ValueError: If it is neither.
    """
    from late_rerank.corpus.detecting import has_one_alphabet, is_of_a_language  # noqa: PLC0415 - UTF-8 files need no tables

    for name in _WIDE:
        text = _decodes(raw, name)
        if text is None or "\x00" in text:
            continue
        ends = _ends(text)
        if is_of_a_language(ends) or has_one_alphabet(ends):
            return Decoded(text, name)
    raise ValueError("binary, not text")


def _ends(text: str) -> str:
    return text if len(text) <= 2 * _LOOKED_AT else text[:_LOOKED_AT] + text[-_LOOKED_AT:]


def _seven_bit(raw: bytes) -> Decoded | None:
    """Decode an encoding with ASCII bytes only, if its escape sequences show; None for plain ASCII or UTF-8."""
    if not raw.isascii():
        return None
    if b"\x1b" in raw and _ISO_2022.search(raw):
        if any(each in raw for each in _ISO_2022_CN):
            raise ValueError("looks like ISO-2022-CN; convert it to UTF-8")
        names: tuple[str, ...] = ("iso2022_kr",) if _ISO_2022_KR in raw else _ISO_2022_NAMES
    elif b"~{" in raw and _HZ.search(raw):
        names = ("hz",)
    elif _UTF_7_MARK.match(raw):
        names = ("utf-7",)
    else:
        return None
    texts = ((_decodes(raw, name), name) for name in names)
    found = next((Decoded(text.removeprefix("\ufeff"), name) for text, name in texts if text is not None), None)
    if found is None and names != ("hz",):  # a Lisp format string (`~{~A~}`) is no HZ
        raise ValueError(f"looks like {shown(names[0])}, but can't be decoded; convert it to UTF-8")
    return found


def _by_its_letters(raw: bytes, label: str | None, *, html: bool) -> Decoded:
    """Decode by what the file declares, unless its letters say something else.

    Raises:
        ValueError: If the encoding is uncertain.
    """
    from late_rerank.corpus.detecting import decoded_part, detect, is_of_a_language  # noqa: PLC0415 - UTF-8 files need no tables

    sampled = sample(raw, html=html)
    named = _named(label)
    text = None if named is None else _decodes(raw, named)
    if named is not None and text is not None and is_of_a_language(decoded_part(sampled, named)):
        return Decoded(text, named)
    _check_not_damaged(sampled)
    try:
        found = detect(sampled)
    except ValueError:
        if named is None or text is None:
            raise
        return Decoded(text, named)  # its author's word
    return Decoded(_strictly(raw, found), found, None if label is None or found == named else f"declares {label:.40}")


def _named(label: str | None) -> str | None:
    if label is None:
        return None
    try:
        name = python_name(label)
    except ValueError:
        return None
    return "utf-8" if name.startswith(("utf-16", "utf-32")) else name  # a tag of ASCII bytes can't stand in those


def _decodes(raw: bytes, encoding: str) -> str | None:
    try:
        return raw.decode(encoding)
    except UnicodeError:
        return None


def _check_not_damaged(sampled: bytes) -> None:
    """Refuse UTF-8 with a few damaged bytes: any other reading would make nonsense of all its other letters."""
    text = sampled.decode("utf-8", "replace")
    n_damaged = text.count("\ufffd")
    if sum(each > "\x7f" for each in text) - n_damaged > n_damaged:
        raise ValueError("UTF-8 otherwise: these bytes are damaged")


def sample(raw: bytes, *, html: bool = False) -> bytes:
    """Take parts of a long file that have letters beyond ASCII. All begin between two characters, and all but the last end so.

    Args:
        raw: The file.
        html: Leave tags out, whose words are English.
    """
    size = _TAGGED_BYTES if html else _SAMPLE_BYTES
    parts: list[bytes] = []
    behind = 0
    for i in range(_SAMPLES):
        found = _BEYOND_ASCII.search(raw, max(behind, i * (len(raw) - size) // (_SAMPLES - 1)))
        start = behind if found is None else max(found.start() - size // 8, behind)
        first = _BETWEEN.search(raw, start, start + size) if parts else None
        if found is None or (parts and first is None):
            break
        start = start if first is None else first.start()
        end = _BETWEEN.search(raw, start + size, start + 2 * size)
        behind = start + size if end is None else end.start()
        parts.append(raw[start:behind])
        if end is None:
            break
    taken = b"\n".join(parts)
    return _TAG.sub(b"\n", taken) if html else taken
