"""PDFium, one call at a time: the lock, opening files, and its errors as messages that say what to do."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from late_rerank.errors import check_installed
from late_rerank.pictures.image import check_regular

# FPDF_ERR_PASSWORD and FPDF_ERR_SECURITY
_LOCKED = (4, 5)
# A fork waits so long for another thread's call. Drawing a page takes 30 ms.
_LONGEST_CALL_S = 10.0


class _Turn:
    """PDFium is not thread-safe: one thread of a process is in it at a time, whatever file it reads.

    A fork copies the calling thread alone. A lock that another thread holds would stay locked in the child, and PDFium would be
    in mid-call there. So a fork waits for the call. `late_rerank.processes.forks` does the same, but lies on a floor above.
    """

    def __init__(self) -> None:
        # Entered twice where the garbage collector closes another file within a call.
        self._lock = threading.RLock()
        self._is_held = False

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def before_fork(self) -> None:
        self._is_held = self._lock.acquire(timeout=_LONGEST_CALL_S)

    def after_fork_in_parent(self) -> None:
        if self._is_held:
            self._lock.release()

    def after_fork_in_child(self) -> None:
        if self._is_held:
            self._lock.release()
        else:
            self._lock = threading.RLock()


TURN = _Turn()
# At import: a process may be forked between this and the first page.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=TURN.before_fork,
        after_in_parent=TURN.after_fork_in_parent,
        after_in_child=TURN.after_fork_in_child,
    )


def check_pdfium() -> None:
    """Check that PDF files can be read, without loading PDFium.

    Raises:
        MissingDependencyError: If pypdfium2 isn't installed.
    """
    check_installed("reading a PDF file", "pdf", "pypdfium2")


def load(source: Path | bytes, shown: str) -> Any:
    """Open a PDF file. The caller holds the turn, and closes it.

    Args:
        source: The file, or its bytes.
        shown: The file's name for messages.

    Raises:
        ValueError: If it is empty, damaged, or encrypted.
        OSError: If it can't be read.
        MissingDependencyError: If pypdfium2 isn't installed.
    """
    check_pdfium()
    import pypdfium2  # noqa: PLC0415 - 60 ms, and it starts the library

    _check_bytes(source, shown)
    try:
        # An absolute path, since pypdfium2 would take "~" for the home folder.
        document = pypdfium2.PdfDocument(source.absolute() if isinstance(source, Path) else source)
        if document.get_formtype():
            document.init_forms()  # else the values of a filled form are neither seen nor read
    except pypdfium2.PdfiumError as error:
        raise ValueError(_reason(error.err_code, shown)) from error
    return document


@contextmanager
def page_of(document: Any, number: int, shown: str) -> Iterator[Any]:
    """Load one page, and close it at the end. The caller holds the turn.

    Args:
        document: As `load` gave it.
        number: From 1.
        shown: The file's name for messages.

    Raises:
        ValueError: If there is no such page, or it is damaged.
    """
    import pypdfium2  # noqa: PLC0415 - loaded by now

    n_pages = len(document)
    if number > n_pages:
        pages = "1 page" if n_pages == 1 else f"{n_pages:,} pages"
        raise ValueError(f"{shown} has {pages}, so that there is no page {number}: pages are counted from 1")
    try:
        page = document[number - 1]
        try:
            if document.formenv is not None:
                page.flatten()
                page.close()
                page = document[number - 1]  # as the handle is of no use after it
            yield page
        finally:
            page.close()
    except pypdfium2.PdfiumError as error:
        raise ValueError(f"{shown}, page {number} is damaged: open the file in a viewer and save or print it anew") from error


def _check_bytes(source: Path | bytes, shown: str) -> None:
    """Refuse here where PDFium's message would mislead: a folder, a pipe, a file without bytes or rights."""
    if isinstance(source, Path):
        check_regular(source)
        with source.open("rb") as file:
            source = file.read(1)
    if not source:
        raise ValueError(f"{shown} is empty: it has 0 bytes")


def _reason(code: int | None, shown: str) -> str:
    if code in _LOCKED:
        return f"{shown} is encrypted: remove its password (qpdf --decrypt, or print it to a file), then read the copy"
    return f"{shown} is no whole PDF file: it is damaged or cut off, has no pages, or is of another kind. Get it anew"
