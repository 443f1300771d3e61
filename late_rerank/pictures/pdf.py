"""Pages of PDF files: as pictures, as text, and as words with their places."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

from late_rerank.errors import check_installed
from late_rerank.pictures.base import Picture, names_url
from late_rerank.pictures.image import file_digest
from late_rerank.pictures.page_text import cleaned
from late_rerank.pictures.pdfium import TURN, load, page_of
from late_rerank.pictures.words import Word, words

PdfSource: TypeAlias = bytes | str | os.PathLike[str]
"""A PDF file's path, or its bytes."""

LONGEST = 2048
"""Pixels of a page's longer side: an A4 page at 175 dpi."""

# A page of 14,400 points, the largest that PDF allows, would take 2.7 GB at 150 dpi. 16 million pixels take 64 MB.
_MOST_PIXELS = 16_000_000
# Pixels a point, 72 of which are an inch: a stamp of 2 cm isn't drawn larger than 300 dpi.
_MOST_SCALE = 300 / 72
# A page of print has 5,000. A file of 9 kB can repeat a text to millions, which take seconds and 700 MB.
_MOST_CHARACTERS = 1_000_000
# PDFium keeps what it has read of a file, 11 kB a page of R's manual. 20 ms to open that file again bound it to 3 MB.
_OPEN_PAGES = 256


class PdfPage(Picture):
    """A page of a PDF file as a picture. It is drawn when it is encoded; its key needs no drawing.

    Args:
        source: The file, or its bytes.
        number: The page, from 1.
        longest: The pixels of its longer side when it is drawn. Smaller pages than a hand's are drawn at 300 dpi.

    Raises:
        TypeError: If `number` or `longest` is no whole number, or `source` is neither a path nor bytes.
        ValueError: If one is below 1, or there are no bytes.
    """

    def __init__(self, source: PdfSource, number: int, *, longest: int = LONGEST) -> None:
        _check_counts(number=number, longest=longest)
        self._source = _checked(source)
        self._number = number
        self._longest = longest
        self._digest: bytes | None = None

    @property
    def path(self) -> Path | None:
        """The file; None for one in memory."""
        return self._source if isinstance(self._source, Path) else None

    @property
    def number(self) -> int:
        """The page, from 1."""
        return self._number

    def identity(self) -> bytes:
        if isinstance(self._source, Path):
            digest = file_digest(self._source)
        else:
            digest = self._digest = self._digest or hashlib.blake2b(self._source, digest_size=32).digest()
        return b"pdf %d %d " % (self._number, self._longest) + digest

    def pixels(self) -> Any:
        with open_pdf(self._source) as pdf:
            return pdf.pixels(self._number, longest=self._longest)

    def text(self) -> str:
        """Read the page's text. For all pages of a file `open_pdf` is faster.

        Raises:
            ValueError: If the file is encrypted or damaged, or has no such page.
            OSError: If the file can't be read.
            MissingDependencyError: If pypdfium2 isn't installed.
        """
        with open_pdf(self._source) as pdf:
            return pdf.text(self._number)

    def words(self) -> list[Word]:
        """Find the page's words: each as it is printed, and its box in fractions of the page as it is shown.

        Raises:
            ValueError: If the file is encrypted or damaged, or has no such page.
            OSError: If the file can't be read.
            MissingDependencyError: If pypdfium2 isn't installed.
        """
        with open_pdf(self._source) as pdf:
            return pdf.words(self._number)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PdfPage) and self._parts == other._parts

    def __hash__(self) -> int:
        return hash(self._parts)

    @property
    def _parts(self) -> tuple[Path | bytes, int, int]:
        return self._source, self._number, self._longest

    def __repr__(self) -> str:
        return f"PdfPage({'bytes' if self.path is None else str(self.path)!r}, {self._number})"


class OpenPdf:
    """An open PDF file. `open_pdf` makes it. Threads may share it.

    Each page is closed after use, and the file is opened anew now and then, so that memory doesn't grow with its pages.

    Attributes:
        n_pages: How many pages it has.
    """

    def __init__(self, source: Path | bytes) -> None:
        self._source = source
        self._shown = str(source) if isinstance(source, Path) else "the PDF file"
        self._n_read = 0
        with TURN:
            self._document: Any = load(source, self._shown)
            self.n_pages: int = len(self._document)

    def text(self, number: int) -> str:
        """Read a page's text, cleaned: "" for a page without any, such as a scan.

        Args:
            number: The page, from 1.

        Raises:
            ValueError: If there is no such page, or it is damaged.
        """
        with self._page(number) as page:
            held = page.get_textpage()
            try:
                n_characters = held.count_chars()
                if n_characters > _MOST_CHARACTERS:
                    raise ValueError(
                        f"{self._shown}, page {number} has {n_characters:,} characters; at most {_MOST_CHARACTERS:,} are read"
                    )
                raw = held.get_text_range()
            finally:
                held.close()
        return cleaned(raw)

    def words(self, number: int) -> list[Word]:
        """Find a page's words: each as it is printed, and its box in fractions of the page as it is shown.

        Args:
            number: The page, from 1.

        Raises:
            ValueError: If there is no such page, or it is damaged.
        """
        with self._page(number) as page:
            return words(page)

    def is_empty(self, number: int) -> bool:
        """Tell whether nothing is drawn on a page. A scan has an image.

        Args:
            number: The page, from 1.

        Raises:
            ValueError: If there is no such page, or it is damaged.
        """
        with self._page(number) as page:
            return next(iter(page.get_objects(max_depth=1)), None) is None

    def pixels(self, number: int, *, longest: int = LONGEST) -> Any:
        """Draw a page as it is shown, on white: a Pillow image, mode "RGB".

        Args:
            number: The page, from 1.
            longest: The pixels of its longer side.

        Raises:
            ValueError: If there is no such page, or it is damaged.
            MissingDependencyError: If Pillow isn't installed.
        """
        check_installed("a picture of a page", "visual", "PIL")
        _check_counts(longest=longest)
        with self._page(number) as page:
            width, height = page.get_size()  # as shown: its rotation is applied
            bitmap = page.render(scale=_scale(width, height, longest), draw_annots=True, may_draw_forms=False)
            try:
                return bitmap.to_pil().convert("RGB")
            finally:
                bitmap.close()

    def close(self) -> None:
        """Close the file. No page can be read after that."""
        with TURN:
            if self._document is not None:
                self._document.close()
            self._document = None

    @contextmanager
    def _page(self, number: int) -> Iterator[Any]:
        """Load a page in this thread's turn. Nothing that isn't closed may leave the block: its end would take no turn."""
        _check_counts(number=number)
        with TURN:
            if self._document is None:
                raise ValueError(f"{self._shown} is closed")
            if self._n_read >= _OPEN_PAGES:
                self._document.close()
                self._document, self._n_read = None, 0
                self._document = load(self._source, self._shown)
            self._n_read += 1
            with page_of(self._document, number, self._shown) as page:
                yield page


@contextmanager
def open_pdf(source: PdfSource) -> Iterator[OpenPdf]:
    """Open a PDF file; close it at the end.

    Args:
        source: The file, or its bytes.

    Raises:
        ValueError: If it is empty, damaged or encrypted.
        TypeError: If it is neither a path nor bytes.
        OSError: If it can't be read.
        MissingDependencyError: If pypdfium2 isn't installed.
    """
    pdf = OpenPdf(_checked(source))
    try:
        yield pdf
    finally:
        pdf.close()


def _check_counts(**values: object) -> None:
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, int):
            raise TypeError(f"{name} must be a whole number, got {value!r:.60}")
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")


def _checked(source: PdfSource) -> Path | bytes:
    given: object = source
    if isinstance(given, (bytes, bytearray, memoryview)):
        if not len(given):
            raise ValueError("a PDF file must have bytes, got none")
        return bytes(given)
    if isinstance(given, str) and names_url(given):
        raise ValueError(f"a PDF file must be a path or bytes, not a URL: fetch {given:.60} and give its bytes")
    if isinstance(given, (str, os.PathLike)):
        return Path(given)
    raise TypeError(f"a PDF file must be a path or bytes, got {type(given).__name__}: {given!r:.60}")


def _scale(width: float, height: float, longest: int) -> float:
    """Give the pixels a point for a page's size in points."""
    # A billionth less: a side is rounded up, and 2,048.0000000000002 would be 2,049 pixels.
    width, height = max(width, 1.0), max(height, 1.0)
    fitting = (1 - 1e-9) * longest / max(width, height)
    return float(min(fitting, math.sqrt(_MOST_PIXELS / (width * height)), _MOST_SCALE))
