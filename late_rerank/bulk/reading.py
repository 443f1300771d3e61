"""A split -> its documents, as a `CorpusStream` over the whole corpus would give them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path

from late_rerank.bulk.places import places_of
from late_rerank.bulk.splits import Split
from late_rerank.corpus import CorpusStream, parse_json_lines
from late_rerank.corpus.lines import TextLines
from late_rerank.corpus.parquet import ParquetRows
from late_rerank.corpus.ranges import count_lines, lines_between
from late_rerank.types import Candidate


class SplitDocuments:
    """The documents of a split, one by one.

    Args:
        split: The split.
        images: Whether the model sees images.
        scratch: A folder for files of object storage.
        encoding: As CorpusStream takes it.

    Attributes:
        skipped: (path, reason) of each file so far that could not be read, wholly or in part.
        encodings: As in CorpusStream, so far.
        misdeclared: As in CorpusStream, so far.
    """

    def __init__(self, split: Split, scratch: Path, *, images: bool, encoding: str | None = None) -> None:
        self._split = split
        self._scratch = scratch
        self._images = images
        self._encoding = encoding
        self._path = f"{split.root.rstrip('/')}/{split.files[0].name}"
        self.skipped: list[tuple[str, str]] = []
        self.encodings: dict[str, str] = {}
        self.misdeclared: list[tuple[str, str]] = []

    def __iter__(self) -> Iterator[Candidate]:
        """Give the documents, in order.

        Raises:
            ValueError: If a line or a row is damaged; names it.
            OSError: If a file of lines or rows can't be read, or has changed since the job was planned.
        """
        return {"lines": self._lines, "rows": self._rows, "files": self._files}[self._split.kind]()

    def _lines(self) -> Iterator[Candidate]:
        split = self._split
        places = places_of(split.root)
        ranges = places.ranges(split.files[0])
        is_part = split.end - split.start < ranges.size_bytes
        lines = TextLines(lines_between(ranges, split.start, split.end), self._encoding, is_part=is_part)
        yield from parse_json_lines(
            lines,
            self._path,
            images_in=Path(split.root) if self._images else None,
            tell=lambda reason: self.skipped.append((self._path, reason)),
            lines_before=cache(partial(count_lines, ranges, split.start)),
        )
        places.check(split.files[0])  # it was read for minutes
        if lines.encoding not in ("utf-8", "utf-8-sig"):
            self.encodings[self._path] = lines.encoding

    def _rows(self) -> Iterator[Candidate]:
        places = places_of(self._split.root)
        ranges = places.ranges(self._split.files[0])
        yield from ParquetRows(ranges, self._path).documents(range(self._split.start, self._split.end))
        places.check(self._split.files[0])

    def _files(self) -> Iterator[Candidate]:
        near = places_of(self._split.root).near(self._split.files, self._scratch)
        self.skipped += near.skipped
        stream = CorpusStream(near.root, images=self._images, only=list(near.paths), encoding=self._encoding)
        try:
            yield from stream
        finally:
            named = {str(path): name for path, name in near.paths.items()}
            self.skipped += [(named.get(path, path), reason) for path, reason in stream.skipped]
            self.encodings |= {named.get(path, path): encoding for path, encoding in stream.encodings.items()}
            self.misdeclared += [(named.get(path, path), declaration) for path, declaration in stream.misdeclared]
