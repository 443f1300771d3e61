"""A corpus -> its splits. Only names and sizes are read, of Parquet the footers, and of JSON Lines the first bytes."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from late_rerank.bulk.patterns import has_magic, local_matches, matching_place, seen_from_folder
from late_rerank.bulk.places import RemoteFiles, as_place, is_remote, local_file, places_of, remote_parts
from late_rerank.bulk.splits import File, Split
from late_rerank.corpus.files import check_kind
from late_rerank.corpus.folders import JSON_LINES_SUFFIXES, PARQUET, FolderFiles, is_read, kinds_read
from late_rerank.corpus.lines import is_cut_by_bytes
from late_rerank.corpus.parquet import ParquetRows

Source = str | os.PathLike[str]

# So small that a killed worker loses minutes; so large that a split's own costs are little: 16 MiB of text have some 16,000
# documents, which take 7 minutes on a core, and 400 MB of int8 vectors.
_MOST_BYTES = 2**24
# A split's own costs are some 50 ms; 64 KiB of text take two seconds of a core.
_LEAST_BYTES = 2**16
# A corpus has about so many splits, so that many workers end at about the same time.
_SPLITS = 64
# Where UTF-16 shows.
_MARK_BYTES = 4
# Small files of one split: each has its own costs.
_FILES_A_SPLIT = 1000


@dataclass
class Plan:
    """The splits of a corpus.

    Attributes:
        splits: In the corpus' order.
        closed: (path, reason) of folders that can't be entered.
        passed_over: File ending -> how many files with it are of a kind that isn't read.
        json_lines: The first file of JSON Lines that was passed over.
    """

    splits: list[Split] = field(default_factory=list)
    closed: list[tuple[str, str]] = field(default_factory=list)
    passed_over: Mapping[str, int] = field(default_factory=dict)
    json_lines: str | None = None

    @property
    def size_bytes(self) -> int:
        """Bytes of the corpus, about."""
        return sum(split.size_bytes for split in self.splits)


def plan(source: Source | Sequence[Source], *, images: bool, split_bytes: int | None) -> Plan:
    """Cut a corpus into splits. The same corpus and `split_bytes` give the same splits, whatever engine and workers there are.

    Args:
        source: As `CorpusStream` takes it; or a URL of a folder or a file in object storage; or a pattern as "shards/*.jsonl",
            or "texts/**/*.md" for any depth; or several of these.
        images: Whether the model sees images.
        split_bytes: The size of a split, about. None for one that suits the corpus.

    Raises:
        FileNotFoundError: If there is nothing at a place.
        ValueError: If a file is of no kind that can be read.
        MissingDependencyError: If an optional package is needed for it, and isn't installed.
    """
    sources = [source] if isinstance(source, (str, os.PathLike)) else list(source)
    if not sources:
        raise ValueError("source must name a corpus, got none")
    parts = [part for i, each in enumerate(sources) for part in _parts(as_place(each), i, images=images)]
    size_bytes = sum(file.size_bytes for part in parts for file in part.files)
    most = split_bytes or min(_MOST_BYTES, max(_LEAST_BYTES, _power_of_two(size_bytes // _SPLITS)))
    planned = Plan()
    for part in parts:
        planned.splits += part.splits(most)
        planned.closed += part.closed
        planned.passed_over = {
            ending: planned.passed_over.get(ending, 0) + part.passed_over.get(ending, 0)
            for ending in {**planned.passed_over, **part.passed_over}
        }
        planned.json_lines = planned.json_lines or part.json_lines
    return planned


def check_there(sources: Sequence[str]) -> None:
    """Refuse places of this machine where nothing is, before a model is loaded. Object storage isn't asked.

    Raises:
        FileNotFoundError: If there is nothing at one of them.
    """
    for source in sources:
        if not is_remote(source) and not os.path.exists(source) and not (has_magic(source) and local_matches(source)):  # noqa: PTH110
            raise FileNotFoundError(f"{source} does not exist")


@dataclass
class _Part:
    """Files of one place: a file of lines or rows, or files that are read whole."""

    name: str
    root: str
    files: list[File]
    closed: Sequence[tuple[str, str]] = ()
    passed_over: Mapping[str, int] = field(default_factory=dict)
    json_lines: str | None = None

    def splits(self, most_bytes: int) -> Iterator[Split]:
        suffix = Path(self.files[0].name).suffix.lower() if len(self.files) == 1 else ""
        if suffix in JSON_LINES_SUFFIXES:
            size_bytes = self.files[0].size_bytes
            if is_cut_by_bytes(places_of(self.root).ranges(self.files[0]).read(0, min(size_bytes, _MARK_BYTES))):
                most_bytes = max(size_bytes, 1)
            for start in range(0, size_bytes, most_bytes):
                end = min(start + most_bytes, size_bytes)
                yield Split("lines", self.name, self.root, (self.files[0],), start, end, end - start)
        elif suffix in PARQUET:
            yield from self._row_groups(most_bytes)
        else:
            for files in _batches(self.files, most_bytes):
                yield Split("files", self.name, self.root, tuple(files), 0, 0, sum(file.size_bytes for file in files))

    def _row_groups(self, most_bytes: int) -> Iterator[Split]:
        file = self.files[0]
        sizes = ParquetRows(places_of(self.root).ranges(file), _path(self.root, file.name)).group_bytes
        start = held = 0
        for number, size_bytes in enumerate(sizes):
            held += size_bytes
            if held >= most_bytes or number == len(sizes) - 1:
                yield Split("rows", self.name, self.root, (file,), start, number + 1, held)
                start, held = number + 1, 0


def _parts(source: str, position: int, *, images: bool) -> Iterator[_Part]:
    """Give the parts of one given place.

    Args:
        source: The place.
        position: Which of the given places it is.
        images: Whether the model sees images.
    """
    if is_remote(source):
        yield from _remote_parts(source, position, images=images)
        return
    if not os.path.lexists(source) and has_magic(source):
        found = local_matches(source)
        if not found:
            raise FileNotFoundError(f"no file matches {source}")
        for each in found:
            yield _local_part(Path(each), f"{position}/{seen_from_folder(each, source)}", images=images)
        return
    yield _local_part(Path(source), str(position), images=images)


def _local_part(path: Path, name: str, *, images: bool) -> _Part:
    """Read what is at a path, as `CorpusStream` would."""
    root = path.absolute()
    if not root.exists():
        raise FileNotFoundError(f"{path} does not exist")
    if root.is_dir() and (root / "corpus.jsonl").is_file():
        root /= "corpus.jsonl"
    kinds = kinds_read(images=images)
    if not root.is_dir():
        check_kind(root, kinds | JSON_LINES_SUFFIXES | PARQUET)
        return _Part(name, str(root.parent), [local_file(root, root.parent)])
    folder = FolderFiles(root, kinds)
    files = [local_file(file, root) for file in folder]
    return _Part(name, str(root), files, folder.closed, folder.passed_over, folder.json_lines)


def _remote_parts(source: str, position: int, *, images: bool) -> Iterator[_Part]:
    kinds = kinds_read(images=images)
    root, name = remote_parts(source, kinds | JSON_LINES_SUFFIXES | PARQUET)
    matching = _matching(RemoteFiles(root), name)
    if not matching:
        raise FileNotFoundError(f"there is nothing at {source}")
    for place, files in matching.items():
        beir = next((file for file in files if file.name == f"{place}/corpus.jsonl".lstrip("/")), None)
        if beir is not None or files[0].name == place:
            yield _remote_file(root, beir or files[0], position, images=images)
        else:
            yield _remote_folder(root, place, files, position, kinds)


def _matching(places: RemoteFiles, name: str | None) -> Mapping[str, list[File]]:
    """Give the files of each place that a name or pattern stands for, under the file's or folder's name."""
    if name is None:
        files = places.files()
        return {"": files} if files else {}
    if not has_magic(name):
        file = places.file(name)
        return {} if file is None else {name: [file]}
    found: dict[str, list[File]] = {}
    for each in places.files():
        place = matching_place(each.name, name)
        if place is not None:
            found.setdefault(place, []).append(each)
    return found


def _remote_file(root: str, file: File, position: int, *, images: bool) -> _Part:
    check_kind(Path(file.name), kinds_read(images=images) | JSON_LINES_SUFFIXES | PARQUET)
    if images and Path(file.name).suffix.lower() in JSON_LINES_SUFFIXES:
        raise ValueError(
            f"{root}/{file.name}: a model of page images reads JSON Lines from a folder, since their images are files: "
            "mount the bucket, or give the images as files"
        )
    return _Part(str(position), root, [file])


def _remote_folder(root: str, place: str, files: Sequence[File], position: int, kinds: frozenset[str]) -> _Part:
    """Choose what is read of a folder in object storage, as `FolderFiles` chooses of a local one."""
    shown = [file for file in files if not any(part.startswith(".") for part in file.name[len(place) :].split("/"))]
    part = _Part(str(position), root, [file for file in shown if is_read(file.name.rpartition("/")[2], kinds)])
    passed_over: dict[str, int] = {}
    for file in shown:
        name = file.name.rpartition("/")[2]
        suffix = Path(name).suffix.lower()
        if not is_read(name, kinds):
            passed_over[suffix] = passed_over.get(suffix, 0) + 1
            if suffix in JSON_LINES_SUFFIXES:
                part.json_lines = part.json_lines or f"{root}/{file.name}"
    part.passed_over = passed_over
    return part


def _batches(files: Iterable[File], most_bytes: int) -> Iterator[list[File]]:
    batch: list[File] = []
    n_bytes = 0
    for file in files:
        if batch and (n_bytes + file.size_bytes > most_bytes or len(batch) == _FILES_A_SPLIT):
            yield batch
            batch, n_bytes = [], 0
        batch.append(file)
        n_bytes += file.size_bytes
    if batch:
        yield batch


def _path(root: str, name: str) -> str:
    return f"{root.rstrip('/')}/{name}"


def _power_of_two(n: int) -> int:
    """Give the least power of two that is at least `n`: a corpus that grew a little keeps its splits."""
    return 1 << max(0, n - 1).bit_length()
