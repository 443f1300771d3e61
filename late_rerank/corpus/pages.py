"""A PDF file -> its pages as documents: pieces of their text, or each page as a picture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

import regex

from late_rerank.corpus.blobs import blobs
from late_rerank.corpus.split import split
from late_rerank.pictures import PdfPage, open_pdf
from late_rerank.types import Candidate

# A line of a page ends where the paper does, so a text isn't cut before a small letter. Scripts without small letters (Chinese,
# Thai, Arabic, Hindi): not behind a line of twenty characters without a stop. Headings are shorter.
_WITHIN_A_SENTENCE = regex.compile(
    r"(?<=[\p{L}\d,;)])\n(?=[\p{Ll}(])|(?m)(?<=^[^\n]{20,400}[\p{Lo}\p{M}\p{Nd},;\u060c\u061b\u3001\uff0c\uff1b])\n(?=\p{Lo})"
)
# Of more pages only so many spans are named.
_NAMED = 6


class PdfDocuments:
    """The documents of a PDF file, read page by page: one page is in memory at a time.

    Args:
        file: The file.
        name: Its name in metadata and ids.
        images: Whether each page is one document with a picture; else its text is split, and pages without text are skipped.

    Attributes:
        share_read: How much of the file is read so far, from 0 to 1.
        skipped: Why pages so far were skipped, in words. Complete when all documents are read.
    """

    def __init__(self, file: Path, name: str, *, images: bool) -> None:
        self._file = file
        self._name = name
        self._images = images
        self.share_read = 0.0
        self.skipped: list[str] = []

    def __iter__(self) -> Iterator[Candidate]:
        """Give the documents, page after page.

        Raises:
            ValueError: If the file is encrypted or damaged as a whole. A damaged page is skipped.
            OSError: If it can't be read.
        """
        damaged, without_text = [], []
        with open_pdf(self._file) as pdf:
            for number in range(1, pdf.n_pages + 1):
                self.share_read = number / pdf.n_pages
                try:
                    text = pdf.text(number)
                    is_lacking = not self._images and not text and not pdf.is_empty(number)
                except ValueError:
                    damaged.append(number)
                    continue
                if is_lacking:
                    without_text.append(number)
                yield from [self._picture(text, number)] if self._images else self._pieces(text, number)
        if damaged:
            self.skipped.append(f"{_counted(damaged, pdf.n_pages, 'is', 'are')} damaged")
        if without_text:
            said = _counted(without_text, pdf.n_pages, "has", "have")
            self.skipped.append(f"{said} no text, as scans have none: only a model that sees images reads them")

    def _picture(self, text: str, number: int) -> Candidate:
        metadata = {"path": self._name, "page": number}
        return Candidate(text, f"{self._name}#page={number}", None, metadata, PdfPage(self._file, number))

    def _pieces(self, text: str, number: int) -> Iterator[Candidate]:
        """Split a page's text; a browser opens a PDF file at the page that the id names."""
        name = f"{self._name}#page={number}"
        seen = _WITHIN_A_SENTENCE.sub(" ", text)
        for i, (piece, start, end) in enumerate(split(seen, left_out=blobs(text))):
            whole = text[start:end] if len(piece) == end - start else piece
            metadata = {"path": self._name, "page": number, "start": start, "end": end}
            yield Candidate(whole, f"{name}&start={start}" if i else name, None, metadata)


def _counted(pages: Sequence[int], n_pages: int, is_one: str, are_several: str) -> str:
    """Name pages, with the verb: "page 3 has", "5 of 12 pages (3, 6 to 9) have", "all 12 pages have"."""
    if len(pages) == 1:
        return f"page {pages[0]} {is_one}"
    if len(pages) == n_pages:
        return f"all {n_pages:,} pages {are_several}"
    return f"{len(pages):,} of {n_pages:,} pages ({_spans(pages)}) {are_several}"


def _spans(pages: Sequence[int]) -> str:
    """Write rising numbers briefly: "3, 6 to 9"."""
    runs = [[page for _, page in run] for _, run in groupby(enumerate(pages), lambda each: each[1] - each[0])]
    said = [f"{run[0]}" if len(run) == 1 else f"{run[0]} to {run[-1]}" for run in runs[:_NAMED]]
    return ", ".join([*said, "..."] if len(runs) > _NAMED else said)
