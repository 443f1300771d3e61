"""A path -> documents: text files are split into pieces that know their place, JSON Lines are taken as they are."""

from __future__ import annotations

import codecs
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from late_rerank.corpus.html import visible_text
from late_rerank.corpus.json_lines import read_json_lines
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


def read_corpus(path: str | Path) -> Corpus:
    """Read documents from where a user keeps them.

    Args:
        path: A folder of txt, md, rst and html files (sub-folders too; hidden ones not), one such file, a JSON Lines
            file (`_id` or `id`, `title`, `text`), or a BEIR folder (one that holds corpus.jsonl).

    Returns:
        Pieces of about 200 words and punctuation marks of text files, with `path`, `start` and `end` (character offsets
        in the file) in their metadata and `path#start` as id; lines of JSON Lines whole.

    Raises:
        FileNotFoundError: There is nothing at `path`.
        ValueError: It is of no kind that can be read, or a line of JSON Lines is damaged; names it.
    """
    root = Path(path)
    if not root.exists():
        raise FileNotFoundError(f"{root} does not exist")
    if root.is_dir():
        if (root / "corpus.jsonl").is_file():
            return Corpus(read_json_lines(root / "corpus.jsonl"), [])
        closed: list[tuple[str, str]] = []
        corpus = _read_files(list(_text_files(root, closed)), root)
        return Corpus(corpus.documents, closed + corpus.skipped)
    if root.suffix.lower() in JSON_LINES_SUFFIXES:
        return Corpus(read_json_lines(root), [])
    if root.suffix.lower() in TEXT_SUFFIXES:
        return _read_files([root], root.parent)
    known = ", ".join(sorted(TEXT_SUFFIXES | JSON_LINES_SUFFIXES))
    raise ValueError(f"{root} is no kind of file that can be read; expected a folder or one of {known}")


def _read_files(files: list[Path], root: Path) -> Corpus:
    documents: list[Candidate] = []
    skipped: list[tuple[str, str]] = []
    for file in files:
        name = file.relative_to(root).as_posix()
        try:
            documents.extend(_pieces(read_text(file), name, html=file.suffix.lower() in (".html", ".htm")))
        except (OSError, ValueError) as error:
            skipped.append((str(file), str(error)))
    return Corpus(documents, skipped)


def _text_files(root: Path, closed: list[tuple[str, str]]) -> Iterator[Path]:
    """Files below `root` in the order of their paths; folders that can't be entered go to `closed`."""
    for folder, folders, files in os.walk(root, onerror=lambda error: closed.append((error.filename, str(error.strerror)))):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            file = Path(folder, name)
            if not name.startswith(".") and file.suffix.lower() in TEXT_SUFFIXES:
                yield file


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
