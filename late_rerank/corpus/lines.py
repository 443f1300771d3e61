"""The lines of a file of lines as text, whatever their encoding."""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import chain
from typing import BinaryIO

from late_rerank.corpus.decoding import MARKS, decode
from late_rerank.corpus.labels import is_escaped, is_wide, shown

MOST_BYTES = 2**26
"""The longest line that is read: ten million words, more than any document has that somebody looks for."""
# Lines are gathered up to so many bytes where their encoding must be found out.
_GATHERED_BYTES = 2**16
# How JSON begins in encodings of several bytes a character.
_BEGINNINGS = (
    (b"{\0\0\0", "utf-32-le"),
    (b"\0\0\0{", "utf-32-be"),
    (b"{\0", "utf-16-le"),
    (b"\0{", "utf-16-be"),
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
        check_length(len(line), f"{source}, line {number}")
        yield line


def is_cut_by_bytes(first: bytes) -> bool:
    """Tell by its first bytes whether a file is UTF-16 or UTF-32: cut anywhere, its characters would be cut."""
    encoding = _marked(first)
    return encoding is not None and is_wide(encoding)


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

    Attributes:
        encoding: The encoding, as far as lines were read.
        uncertain: Why a line couldn't be decoded; None if all could.
    """

    def __init__(self, lines: Iterable[bytes], encoding: str | None = None) -> None:
        self._lines = lines
        self._given = encoding
        self.encoding = "utf-8"
        self.uncertain: str | None = None

    def __iter__(self) -> Iterator[str | bytes]:
        """Give the lines; those that can't be decoded as bytes."""
        lines = iter(self._lines)
        first = next(lines, b"")
        marked = _marked(first) or self._given
        if marked is not None and is_wide(marked):
            self.encoding = marked
            return _wide_lines(chain([first], lines), marked)
        if self._given is not None and is_escaped(self._given):
            return self._others(chain([first], lines), self._given)
        return self._each(chain([first.removeprefix(codecs.BOM_UTF8)], lines))

    def _each(self, lines: Iterator[bytes]) -> Iterator[str | bytes]:
        is_ascii = True
        for line in lines:
            try:
                text = line.decode("utf-8", "surrogatepass")
            except UnicodeDecodeError as error:
                if self._given is None and not is_ascii:
                    self.uncertain = f"not UTF-8 at byte {error.start}, unlike the lines before"
                    yield line
                    continue
                gathered = _gathered(line, lines)
                yield from self._others(chain(gathered, lines), self._found(gathered))
                return
            is_ascii = is_ascii and line.isascii()
            yield text

    def _found(self, lines: list[bytes]) -> str:
        if self._given is not None:
            return self._given
        try:
            return decode(b"".join(lines)).encoding
        except ValueError as error:
            self.uncertain = str(error)
            return "utf-8"

    def _others(self, lines: Iterator[bytes], encoding: str) -> Iterator[str | bytes]:
        self.encoding = encoding
        for line in lines:
            yield self._other(line)

    def _other(self, line: bytes) -> str | bytes:
        try:
            return line.decode(self.encoding)
        except UnicodeError:
            self.uncertain = self.uncertain or f"not {shown(self.encoding)}; convert the file to UTF-8, or name its encoding"
            return line


def _marked(first: bytes) -> str | None:
    """Give the encoding that a file's first line shows, if it is one of several bytes a character."""
    mark = next((name for mark, name in MARKS if first.startswith(mark)), None)
    return mark or next((name for beginning, name in _BEGINNINGS if first.startswith(beginning)), None)


def _wide_lines(lines: Iterator[bytes], encoding: str) -> Iterator[str | bytes]:
    """Decode lines that were cut within characters, and cut them anew."""
    decoder = codecs.getincrementaldecoder(encoding)()
    held: list[str] = []
    for line in lines:
        *whole, rest = decoder.decode(line).split("\n")
        for part in whole:
            yield "".join([*held, part, "\n"])
            held = []
        held.append(rest)
    yield "".join([*held, decoder.decode(b"", final=True)])


def _gathered(line: bytes, lines: Iterator[bytes]) -> list[bytes]:
    gathered, n_bytes = [line], len(line)
    while n_bytes < _GATHERED_BYTES and (following := next(lines, b"")):
        gathered.append(following)
        n_bytes += len(following)
    return gathered
