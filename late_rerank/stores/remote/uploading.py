"""A published folder -> objects named by their content, and the runs that name them."""

from __future__ import annotations

import os
from collections.abc import Collection
from hashlib import blake2b
from pathlib import Path

from late_rerank.errors import StoreFormatError
from late_rerank.observing.progress import progress_bar
from late_rerank.stores.disk import format_file
from late_rerank.stores.disk.segment import path_of
from late_rerank.stores.folders import folder_at
from late_rerank.stores.remote.keys_files import blocks_of
from late_rerank.stores.remote.manifest import newest
from late_rerank.stores.remote.objects import Objects
from late_rerank.stores.remote.runs import Run

DIGEST_BYTES = 16
_CHUNK_BYTES = 2**20


def upload(
    objects: Objects, published_folder: str | os.PathLike[str], *, lost: Collection[str] = (), progress: bool = False
) -> list[Run]:
    """Send a published store's files. Objects of the newest manifest aren't sent again. Commit the runs to make them count.

    Args:
        objects: Where to.
        published_folder: What `DiskStore.publish` wrote.
        lost: Objects to be sent again whatever the manifest says.
        progress: Show a bar on stderr, if stderr is a terminal.

    Returns:
        A run for each space that has documents.

    Raises:
        FileNotFoundError: If there is no store.
        StoreFormatError: If the folder is no published store, or is damaged.
        StoreConnectionError: If the service can't be reached, or refuses.
    """
    folder = folder_at(published_folder)
    if format_file.read_format(folder)["format"] != format_file.PUBLISHED:
        raise StoreFormatError(f"{folder} is a store that is written to; publish it first")
    sent = _Sending(objects, folder, lost, progress=progress)
    runs = [sent.space(path) for path in sorted((folder / "keys").glob("*.keys"))]
    sent.bar.close()
    return [run for run in runs if run.n_documents]


class _Sending:
    def __init__(self, objects: Objects, folder: Path, lost: Collection[str], *, progress: bool) -> None:
        self._objects, self._folder = objects, folder
        # What is there, but in no manifest, could be cleaned away before the commit. Sent again, it is new.
        self._named = newest(objects).objects() - set(lost)
        total = sum(path.stat().st_size for path in (folder / "segments").glob("*.seg"))
        self.bar = progress_bar(total=total, unit="B", unit_scale=True, desc="Uploading", progress=progress)

    def space(self, path: Path) -> Run:
        """Send a space's segments, then its keys."""
        with blocks_of(path) as (file, header, numbers):
            segments, size = {}, 0
            for number in numbers:
                segment = path_of(self._folder, number)
                segments[number] = self._send(segment, "segments", "seg")
                size += segment.stat().st_size
                self.bar.update(segment.stat().st_size)
            name = self._send(file, "keys", "keys")
        return Run(header.space, header.n_keys, name, segments, size + header.size_bytes, header.size_bytes)

    def _send(self, path: Path, folder: str, ending: str) -> str:
        name = object_name(folder, digest_of(path), ending)
        if name not in self._named:
            self._objects.put(name, path)
            self._named.add(name)
        return name


def object_name(folder: str, digest: str, ending: str) -> str:
    """Name an object by its content. The digest's first byte makes 256 prefixes, over which a service spreads its load."""
    return f"{folder}/{digest[:2]}/{digest}.{ending}"


def digest_of(path: Path) -> str:
    """Compute the digest by which an object is named."""
    digest = blake2b(digest_size=DIGEST_BYTES)
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
