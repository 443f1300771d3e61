"""Names of encodings: as files declare them -> Python's, and Python's as people know them."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Iterator, Mapping

from late_rerank.text.shown import one_line

# What browsers read instead, since pages mostly mean it: the encoding that has all characters of the declared one, and more.
_LARGER = {
    "ascii": "cp1252",
    "iso8859-1": "cp1252",
    "iso8859-9": "cp1254",
    "iso8859-11": "cp874",
    "tis-620": "cp874",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "shift_jis": "cp932",
    "euc_kr": "cp949",
    "big5": "big5hkscs",
    "cp950": "big5hkscs",
}
# What Python doesn't know by itself.
_NAMES = {
    "x-sjis": "cp932",
    "ms_kanji": "cp932",
    "x-euc-jp": "euc_jp",
    "x-gbk": "gb18030",
    "x-x-big5": "big5hkscs",
    "x-mac-roman": "mac-roman",
    "macintosh": "mac-roman",
    "x-mac-cyrillic": "mac-cyrillic",
    "x-cp1250": "cp1250",
    "x-cp1251": "cp1251",
    "x-cp1252": "cp1252",
    "iso-8859-8-i": "iso8859-8",
    "windows-31j": "cp932",
    "windows-874": "cp874",
    "dos-874": "cp874",
    "windows-949": "cp949",
    "ks_c_5601-1987": "cp949",
    "koi": "koi8-r",
    "unicode-1-1-utf-8": "utf-8",
    "cn-big5": "big5hkscs",
}
# Python has more: codecs of bytes and of source code, Windows' current code page, and what others registered.
_OF_TEXTS = re.compile(
    r"ascii|utf-(?:7|8(?:-sig)?|(?:16|32)(?:-[bl]e)?)|(?:iso8859-|cp)\d+|koi8-[rtu]|mac-\w+|kz1048|ptcp154|palmos|hp-roman8|tis-620"
    r"|gb2312|gbk|gb18030|hz|big5(?:hkscs)?|johab|(?:shift_jis|euc_|iso2022_)\w*"
)
_SHOWN = {
    "cp932": "Shift-JIS",
    "cp949": "EUC-KR",
    "cp874": "TIS-620",
    "big5": "Big5",
    "big5hkscs": "Big5",
    "gb18030": "GB18030",
    "hz": "HZ",
    "mac-roman": "Mac Roman",
    "mac-cyrillic": "Mac Cyrillic",
    "utf-8-sig": "UTF-8",
}
# A <meta> with a charset, an XML declaration, or an editor's mark in the first lines.
_DECLARED_HTML = re.compile(
    rb"<meta\b[^>]*?\bcharset\s*=\s*[\"']?\s*([-\w.:]+)|<\?xml\b[^>]*?\bencoding\s*=\s*[\"']([-\w.:]+)", re.I
)
_COMMENT = re.compile(rb"<!--.*?(?:-->|\Z)", re.S)
_DECLARED_TEXT = re.compile(rb"coding[:=][ \t]*([-\w.]+)", re.I)
_LOOKED_AT = 1024
# Files of an encoding that a message names.
_NAMED_FILES = 3


def python_name(label: str) -> str:
    """Give Python's name of an encoding, as browsers understand the label.

    Raises:
        ValueError: If there is no such encoding of texts.
    """
    lower = label.strip().lower()
    try:
        name = codecs.lookup(_NAMES.get(lower, lower)).name
    except (LookupError, ValueError):
        name = ""
    if not _OF_TEXTS.fullmatch(name):
        raise ValueError(f"{label!r:.60} is no encoding of texts; expected a name as utf-8, cp1252, shift_jis or gb18030")
    return _LARGER.get(name, name)


def declared(raw: bytes, *, html: bool) -> str | None:
    """Find the label of the encoding that a file declares near its beginning; None if it declares none.

    Args:
        raw: The file, or its beginning.
        html: Whether it is HTML. Else an editor's mark in the first two lines counts: "-*- coding: euc-jp -*-".

    Source: the HTML standard, section 13.2.3.2; PEP 263 for editors' marks.
    """
    head = raw[:_LOOKED_AT]
    if html:
        found = _DECLARED_HTML.search(_COMMENT.sub(b"", head))
        return None if found is None else (found[1] or found[2]).decode("ascii", "replace")
    found = _DECLARED_TEXT.search(b"\n".join(head.split(b"\n")[:2]))
    return None if found is None else found[1].decode("ascii", "replace")


def is_wide(encoding: str) -> bool:
    """Tell whether each character has two bytes or more: a byte 10 is no line end then."""
    return encoding.startswith(("utf-16", "utf-32"))


def is_escaped(encoding: str) -> bool:
    """Tell whether all characters are written with ASCII's bytes, so that a text in it may pass for UTF-8."""
    return encoding.startswith(("iso2022", "hz", "utf-7"))


def is_double_byte(encoding: str) -> bool:
    """Tell whether letters of Chinese, Japanese or Korean have two bytes or more beyond ASCII."""
    return encoding.startswith(("cp932", "cp949", "cp950", "shift_jis", "euc_", "gb", "big5", "johab"))


def shown(encoding: str) -> str:
    """Give the name that people know an encoding by: "Shift-JIS" for cp932, "Windows-1252" for cp1252."""
    if encoding in _SHOWN:
        return _SHOWN[encoding]
    if encoding.startswith("cp125"):
        return f"Windows-{encoding[2:]}"
    name = encoding.upper().replace("_", "-")
    return re.sub(r"^ISO8859", "ISO-8859", re.sub(r"^ISO2022", "ISO-2022", name))


def told(encodings: Mapping[str, str], misdeclared: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Say which files were read as what, for people: "2 files were read as Shift-JIS: a.txt, b.txt".

    Args:
        encodings: Path -> Python's name of the encoding, for files that aren't UTF-8.
        misdeclared: (path, what it declares) of files that aren't in the encoding that they declare.
    """
    files: dict[str, list[str]] = {}
    for path, encoding in encodings.items():
        files.setdefault(shown(encoding), []).append(path)
    for name, paths in files.items():
        counted = "1 file was" if len(paths) == 1 else f"{len(paths):,} files were"
        more = f" and {len(paths) - _NAMED_FILES:,} more" if len(paths) > _NAMED_FILES else ""
        yield f"{counted} read as {name}: {', '.join(map(one_line, paths[:_NAMED_FILES]))}{more}"
    for path, declaration in misdeclared:
        yield f"{one_line(path)} {one_line(declaration)}, but was read as {shown(encodings.get(path, 'utf-8'))}"
