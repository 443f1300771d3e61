"""A path -> documents: text files are split into pieces that know their place, JSON Lines are taken as they are."""

from __future__ import annotations

import codecs
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from late_rerank.corpus.html import visible_text
from late_rerank.corpus.json_lines import parse_json_lines
from late_rerank.corpus.split import split
from late_rerank.types import Candidate

TEXT_SUFFIXES = frozenset({".txt", ".md", ".rst", ".html", ".htm"})
JSON_LINES_SUFFIXES = frozenset({".jsonl", ".ndjson"})


@dataclass(frozen=True)
class Corpus:
    """Documents, and the files that gave none.

    Attributes:
        documents: In the order of the files' paths, then of their place in the file.
        skipped: (path, reason) of each file that could not be read as text.
    """

    documents: list[Candidate]
    skipped: list[tuple[str, str]]


class CorpusStream:
    """Documents, read as they are asked for: of a folder one file is in memory, of JSON Lines one line.

    Iterating again starts anew. Two iterations at a time would mix up what they count.

    Args:
        path: A folder of txt, md, rst and html files (sub-folders too; hidden ones not), one such file, a JSON Lines
            file (`_id` or `id`, `title`, `text`), or a BEIR folder (one that holds corpus.jsonl).

    Attributes:
        skipped: (path, reason) of each file that could not be read as text, as far as the iteration has come.
        n_bytes_read: What files the iteration has read take, of `size_bytes`.

    Raises:
        FileNotFoundError: There is nothing at `path`.
        ValueError: It is of no kind that can be read.
    """

    def __init__(self, path: str | Path) -> None:
        root = Path(path)
        if not root.exists():
            raise FileNotFoundError(f"{root} does not exist")
        if root.is_dir() and (root / "corpus.jsonl").is_file():
            root /= "corpus.jsonl"
        known = TEXT_SUFFIXES | JSON_LINES_SUFFIXES
        if not root.is_dir() and root.suffix.lower() not in known:
            raise ValueError(
                f"{root} is no kind of file that can be read; expected a folder or one of {', '.join(sorted(known))}"
            )
        self._root = root
        self.skipped: list[tuple[str, str]] = []
        self.n_bytes_read = 0

    def __iter__(self) -> Iterator[Candidate]:
        """Documents in the order of the files' paths, then of their place in the file.

        Raises:
            ValueError: A line of JSON Lines is damaged; names it.
        """
        self.skipped.clear()
        self.n_bytes_read = 0
        if not self._root.is_dir() and self._root.suffix.lower() in JSON_LINES_SUFFIXES:
            return self._json_lines()
        return self._text()

    @cached_property
    def size_bytes(self) -> int:
        """What all files take together. Asks the file system for each, and reads none."""
        return sum(_size_bytes(file) for file in self._files([]))

    def _json_lines(self) -> Iterator[Candidate]:
        with self._root.open("rb") as lines:
            yield from parse_json_lines(self._counted(lines), str(self._root))

    def _counted(self, lines: Iterable[bytes]) -> Iterator[bytes]:
        for line in lines:
            self.n_bytes_read += len(line)
            yield line

    def _text(self) -> Iterator[Candidate]:
        folder = self._root if self._root.is_dir() else self._root.parent
        for file in self._files(self.skipped):
            name = file.relative_to(folder).as_posix()
            try:
                pieces = list(_pieces(read_text(file), name, html=file.suffix.lower() in (".html", ".htm")))
            except (OSError, ValueError) as error:
                self.skipped.append((str(file), str(error)))
                pieces = []
            self.n_bytes_read += _size_bytes(file)
            yield from pieces

    def _files(self, closed: list[tuple[str, str]]) -> Iterator[Path]:
        return _text_files(self._root, closed) if self._root.is_dir() else iter([self._root])


def read_corpus(path: str | Path) -> Corpus:
    """Read documents from where a user keeps them, all at once; CorpusStream gives the same one by one.

    Args:
        path: As CorpusStream takes it.

    Returns:
        Pieces of about 200 words and punctuation marks of text files, with `path`, `start` and `end` (character offsets
        in the file) in their metadata and `path#start` as id; lines of JSON Lines whole.

    Raises:
        FileNotFoundError: There is nothing at `path`.
        ValueError: It is of no kind that can be read, or a line of JSON Lines is damaged; names it.
    """
    stream = CorpusStream(path)
    return Corpus(list(stream), stream.skipped)


def _text_files(root: Path, closed: list[tuple[str, str]]) -> Iterator[Path]:
    """Files below `root` in the order of their paths; folders that can't be entered go to `closed`."""
    for folder, folders, files in os.walk(root, onerror=lambda error: closed.append((error.filename, str(error.strerror)))):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            file = Path(folder, name)
            if not name.startswith(".") and file.suffix.lower() in TEXT_SUFFIXES:
                yield file


def _size_bytes(file: Path) -> int:
    """0 for what isn't there: a broken link, or a file that was deleted meanwhile."""
    try:
        return file.stat().st_size
    except OSError:
        return 0


def read_text(file: Path) -> str:
    """A file's text, if it is UTF-8, or UTF-16 with a byte order mark. Line ends stay as they are, so offsets hold.

    Raises:
        OSError: It can't be read.
        ValueError: It is binary, or in another encoding.
    """
    if not file.is_file():
        raise ValueError("not a regular file")
    raw = file.read_bytes()
    if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return raw.decode("utf-16")
    if b"\x00" in raw[:8192]:
        raise ValueError("binary, not text")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8 at byte {error.start}; convert it to UTF-8") from error


def _pieces(text: str, name: str, *, html: bool) -> Iterator[Candidate]:
    for piece, start, end in split(visible_text(text) if html else text):
        # Markup was blanked in place, so that offsets are the file's; the gaps that it left are closed here.
        shown = "\n".join(" ".join(line.split()) for line in piece.splitlines() if line.strip()) if html else piece
        yield Candidate(shown, f"{name}#{start}", None, {"path": name, "start": start, "end": end})
