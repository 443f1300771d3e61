"""The labels of a PDF file's pages, which viewers show instead of numbers: "iv", "A-3"."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

from late_rerank.pictures.image import file_digest
from late_rerank.pictures.pdfium import TURN, load

# Digest of a file -> its labels; of the files that were asked for last.
_LABELS: dict[bytes, tuple[str, ...]] = {}
_MOST_FILES = 256


def page_labels(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """Read the labels of a file's pages, in order. A page without one has its number. The file is opened once while it stays.

    Raises:
        ValueError: If the file is encrypted or damaged.
        OSError: If it can't be read.
        MissingDependencyError: If pypdfium2 isn't installed.
    """
    file = Path(path)
    digest = file_digest(file)
    found = _LABELS.get(digest)
    if found is None:
        with TURN:
            document = load(file, str(file))
            try:
                found = tuple(document.get_page_label(i) or str(i + 1) for i in range(len(document)))
            finally:
                document.close()
        while len(_LABELS) >= _MOST_FILES:
            _LABELS.pop(next(iter(_LABELS)), None)
        _LABELS[digest] = found
    return found


def number_of_label(path: str | os.PathLike[str], label: str) -> int:
    """Find the page that has a label.

    A label is no number: in a book whose preface has pages i to viii, the page "1" is the ninth.

    Returns:
        The page's number, from 1.

    Raises:
        ValueError: If no page has it, or several do. Also if the file is encrypted or damaged.
        OSError: If the file can't be read.
        MissingDependencyError: If pypdfium2 isn't installed.
    """
    labels = page_labels(path)
    times = Counter(labels)[label]
    if times != 1:
        count = "no page" if not times else f"{times} pages"
        raise ValueError(f"{os.fspath(path)} has {count} with the label {label!r:.60}: give the page's number, from 1, instead")
    return labels.index(label) + 1
