"""Where the files of a corpus are: below a folder of this machine, or below a URL of object storage."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from late_rerank.bulk.splits import File
from late_rerank.corpus.folders import is_read
from late_rerank.corpus.ranges import FileRanges, Ranges
from late_rerank.errors import StoreConnectionError
from late_rerank.stores.remote.address import folder_of, read_address
from late_rerank.stores.remote.failures import GoneError
from late_rerank.stores.remote.found import Found
from late_rerank.stores.remote.objects import Objects

_REMOTE = re.compile(r"(s3|gs|az)://")
_CHANGED = "has changed since the job was planned"


def is_remote(source: str) -> bool:
    """Tell whether a corpus is in object storage."""
    return _REMOTE.match(source) is not None


def as_place(source: str | os.PathLike[str]) -> str:
    """Give a place as it is read: the path that a "file://" URL names, and any other place as it is.

    Raises:
        ValueError: If such a URL names no folder or file, or has options.
    """
    place = os.fspath(source)
    if is_remote(place) or not place.startswith("file://"):
        return place
    if "?" in place:
        raise ValueError(f"{place} is a file's URL with a '?': percent-encode it as %3F, or give the path itself")
    return str(folder_of(read_address(place).url))


def remote_parts(source: str, kinds: frozenset[str]) -> tuple[str, str | None]:
    """Split the URL of a corpus into that of a folder, and the name or pattern of files in it.

    Args:
        source: "s3://bucket/folder", "s3://bucket/folder/corpus.jsonl" or "s3://bucket/folder/*.jsonl".
        kinds: File endings that are read.

    Returns:
        The folder's URL; and the name or pattern, None for all of the folder.
    """
    scheme, _, rest = source.partition("://")
    fixed = re.split(r"[*?\[]", rest, maxsplit=1)[0]
    if fixed != rest:
        folder = fixed.rpartition("/")[0]
        return f"{scheme}://{folder}", rest[len(folder) + 1 :]
    folder, _, name = rest.rstrip("/").rpartition("/")
    if folder and is_read(name, kinds):
        return f"{scheme}://{folder}", name
    return f"{scheme}://{rest.rstrip('/')}", None


class Near(NamedTuple):
    """Files on this machine.

    Attributes:
        root: The folder above them.
        paths: The path of each, with the name to tell it by.
        skipped: (name, reason) of those that aren't as they were when the job was planned: the receipt would tell of others.
    """

    root: Path
    paths: Mapping[Path, str]
    skipped: list[tuple[str, str]]


class LocalFiles:
    """Files below a folder that every worker sees.

    Args:
        root: The folder.
    """

    def __init__(self, root: str) -> None:
        self._root = Path(root)

    def ranges(self, file: File) -> Ranges:
        """Open a file to read ranges of it.

        Raises:
            FileNotFoundError: If it isn't there: workers on other machines need the folder too.
            OSError: If it isn't as it was when the job was planned.
        """
        path = self._root / file.name
        if not os.path.lexists(path):
            raise FileNotFoundError(f"{path} isn't there; is the folder on all machines of the cluster?")
        self.check(file)
        return FileRanges(path)

    def check(self, file: File) -> None:
        """Look whether a file still is as it was.

        Raises:
            OSError: If it isn't.
        """
        if local_file(self._root / file.name, self._root) != file:
            raise OSError(f"{self._root / file.name} {_CHANGED}; start it again")

    def near(self, files: tuple[File, ...], scratch: Path) -> Near:  # noqa: ARG002 - as RemoteFiles
        """Give the paths of files on this machine.

        Raises:
            FileNotFoundError: If the folder isn't there.
        """
        if not self._root.is_dir():
            raise FileNotFoundError(f"{self._root} isn't there; is the folder on all machines of the cluster?")
        paths: dict[Path, str] = {}
        skipped: list[tuple[str, str]] = []
        for file in files:
            path = self._root / file.name
            if local_file(path, self._root) == file:
                paths[path] = str(path)
            else:
                skipped.append((str(path), _CHANGED))
        return Near(self._root, paths, skipped)


class RemoteFiles:
    """Files below a URL of object storage.

    Args:
        root: The URL.
    """

    def __init__(self, root: str) -> None:
        self._root = root
        self._objects = Objects.at(root)

    def files(self) -> list[File]:
        """List all files, in the order of their names."""
        return [_file(found) for found in sorted(self._objects.list(""), key=lambda each: each.name.split("/"))]

    def file(self, name: str) -> File | None:
        """Look at one file; None if it isn't there."""
        found = self._objects.look(name)
        return None if found is None else _file(found)

    def ranges(self, file: File) -> Ranges:
        """Open a file to read ranges of it.

        Raises:
            OSError: If it isn't as it was when the job was planned.
        """
        self.check(file)
        return _ObjectRanges(self._objects, file)

    def check(self, file: File) -> None:
        """Look whether a file still is as it was.

        Raises:
            OSError: If it isn't.
        """
        if self.file(file.name) != file:
            raise OSError(f"{self._root}/{file.name} {_CHANGED}; start it again")

    def near(self, files: tuple[File, ...], scratch: Path) -> Near:
        """Bring files to this machine. Their names there are numbers: an object's name may lead out of any folder.

        Raises:
            StoreConnectionError: If one can't be read.
        """
        paths: dict[Path, str] = {}
        skipped: list[tuple[str, str]] = []
        for number, file in enumerate(files):
            read = self._objects.read(file.name)
            if read is None or _file(read[0]) != file:
                skipped.append((f"{self._root}/{file.name}", _CHANGED))
                continue
            path = scratch / f"{number:06}{Path(file.name).suffix}"
            path.write_bytes(read[1])
            paths[path] = f"{self._root}/{file.name}"
        return Near(scratch, paths, skipped)


def places_of(root: str) -> LocalFiles | RemoteFiles:
    """Give the files below a corpus' folder, on this machine or in object storage."""
    return RemoteFiles(root) if is_remote(root) else LocalFiles(root)


def local_file(path: Path, root: Path) -> File:
    """Give a file as it is now. One that can't be looked at, such as a broken link, is empty: the worker tells it."""
    name = path.relative_to(root).as_posix()
    try:
        status = path.stat()
    except OSError:
        return File(name, 0, "")
    return File(name, status.st_size, str(status.st_mtime_ns))


def _file(found: Found) -> File:
    # An answer's header knows whole seconds, and a listing may know more.
    return File(found.name, found.size, f"{int(found.modified.timestamp())} {found.etag}")


class _ObjectRanges:
    """The ranges of an object."""

    def __init__(self, objects: Objects, file: File) -> None:
        self._objects, self._name = objects, file.name
        self.size_bytes = file.size_bytes

    def read(self, start: int, end: int) -> bytes:
        if start >= end:
            return b""
        try:
            return bytes(self._objects.ranges(self._name, [start], [end])[0])
        except GoneError as error:
            raise StoreConnectionError(str(error)) from error
