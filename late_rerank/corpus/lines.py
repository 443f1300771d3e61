"""The lines of a file of lines as text, whatever their encoding."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import partial
from itertools import chain
from pathlib import Path
from typing import BinaryIO

from late_rerank.corpus.decoding import MARKS, decode, escaped_text
from late_rerank.corpus.labels import is_double_byte, is_escaped, is_wide, shown

MOST_BYTES = 2**26
"""The longest line that is read: ten million words, more than any document has that somebody looks for."""
# Lines are gathered up to so many bytes where their encoding must be found out.
_GATHERED_BYTES = 2**16
# How JSON begins in encodings of several bytes a character.
_BEGINNINGS = (
    (re.compile(rb"[{ \t\r\n]\0\0\0"), "utf-32-le"),
    (re.compile(rb"\0\0\0[{ \t\r\n]"), "utf-32-be"),
    (re.compile(rb"[{ \t\r\n]\0"), "utf-16-le"),
    (re.compile(rb"\0[{ \t\r\n]"), "utf-16-be"),
)
_MARK_BYTES = 4
# Characters that no line in another encoding passes for.
_SEVERAL = 4
_KR_HEADER = b"\x1b$)C"
_IN_PARTS = (
    ", and of a file that is read in parts no encoding is found out: convert it to UTF-8, or name its encoding with --encoding "
    "(in Python: encoding=)"
)


def lines_of(file: BinaryIO, source: str) -> Iterator[bytes]:
    """Give a file's lines, each with its line end.

    Args:
        file: The file, open for reading.
        source: Names it in messages.

    Raises:
        ValueError: If a line is longer than MOST_BYTES.
    """
    for number, line in enumerate(iter(partial(file.readline, MOST_BYTES + 1), b""), start=1):
        if len(line) > MOST_BYTES:
            check_length(len(line), f"{source}, line {number}")
        yield line


def placed_lines(path: Path, encoding: str | None = None) -> Iterator[tuple[str, str]]:
    """Give the lines of a JSON Lines file, each with its place for messages: (place, line). Blank ones are left out.

    Args:
        path: The file.
        encoding: As TextLines takes it.

    Raises:
        ValueError: If a line can't be decoded, or is too long; names it.
    """
    with path.open("rb") as file:
        lines = TextLines(lines_of(file, str(path)), encoding)
        for number, line in enumerate(lines, start=1):
            place = f"{path}, line {number}"
            if isinstance(line, bytes):
                raise ValueError(f"{place} is {lines.uncertain}")
            if line.strip():
                yield place, line


def is_cut_by_bytes(first: bytes) -> bool:
    """Tell by its first bytes whether a file is UTF-16 or UTF-32: cut anywhere, its characters would be cut.

    JSON begins with ASCII, which has NUL bytes there and nowhere else.
    """
    encoding = _marked(first)
    return 0 < first.count(b"\0") < len(first) or (encoding is not None and is_wide(encoding))


def check_length(n_bytes: int, place: str) -> None:
    """Refuse a line that is too long to be read.

    Args:
        n_bytes: How many bytes of it there are, at least.
        place: Names it in the message.

    Raises:
        ValueError: If it is too long.
    """
    if n_bytes > MOST_BYTES:
        raise ValueError(
            f"{place} has more than {MOST_BYTES:,} bytes; expected a document on each line: cut it into several, or look at "
            "the line ends"
        )


class TextLines:
    """Lines of JSON as text.

    Args:
        lines: The lines as bytes, cut behind each byte 10.
        encoding: Python's name of the encoding of lines that aren't UTF-8. None finds it out.
        is_part: Whether the lines are a part of a file. Then no encoding is found out: another part might show another one.

    Attributes:
        encoding: The encoding, as far as lines were read.
        uncertain: Why a line couldn't be decoded; None if all could.
    """

    def __init__(self, lines: Iterable[bytes], encoding: str | None = None, *, is_part: bool = False) -> None:
        self._lines = lines
        self._given = None if encoding is None or is_wide(encoding) else encoding
        self._given_wide = encoding if encoding is not None and is_wide(encoding) else None
        self._is_part = is_part
        self.encoding = "utf-8"
        self.uncertain: str | None = None

    def __iter__(self) -> Iterator[str | bytes]:
        """Give the lines; one that can't be decoded as bytes."""
        lines = iter(self._lines)
        head = _gathered(lines, _MARK_BYTES)
        beginning = b"".join(head)
        wide = _marked(beginning) or (self._given_wide if b"\0" in beginning else None)
        if wide is not None and is_wide(wide):
            self.encoding = wide
            return self._wide(chain(head, lines), wide)
        if head:
            head[0] = head[0].removeprefix(codecs.BOM_UTF8)
        if self._given is not None:
            return (self._other(line, self._given) for line in chain(head, lines))
        return self._each(chain(head, lines))

    def _each(self, lines: Iterator[bytes]) -> Iterator[str | bytes]:
        is_ascii = True
        for line in lines:
            if b"\x1b" in line or b"\x0e" in line:  # which JSON doesn't hold
                yield self._iso_2022(line)
                continue
            try:
                text = line.decode("utf-8", "surrogatepass")
            except UnicodeDecodeError as error:
                if self._is_part or not is_ascii:
                    self._refuse(
                        f"not UTF-8 at byte {error.start}{_IN_PARTS if self._is_part else ', unlike the lines before'}"
                    )
                    yield line
                    continue
                gathered = [line, *_gathered(lines, _GATHERED_BYTES - len(line))]
                yield from self._found(gathered, lines)
                return
            is_ascii = is_ascii and line.isascii()
            yield text

    def _found(self, gathered: list[bytes], lines: Iterator[bytes]) -> Iterator[str | bytes]:
        """Decode lines by the encoding that the first of them show."""
        try:
            encoding = decode(b"".join(gathered)).encoding
        except ValueError as error:
            self._refuse(str(error))
            encoding = "utf-8"
        for line in chain(gathered, lines):
            if not line.isascii() and encoding != "utf-8" and _as_utf_8(line, encoding) is not None:
                self._refuse(f"UTF-8, but lines before are {shown(encoding)}; convert the file to UTF-8")
                yield line
            else:
                yield self._other(line, encoding)

    def _other(self, line: bytes, encoding: str) -> str | bytes:
        """Decode a line that may be UTF-8, or in an encoding. What it is doesn't depend on other lines."""
        text = _as_utf_8(line, encoding)
        if text is not None:
            return text
        try:
            text = line.decode(encoding) if not is_escaped(encoding) else _escaped(line, encoding)
        except UnicodeError:
            text = None
        if text is None:
            self._refuse(f"not {shown(encoding)}; convert the file to UTF-8, or name its encoding")
            return line
        self.encoding = encoding
        return text

    def _iso_2022(self, line: bytes) -> str | bytes:
        """Decode a line with an escape sequence."""
        try:
            encoding = "iso2022_kr" if self.encoding == "iso2022_kr" else decode(line).encoding
        except ValueError as error:
            self._refuse(str(error))
            return line
        if encoding != "utf-8" and self._is_part:
            self._refuse(f"not UTF-8{_IN_PARTS}")
            return line
        return self._other(line, encoding)

    def _wide(self, lines: Iterator[bytes], encoding: str) -> Iterator[str | bytes]:
        """Decode lines that were cut within characters, and cut them anew."""
        held: list[str] = []
        n_held = 0
        try:
            for text in _decoded_blocks(lines, encoding):
                *whole, rest = text.split("\n")
                for part in whole:
                    yield "".join([*held, part, "\n"])
                    held, n_held = [], 0
                held.append(rest)
                n_held += len(rest)
                if 2 * n_held > MOST_BYTES:
                    self._refuse(f"longer than {MOST_BYTES:,} bytes; expected a document on each line: cut it into several")
                    yield b""
                    return
        except UnicodeDecodeError:
            self._refuse(f"damaged: it is no {shown(encoding)}, as the file's beginning is; mend the line")
            yield b""
            return
        yield "".join(held)

    def _refuse(self, why: str) -> None:
        self.uncertain = self.uncertain or why


def _marked(beginning: bytes) -> str | None:
    """Give the encoding that a file's beginning shows, if it is one of several bytes a character."""
    mark = next((name for mark, name in MARKS if beginning.startswith(mark)), None)
    return mark or next((name for pattern, name in _BEGINNINGS if pattern.match(beginning)), None)


def _as_utf_8(line: bytes, encoding: str) -> str | None:
    """Decode a line as UTF-8; None if it isn't, or is rather in an encoding.

    Few letters of Chinese, Japanese or Korean in an old encoding may pass for two bytes of UTF-8 each. In encodings of one
    byte a letter none does.
    """
    if is_escaped(encoding) and (b"\x1b" in line or b"\x0e" in line or _escaped(line, encoding) is not None):
        return None
    try:
        text = line.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return None
    beyond = [each for each in text if each > "\x7f"]
    if 0 < len(beyond) < _SEVERAL and is_double_byte(encoding) and max(beyond) < "\u0800":
        with suppress(UnicodeDecodeError):
            line.decode(encoding)
            return None
    return text


def _escaped(line: bytes, encoding: str) -> str | None:
    header = _KR_HEADER if encoding == "iso2022_kr" and _KR_HEADER not in line else b""  # once a file
    return escaped_text(header + line, encoding) if b"\x0e" in line or not header else None


def _decoded_blocks(lines: Iterator[bytes], encoding: str) -> Iterator[str]:
    """Decode many lines at a time, since in some scripts each character has a byte 10. Text before damaged bytes is given."""
    decoder = codecs.getincrementaldecoder(encoding)()
    while batch := _gathered(lines, _GATHERED_BYTES):
        block, state = b"".join(batch), decoder.getstate()
        try:
            text = decoder.decode(block)
        except UnicodeDecodeError as error:
            decoder.setstate(state)
            yield decoder.decode(block[: max(error.start - len(state[0]), 0)])
            raise
        yield text
    yield decoder.decode(b"", final=True)


def _gathered(lines: Iterator[bytes], n_bytes: int) -> list[bytes]:
    """Take lines until they have so many bytes."""
    gathered = []
    while n_bytes > 0 and (line := next(lines, b"")):
        gathered.append(line)
        n_bytes -= len(line)
    return gathered
