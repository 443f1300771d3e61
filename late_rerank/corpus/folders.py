"""Which kinds of file are read; a folder -> the files of these kinds in it, and those that were passed over."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from late_rerank.errors import is_installed

MARKDOWN = frozenset({".md", ".markdown", ".mdown", ".mkd", ".mdx"})
HTML = frozenset({".html", ".htm", ".xhtml"})
TEXT_SUFFIXES = frozenset({".txt", ".text", ".rst", ".adoc", ".asciidoc"}) | MARKDOWN | HTML
NOTEBOOKS = frozenset({".ipynb"})
PDF = frozenset({".pdf"})
IMAGES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp", ".gif"})
JSON_LINES_SUFFIXES = frozenset({".jsonl", ".ndjson"})
PARQUET = frozenset({".parquet"})
# A project's own documentation mostly has no ending.
_WITHOUT_ENDING = frozenset({"readme", "install", "faq", "news", "changes", "changelog", "history", "contributing"})


def kinds_read(*, images: bool) -> frozenset[str]:
    """Give the endings of files that are read in a folder: PDF files only where pypdfium2 is installed."""
    pdf = PDF if is_installed("pypdfium2") else frozenset[str]()
    return TEXT_SUFFIXES | NOTEBOOKS | pdf | (IMAGES if images else frozenset())


def is_read(name: str, kinds: frozenset[str]) -> bool:
    """Tell by its name whether a file is of one of these kinds, or a text file without ending."""
    suffix = os.path.splitext(name)[1].lower()  # noqa: PTH122 - a name, ten times faster than a Path
    return suffix in kinds or (not suffix and name.lower() in _WITHOUT_ENDING)


class FolderFiles:
    """The files of some kinds below a folder, in the order of their paths, without hidden files and folders.

    Links are followed, but each folder and file is read once: if it lies in the folder itself, then there.

    Args:
        root: The folder.
        kinds: File endings, as `kinds_read` gives them.

    Attributes:
        closed: (path, reason) of each folder so far that can't be entered.
        passed_over: File ending ("" for none) -> how many files with it are of no such kind, so far.
        json_lines: The first file of JSON Lines that was passed over.
    """

    def __init__(self, root: Path, kinds: frozenset[str]) -> None:
        self._root = root
        self._kinds = kinds
        self._root_real = os.path.realpath(root)
        self._seen: set[str] = set()
        self.closed: list[tuple[str, str]] = []
        self.passed_over: Counter[str] = Counter()
        self.json_lines: str | None = None

    def __iter__(self) -> Iterator[Path]:
        pending = [(str(self._root), False)]
        while pending:
            folder, linked = pending.pop()
            folders = []
            for entry in self._entries(folder):
                if _is_folder(entry):
                    folders.append(entry)
                elif not is_read(entry.name, self._kinds):
                    self._pass_over(entry)
                elif self._is_read_here(entry, linked=linked):
                    yield Path(entry.path)
            # The first folder on top of the stack: files come in the order of their paths.
            to_read = [entry for entry in folders if self._is_read_here(entry, linked=linked)]
            pending += [(entry.path, linked or entry.is_symlink()) for entry in reversed(to_read)]

    def _entries(self, folder: str) -> list[os.DirEntry[str]]:
        try:
            with os.scandir(folder) as entries:
                return sorted((entry for entry in entries if not entry.name.startswith(".")), key=lambda entry: entry.name)
        except OSError as error:
            self.closed.append((folder, str(error.strerror)))
            return []

    def _pass_over(self, entry: os.DirEntry[str]) -> None:
        suffix = os.path.splitext(entry.name)[1].lower()  # noqa: PTH122 - ten times faster than a Path
        self.passed_over[suffix] += 1
        if suffix in JSON_LINES_SUFFIXES and self.json_lines is None:
            self.json_lines = entry.path

    def _is_read_here(self, entry: os.DirEntry[str], *, linked: bool) -> bool:
        """Tell whether an entry is read where it stands. A link isn't if its target is read elsewhere, or was read.

        Args:
            entry: A file or a folder.
            linked: Whether a link led to the entry.
        """
        if not linked and not entry.is_symlink():
            return True
        real = os.path.realpath(entry.path)
        if self._root_real == real or self._root_real.startswith(real.rstrip(os.sep) + os.sep):
            self.closed.append((entry.path, "a link to the folder that it is in"))
            return False
        if real in self._seen or self._is_in_place(real):
            return False
        self._seen.add(real)
        return True

    def _is_in_place(self, real: str) -> bool:
        """Tell whether a file or folder lies below the root itself, so that it will be read there."""
        # By os.path, since Path.exists raises where a folder above can't be entered.
        if not real.startswith(self._root_real.rstrip(os.sep) + os.sep) or not os.path.exists(real):  # noqa: PTH110 - above
            return False
        parts = Path(real).relative_to(self._root_real).parts
        is_folder = os.path.isdir(real)  # noqa: PTH112 - as above
        return not any(part.startswith(".") for part in parts) and (is_folder or is_read(parts[-1], self._kinds))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False
