"""Text files of columns, as evaluation tools write them: lines, and the columns of a line."""

from __future__ import annotations

import csv
import gzip
import re
import zlib
from collections.abc import Container
from pathlib import Path

from late_rerank.corpus.decoding import decode

# Only ASCII's white space separates columns and lines, as in trec_eval. An id may hold a no-break space.
_WHITE_SPACE = " \t\n\r\v\f"
_WORDS = re.compile(f"[^{_WHITE_SPACE}]+")
_GZIP = b"\x1f\x8b"


def text_lines(path: Path, encoding: str | None = None) -> list[str]:
    """Read a file's lines, in the encoding that is named or `decode` finds; gzip is unpacked.

    Raises:
        ValueError: If the file is no text, its encoding is uncertain, or it is a damaged gzip file.
    """
    held = path.read_bytes()
    if held.startswith(_GZIP):
        try:
            held = gzip.decompress(held)
        except (OSError, EOFError, zlib.error) as error:
            raise ValueError(f"{path} is a damaged gzip file: {error}") from error
    try:
        text = decode(held, encoding=encoding).text
    except ValueError as error:
        raise ValueError(f"{path} is {error}") from error
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")


def by_tabs(line: str) -> list[str]:
    """Split a line at tabs; columns may hold spaces. Blank columns at its end are left out."""
    return [column.strip(_WHITE_SPACE) for column in line.rstrip(_WHITE_SPACE).split("\t")]


def by_white_space(line: str) -> list[str]:
    """Split a line at runs of ASCII's white space, as trec_eval does."""
    return _WORDS.findall(line)


def by_csv(line: str) -> list[str]:
    """Split a line at tabs by CSV's rules, as BEIR does where an id holds a quotation mark."""
    try:
        return next(csv.reader([line.rstrip(_WHITE_SPACE)], delimiter="\t"), [])
    except csv.Error:  # a column of more than 131,072 characters
        return by_tabs(line)


def with_space_in_document(line: str) -> list[str]:
    """Read the six columns of a run whose document ids hold spaces: the id stands between Q0 and the last three columns."""
    words = by_white_space(line)
    between = line.strip(_WHITE_SPACE).removeprefix(words[0]).lstrip(_WHITE_SPACE).removeprefix(words[1])
    for word in reversed(words[-3:]):
        between = between.rstrip(_WHITE_SPACE).removesuffix(word)
    return [*words[:2], between.strip(_WHITE_SPACE), *words[-3:]]


def is_comment(line: str, widths: Container[int]) -> bool:
    """Tell whether a line is blank or a comment: trec_eval ignores lines that begin with "#".

    A query's id may begin with "#" too. A line with the right number of columns is no comment, unless the "#" stands alone.
    """
    words = by_white_space(line)
    return not words or words[0] == "#" or (words[0].startswith("#") and len(words) not in widths)
