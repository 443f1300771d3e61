"""A path -> documents: text files and pages are split into pieces with their places, JSON Lines are taken as they are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from late_rerank.corpus.decoding import Decoded, decode
from late_rerank.corpus.folders import (
    HTML,
    IMAGES,
    JSON_LINES_SUFFIXES,
    PARQUET,
    PDF,
    FolderFiles,
    is_read,
    kinds_read,
)
from late_rerank.corpus.images import read_image
from late_rerank.corpus.json_lines import parse_json_lines
from late_rerank.corpus.labels import python_name
from late_rerank.corpus.lines import TextLines, lines_of
from late_rerank.corpus.pages import PdfDocuments
from late_rerank.corpus.parquet import ParquetRows
from late_rerank.corpus.pieces import BLOCK_CHARACTERS, documents_of
from late_rerank.corpus.ranges import FileRanges
from late_rerank.pictures.pdfium import check_pdfium
from late_rerank.types import Candidate


@dataclass(frozen=True)
class Corpus:
    """Documents, and the files that gave none.

    Attributes:
        documents: In the order of the files' paths, then of their place in the file.
        skipped: (path, reason) of each file that could not be read. A PDF file has one for all its scans and one for all its
            damaged pages; its other pages were read. JSON Lines have one for each line whose image can't be read ("line 2:
            ..."), and a TIFF file has one if it has further frames.
        passed_over: File ending ("" for none) -> how many files with it are of a kind that isn't read.
        json_lines: One of these files that is JSON Lines, if there is one. Such a file is read if it is given as the path.
        encodings: Path of each text file that isn't UTF-8 -> Python's name of the encoding that it was decoded by.
        misdeclared: (path, what it declares) of each file that was decoded by another encoding than it declares.
    """

    documents: list[Candidate]
    skipped: list[tuple[str, str]]
    passed_over: Mapping[str, int] = field(default_factory=dict)
    json_lines: str | None = None
    encodings: Mapping[str, str] = field(default_factory=dict)
    misdeclared: Sequence[tuple[str, str]] = ()


class CorpusStream:
    """Documents, read one by one: at most one file of a folder is in memory, one page of a PDF file, or one line of JSON Lines.

    Each iteration starts anew. Two iterations at a time would mix up their counts.

    Args:
        path: A folder of txt, md, rst, adoc, html, pdf and ipynb files (sub-folders and links too, each file once; hidden ones
            not), one such file, a JSON Lines file (`_id` or `id`, `title`, `text`), a Parquet file with columns of these names,
            or a BEIR folder (one that holds corpus.jsonl). Parquet needs the extra `parquet`. PDF files need the extra `pdf`;
            without it those of a folder are passed over.
        images: Whether the model sees images. Then each page of a PDF file is one document with its picture, and so is each
            image file; image files are decoded now, and damaged ones skipped. A line of JSON Lines may name an image, and the
            page if it is a PDF file: `image`, `page`. It may name any file that this process can read. A line whose image can't
            be read is kept by its text; without one it is skipped.
        only: Files below the folder `path`: these are read, in this order, and the folder isn't searched. None reads all.
        encoding: The encoding of text files that have no byte order mark and aren't UTF-8: a name as "cp1252", "shift_jis" or
            "gb18030". None finds it out for each file, by what it declares and by its letters. Where it stays uncertain, the
            file is skipped.

    Attributes:
        skipped: (path, reason) of each file so far that could not be read, wholly or in part.
        passed_over: File ending ("" for none) -> how many files with it are of a kind that isn't read, so far.
        json_lines: The first of these files that is JSON Lines.
        encodings: As in Corpus, so far.
        misdeclared: As in Corpus, so far.
        n_bytes_read: Bytes of the files read so far, out of `size_bytes`. A PDF file counts by its pages.

    Raises:
        FileNotFoundError: If there is nothing at `path`.
        ValueError: If the file is of no kind that can be read, or there is no such encoding.
        MissingDependencyError: If the file is a PDF file, and pypdfium2 isn't installed.
    """

    def __init__(
        self, path: str | Path, *, images: bool = False, only: Sequence[Path] | None = None, encoding: str | None = None
    ) -> None:
        root = Path(path)
        if not root.exists():
            raise FileNotFoundError(f"{root} does not exist")
        if only is None and root.is_dir() and (root / "corpus.jsonl").is_file():
            root /= "corpus.jsonl"
        self._kinds = kinds_read(images=images)
        if not root.is_dir():
            check_kind(root, self._kinds | JSON_LINES_SUFFIXES | PARQUET)
        self._root = root
        self._images = images
        self._only = only
        self._encoding = None if encoding is None else python_name(encoding)
        self._folder = FolderFiles(root, self._kinds)
        self.skipped: list[tuple[str, str]] = []
        self.encodings: dict[str, str] = {}
        self.misdeclared: list[tuple[str, str]] = []
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
            ValueError: If a line of JSON Lines or a row of Parquet is damaged; names it. A line with a damaged image is in
                `skipped`.
        """
        self._folder = FolderFiles(self._root, self._kinds)
        self.skipped = self._folder.closed
        self.encodings, self.misdeclared = {}, []
        self.n_bytes_read = 0
        if not self._root.is_dir() and self._root.suffix.lower() in JSON_LINES_SUFFIXES:
            return self._json_lines()
        if not self._root.is_dir() and self._root.suffix.lower() in PARQUET:
            return self._rows()
        return self._documents()

    @cached_property
    def size_bytes(self) -> int:
        """The bytes of all files together. The file system is asked for each file's size; no file is read."""
        return sum(_size_bytes(file) for file in self._files(FolderFiles(self._root, self._kinds)))

    def _json_lines(self) -> Iterator[Candidate]:
        with self._root.open("rb") as file:
            images_in = self._root.parent if self._images else None
            lines = TextLines(self._counted(lines_of(file, str(self._root))), self._encoding)
            try:
                yield from parse_json_lines(lines, str(self._root), images_in=images_in, tell=self._skip)
            finally:
                self._keep_encoding(self._root, lines.encoding)

    def _rows(self) -> Iterator[Candidate]:
        rows = ParquetRows(FileRanges(self._root), str(self._root))
        for number, group_bytes in enumerate(rows.group_bytes):
            yield from rows.documents([number])
            self.n_bytes_read += group_bytes
        self.n_bytes_read = self.size_bytes

    def _skip(self, reason: str) -> None:
        self.skipped.append((str(self._root), reason))

    def _counted(self, lines: Iterable[bytes]) -> Iterator[bytes]:
        for line in lines:
            self.n_bytes_read += len(line)
            yield line

    def _documents(self) -> Iterator[Candidate]:
        folder = self._root if self._root.is_dir() else self._root.parent
        for file in self._files(self._folder):
            name = file.relative_to(folder).as_posix()
            n_before = self.n_bytes_read
            try:
                yield from self._pages(file, name) if file.suffix.lower() in PDF else self._whole(file, name)
            except (OSError, ValueError) as error:
                self.skipped.append((str(file), str(error).removeprefix(f"{file} is ")))
            self.n_bytes_read = n_before + _size_bytes(file)

    def _pages(self, file: Path, name: str) -> Iterator[Candidate]:
        n_before, size_bytes = self.n_bytes_read, _size_bytes(file)
        pages = PdfDocuments(file, name, images=self._images)
        for document in pages:
            self.n_bytes_read = n_before + int(pages.share_read * size_bytes)
            yield document
        self.skipped += [(str(file), reason) for reason in pages.skipped]

    def _whole(self, file: Path, name: str) -> Iterator[Candidate]:
        suffix = file.suffix.lower()
        if suffix in IMAGES:
            picture, left_out = read_image(file)
            documents = [Candidate("", name, None, {"path": name}, picture)]
            self.skipped += [] if left_out is None else [(str(file), left_out)]
        else:
            read = read_text(file, self._encoding)
            self._keep_encoding(file, read.encoding)
            if read.told is not None:
                self.misdeclared.append((str(file), read.told))
            if len(read.text) > BLOCK_CHARACTERS:
                yield from self._counted_by_place(documents_of(read, name, suffix), _size_bytes(file) / len(read.text))
                return
            documents = list(documents_of(read, name, suffix))
        self.n_bytes_read += _size_bytes(file)
        yield from documents

    def _counted_by_place(self, documents: Iterable[Candidate], character_bytes: float) -> Iterator[Candidate]:
        n_before = self.n_bytes_read
        for document in documents:
            self.n_bytes_read = n_before + int(document.metadata.get("end", 0) * character_bytes)
            yield document

    def _keep_encoding(self, file: Path, encoding: str) -> None:
        if encoding not in ("utf-8", "utf-8-sig"):
            self.encodings[str(file)] = encoding

    def _files(self, folder: FolderFiles) -> Iterator[Path]:
        if self._only is not None:
            return iter(self._only)
        return iter(folder) if self._root.is_dir() else iter([self._root])


def read_corpus(path: str | Path, *, images: bool = False, encoding: str | None = None) -> Corpus:
    """Read all documents of a path; CorpusStream gives the same documents one by one.

    Args:
        path: As CorpusStream takes it.
        images: As CorpusStream takes it.
        encoding: As CorpusStream takes it.

    Returns:
        Pieces of about 200 words and punctuation marks of text files, with `path`, `start` and `end` (character offsets
        in the file) in their metadata and `path#start` as id; with `encoding` too if the file isn't plain UTF-8. Lines of
        JSON Lines whole. Data URIs and other encoded bytes are
        left out of pieces. Pieces of a PDF file have `page` (from 1) too, those of a notebook `cell`; their offsets count the
        characters of the page's text (`late_rerank.pictures.PdfPage.text`) or of the cell.

    Raises:
        FileNotFoundError: If there is nothing at `path`.
        ValueError: If the file is of no kind that can be read, or a line of JSON Lines is damaged; names it.
        MissingDependencyError: If the file is a PDF file, and pypdfium2 isn't installed.
    """
    stream = CorpusStream(path, images=images, encoding=encoding)
    documents = list(stream)
    return Corpus(
        documents, stream.skipped, stream.passed_over, stream.json_lines, dict(stream.encodings), tuple(stream.misdeclared)
    )


def _size_bytes(file: Path) -> int:
    """Give a file's size; 0 for a broken link, or a file that was deleted meanwhile."""
    try:
        return file.stat().st_size
    except OSError:
        return 0


def read_text(file: Path, encoding: str | None = None) -> Decoded:
    """Read a file's text. Line ends stay as they are, so offsets hold.

    Args:
        file: The file.
        encoding: As `decode` takes it.

    Raises:
        OSError: If the file can't be read.
        ValueError: If it is binary, in an uncertain encoding, or no regular file: reading a pipe would wait for its writer.
    """
    if not file.is_file():
        raise ValueError("not a regular file")
    return decode(file.read_bytes(), encoding=encoding, html=file.suffix.lower() in HTML)


def check_kind(file: Path, kinds: frozenset[str]) -> None:
    """Refuse a file of a kind that isn't read. The file itself isn't looked at.

    Raises:
        ValueError: If it is of no such kind.
        MissingDependencyError: If it is a PDF file, and pypdfium2 isn't installed.
    """
    suffix = file.suffix.lower()
    if is_read(file.name, kinds):
        return
    if suffix in PDF:
        check_pdfium()
    if suffix in IMAGES:
        raise ValueError(f"{file} is an image: only a model that sees images reads it")
    raise ValueError(f"{file} is no kind of file that can be read; expected a folder or one of {', '.join(sorted(kinds))}")
