"""A file's text -> its pieces as documents, each with its place; a long text block by block."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from late_rerank.corpus.blobs import blobs
from late_rerank.corpus.decoding import Decoded
from late_rerank.corpus.folders import HTML, NOTEBOOKS
from late_rerank.corpus.html import visible_text
from late_rerank.corpus.notebooks import cell_documents
from late_rerank.corpus.split import split
from late_rerank.text.words import character_ends
from late_rerank.types import Candidate

BLOCK_CHARACTERS = 2**21
"""A longer text is split in parts, which bounds memory: the splitter takes up to 60 bytes for each character."""
# Where a part may end, the best place first.
_ENDS = ("\n\n", "\n", ". ", "。", " ", "、")
_CHARACTER = 64  # code points: no character that a reader sees is longer
_FLAG_A, _FLAG_Z = "\U0001f1e6", "\U0001f1ff"


def documents_of(read: Decoded, name: str, suffix: str) -> Iterator[Candidate]:
    """Give the documents of a text file.

    Args:
        read: The file.
        name: Its name in metadata and ids.
        suffix: The ending of its name, in small letters.

    Raises:
        ValueError: If it is no notebook, though its name says so.
    """
    documents = cell_documents(read.text, name) if suffix in NOTEBOOKS else _pieces(read.text, name, html=suffix in HTML)
    if read.encoding == "utf-8":
        return documents
    # Who reads the file again needs it: offsets count the characters of the decoded text.
    return (replace(each, metadata={**each.metadata, "encoding": read.encoding}) for each in documents)


def _pieces(text: str, name: str, *, html: bool) -> Iterator[Candidate]:
    seen = visible_text(text) if html else text
    for before, block in _blocks(seen):
        for piece, start, end in split(block, left_out=blobs(block)):
            # Markup was blanked in place, so that offsets point into the file; the gaps in the text are closed here.
            closed = "\n".join(" ".join(line.split()) for line in piece.splitlines() if line.strip()) if html else piece
            place = {"path": name, "start": before + start, "end": before + end}
            yield Candidate(closed, f"{name}#{before + start}", None, place)


def _blocks(text: str) -> Iterator[tuple[int, str]]:
    """Cut a long text at paragraphs, lines, sentences or words, and else between two characters that a reader sees.

    Yields:
        Each part, and how many characters come before it.
    """
    start = 0
    while len(text) - start > BLOCK_CHARACTERS:
        stop = _end_of_block(text, start)
        yield start, text[start:stop]
        start = stop
    yield start, text[start:] if start else text


def _end_of_block(text: str, start: int) -> int:
    latest = start + BLOCK_CHARACTERS
    found = ((text.rfind(end, start + BLOCK_CHARACTERS // 2, latest), len(end)) for end in _ENDS)
    stop = next((at + length for at, length in found if at >= 0), latest)
    if text[stop - 1 : stop + 1].isascii():
        return stop
    near = max(stop - _CHARACTER, start)
    while near > start and _FLAG_A <= text[near - 1] <= _FLAG_Z:  # which two make a flag is known from the row's first on
        near -= 1
    return next(near + end for end in character_ends(text[near : stop + _CHARACTER]) if near + end >= stop)
