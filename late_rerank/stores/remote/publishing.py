"""A folder's store -> a store in object storage, in one call."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from late_rerank.errors import StoreError
from late_rerank.stores.disk import DiskStore
from late_rerank.stores.disk.format_file import PUBLISHED, read_format
from late_rerank.stores.folders import folder_at
from late_rerank.stores.remote.committing import commit, prove
from late_rerank.stores.remote.manifest import newest
from late_rerank.stores.remote.objects import Objects
from late_rerank.stores.remote.presence import absent
from late_rerank.stores.remote.runs import ids_of
from late_rerank.stores.remote.uploading import upload
from late_rerank.stores.scratch import Scratch

# Each time that objects are lost somebody cleans at that moment, with hardly a grace time.
_TRIES = 5


@dataclass(frozen=True, slots=True)
class RemotePublishReport:
    """Counts of what was published.

    Attributes:
        n_documents: Documents of the runs.
        n_segments: Segments of the runs.
        size_bytes: Bytes of segments and keys. What was there already wasn't sent again.
        manifest: The number of the manifest that has the runs.
        n_known: Documents of runs that were committed before. They stay where they are: later runs may hide some.
    """

    n_documents: int
    n_segments: int
    size_bytes: int
    manifest: int
    n_known: int = 0


def publish(folder: str | os.PathLike[str], url: str, *, progress: bool = False) -> RemotePublishReport:
    """Send a store's documents to object storage, and commit them. Documents that the store there has already stay.

    A store that is written to is published beside itself first, which takes its room once more.

    Args:
        folder: A DiskStore's folder, or a published one.
        url: "s3://bucket/prefix", "gs://...", "az://..." or "file:///folder". A store is made there if there is none.
        progress: Show bars on stderr, if stderr is a terminal.

    Raises:
        FileNotFoundError: If the folder holds no store.
        StoreError: If the service ignores conditional puts, or another kind of store is at the URL.
        StoreConnectionError: If the service can't be reached, or refuses.
        OSError: If there is no room on the disk.
    """
    path = folder_at(folder).absolute()
    objects = Objects.at(url)
    prove(objects)  # before hours are spent
    if read_format(path)["format"] == PUBLISHED:
        return _send(objects, path, progress=progress)
    with _scratch(path) as scratch:
        published = scratch.path / "published"
        store = DiskStore(path)
        with store:
            store.publish(published, progress=progress)
        return _send(objects, published, progress=progress)


def _send(objects: Objects, published: Path, *, progress: bool) -> RemotePublishReport:
    runs = upload(objects, published, progress=progress)
    if not runs:
        raise StoreError("the store holds no document, so there is nothing to publish")
    names = {name for run in runs for name in run.objects()}
    _send_lost(objects, published, names)  # an upload may take longer than the grace time of who cleans
    known = ids_of(newest(objects).runs)
    number = commit(objects, runs)
    _send_lost(objects, published, names)
    return RemotePublishReport(
        n_documents=sum(run.n_documents for run in runs),
        n_segments=sum(len(run.segments) for run in runs),
        size_bytes=sum(run.size_bytes for run in runs),
        manifest=number,
        n_known=sum(run.n_documents for run in runs if run.id in known),
    )


def _send_lost(objects: Objects, published: Path, names: Collection[str]) -> None:
    """Send again what somebody cleaned away before the commit protected it.

    Raises:
        StoreError: If that happens again and again.
    """
    for _ in range(_TRIES):
        lost = absent(objects, names)
        if not lost:
            return
        upload(objects, published, lost=lost)
    raise StoreError(
        f"{objects.url}: objects are removed as soon as they are sent; let nobody clean with so short a grace time"
    )


def _scratch(path: Path) -> Scratch:
    """Make a folder on the store's own disk, where there is room; else in the system's for temporary files.

    It is as large as the store. So it mustn't stay if this process is killed: the next publishing removes it.
    """
    if os.access(path.parent, os.W_OK):
        return Scratch(path.parent, f".{path.name}-publishing-")
    return Scratch(Path(tempfile.gettempdir()), "late-rerank-publishing-")
