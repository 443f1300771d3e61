"""Where the files of a corpus are: below a folder of this machine, or below a URL of object storage."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from late_rerank.bulk.splits import File
from late_rerank.corpus.folders import is_read
from late_rerank.corpus.ranges import FileRanges, Ranges
from late_rerank.errors import StoreConnectionError
from late_rerank.stores.remote.failures import GoneError
from late_rerank.stores.remote.objects import Objects

_REMOTE = re.compile(r"(s3|gs|az)://")


def is_remote(source: str) -> bool:
    """Tell whether a corpus is in object storage."""
    return _REMOTE.match(source) is not None


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
    """

    root: Path
    paths: Mapping[Path, str]


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
        try:
            status = path.stat()
        except FileNotFoundError:
            raise FileNotFoundError(f"{path} isn't there; is the folder on all machines of the cluster?") from None
        if (status.st_size, str(status.st_mtime_ns)) != (file.size_bytes, file.state):
            raise OSError(f"{path} has changed since the job was planned; start it again")
        return FileRanges(path)

    def near(self, files: tuple[File, ...], scratch: Path) -> Near:  # noqa: ARG002 - as RemoteFiles
        """Give the paths of files on this machine.

        Raises:
            FileNotFoundError: If the folder isn't there.
        """
        if not self._root.is_dir():
            raise FileNotFoundError(f"{self._root} isn't there; is the folder on all machines of the cluster?")
        return Near(self._root, {self._root / file.name: str(self._root / file.name) for file in files})


class RemoteFiles:
    """Files below a URL of object storage.

    Args:
        root: The URL.
    """

    def __init__(self, root: str) -> None:
        self._root = root
        self._objects = Objects.at(root)

    def files(self, pattern: str | None) -> Iterator[File]:
        """List files, in the order of their names.

        Args:
            pattern: A name, or a pattern of names; None for all.
        """
        for found in sorted(self._objects.list(""), key=lambda each: each.name.split("/")):
            if pattern is None or fnmatch.fnmatchcase(found.name, pattern):
                yield File(found.name, found.size, found.modified.isoformat())

    def ranges(self, file: File) -> Ranges:
        """Open a file to read ranges of it.

        Raises:
            OSError: If it isn't as it was when the job was planned.
        """
        found = self._objects.look(file.name)
        if found is None or found.size != file.size_bytes:
            raise OSError(f"{self._root}/{file.name} has changed since the job was planned; start it again")
        return _ObjectRanges(self._objects, file)

    def near(self, files: tuple[File, ...], scratch: Path) -> Near:
        """Bring files to this machine. Their names there are numbers: an object's name may lead out of any folder.

        Raises:
            StoreConnectionError: If one can't be read, or is gone.
        """
        paths: dict[Path, str] = {}
        for number, file in enumerate(files):
            path = scratch / f"{number:06}{Path(file.name).suffix}"
            raw = self._objects.get(file.name)
            if raw is None:
                raise StoreConnectionError(f"{self._root}/{file.name} is gone; start the job again")
            path.write_bytes(raw)
            paths[path] = f"{self._root}/{file.name}"
        return Near(scratch, paths)


def places_of(root: str) -> LocalFiles | RemoteFiles:
    """Give the files below a corpus' folder, on this machine or in object storage."""
    return RemoteFiles(root) if is_remote(root) else LocalFiles(root)


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
