"""A path -> documents: text files are split into pieces with their places, JSON Lines are taken as they are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from late_rerank.corpus.blobs import blobs
from late_rerank.corpus.decoding import decoded
from late_rerank.corpus.folders import HTML, JSON_LINES_SUFFIXES, TEXT_SUFFIXES, FolderFiles, is_text
from late_rerank.corpus.html import visible_text
from late_rerank.corpus.json_lines import parse_json_lines
from late_rerank.corpus.split import split
from late_rerank.types import Candidate


@dataclass(frozen=True)
class Corpus:
    """Documents, and the files that gave none.

    Attributes:
        documents: In the order of the files' paths, then of their place in the file.
        skipped: (path, reason) of each file that could not be read as text.
        passed_over: File ending ("" for none) -> how many files with it are no text, and were not read.
        json_lines: One of these files that is JSON Lines, if there is one. Such a file is read if it is given as the path.
    """

    documents: list[Candidate]
    skipped: list[tuple[str, str]]
    passed_over: Mapping[str, int] = field(default_factory=dict)
    json_lines: str | None = None


class CorpusStream:
    """Documents, read one by one: at most one file of a folder is in memory, or one line of JSON Lines.

    Each iteration starts anew. Two iterations at a time would mix up their counts.

    Args:
        path: A folder of txt, md, rst, adoc and html files (sub-folders and links too, each file once; hidden ones not), one
            such file, a JSON Lines file (`_id` or `id`, `title`, `text`), or a BEIR folder (one that holds corpus.jsonl).

    Attributes:
        skipped: (path, reason) of each file so far that could not be read as text.
        passed_over: File ending ("" for none) -> how many files with it are no text, so far.
        json_lines: The first of these files that is JSON Lines.
        n_bytes_read: Bytes of the files read so far, out of `size_bytes`.

    Raises:
        FileNotFoundError: If there is nothing at `path`.
        ValueError: If the file is of no kind that can be read.
    """

    def __init__(self, path: str | Path) -> None:
        root = Path(path)
        if not root.exists():
            raise FileNotFoundError(f"{root} does not exist")
        if root.is_dir() and (root / "corpus.jsonl").is_file():
            root /= "corpus.jsonl"
        known = TEXT_SUFFIXES | JSON_LINES_SUFFIXES
        if not root.is_dir() and root.suffix.lower() not in known and not is_text(root.name):
            raise ValueError(
                f"{root} is no kind of file that can be read; expected a folder or one of {', '.join(sorted(known))}"
            )
        self._root = root
        self._folder = FolderFiles(root)
        self.skipped: list[tuple[str, str]] = []
        self.n_bytes_read = 0

    @property
    def passed_over(self) -> Mapping[str, int]:
        return self._folder.passed_over

    @property
    def json_lines(self) -> str | None:
        return self._folder.json_lines

    def __iter__(self) -> Iterator[Candidate]:
        """Give documents in the order of the files' paths, then of their place in the file.

        Raises:
            ValueError: If a line of JSON Lines is damaged; names it.
        """
        self._folder = FolderFiles(self._root)
        self.skipped = self._folder.closed
        self.n_bytes_read = 0
        if not self._root.is_dir() and self._root.suffix.lower() in JSON_LINES_SUFFIXES:
            return self._json_lines()
        return self._text()

    @cached_property
    def size_bytes(self) -> int:
        """The bytes of all files together. The file system is asked for each file's size; no file is read."""
        return sum(_size_bytes(file) for file in self._files(FolderFiles(self._root)))

    def _json_lines(self) -> Iterator[Candidate]:
        with self._root.open("rb") as lines:
            yield from parse_json_lines(self._counted(lines), str(self._root))

    def _counted(self, lines: Iterable[bytes]) -> Iterator[bytes]:
        for line in lines:
            self.n_bytes_read += len(line)
            yield line

    def _text(self) -> Iterator[Candidate]:
        folder = self._root if self._root.is_dir() else self._root.parent
        for file in self._files(self._folder):
            name = file.relative_to(folder).as_posix()
            try:
                pieces = list(_pieces(read_text(file), name, html=file.suffix.lower() in HTML))
            except (OSError, ValueError) as error:
                self.skipped.append((str(file), str(error)))
                pieces = []
            self.n_bytes_read += _size_bytes(file)
            yield from pieces

    def _files(self, folder: FolderFiles) -> Iterator[Path]:
        return iter(folder) if self._root.is_dir() else iter([self._root])


def read_corpus(path: str | Path) -> Corpus:
    """Read all documents of a path; CorpusStream gives the same documents one by one.

    Args:
        path: As CorpusStream takes it.

    Returns:
        Pieces of about 200 words and punctuation marks of text files, with `path`, `start` and `end` (character offsets
        in the file) in their metadata and `path#start` as id; lines of JSON Lines whole. Data URIs and other encoded bytes are
        left out of pieces.

    Raises:
        FileNotFoundError: If there is nothing at `path`.
        ValueError: If the file is of no kind that can be read, or a line of JSON Lines is damaged; names it.
    """
    stream = CorpusStream(path)
    return Corpus(list(stream), stream.skipped, stream.passed_over, stream.json_lines)


def _size_bytes(file: Path) -> int:
    """Give a file's size; 0 for a broken link, or a file that was deleted meanwhile."""
    try:
        return file.stat().st_size
    except OSError:
        return 0


def read_text(file: Path) -> str:
    """Read a file's text: UTF-8, or UTF-16 with a byte order mark. Line ends stay as they are, so offsets hold.

    Raises:
        OSError: If the file can't be read.
        ValueError: If it is binary, in another encoding, or no regular file: reading a pipe would wait for its writer.
    """
    if not file.is_file():
        raise ValueError("not a regular file")
    return decoded(file.read_bytes())


def _pieces(text: str, name: str, *, html: bool) -> Iterator[Candidate]:
    seen = visible_text(text) if html else text
    for piece, start, end in split(seen, left_out=blobs(seen)):
        # Markup was blanked in place, so that offsets point into the file; the gaps in the text are closed here.
        closed = "\n".join(" ".join(line.split()) for line in piece.splitlines() if line.strip()) if html else piece
        yield Candidate(closed, f"{name}#{start}", None, {"path": name, "start": start, "end": end})
