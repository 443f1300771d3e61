"""Verbs of `late-rerank store` for object storage: each gives its report as JSON values, and a sentence."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from late_rerank.stores.disk.verification import VerifyReport

Told = tuple[dict[str, Any], str]

# What is done instead with a store in object storage.
IN_BUCKETS = {
    "compact": "is in object storage: `late-rerank store merge` and `clean` give room back there",
    "rebuild": "is in object storage: remove the objects that `late-rerank store verify` names, and publish again",
    "backup": "is in object storage: copy its objects, which never change, manifests last",
    "publish": "is in object storage: copy its objects, which never change, manifests last",
}


def publish(folder: Path, url: str) -> Told:
    """Send a folder's documents to object storage, and commit them."""
    from late_rerank.cli.results import counted, size_text
    from late_rerank.stores.remote.publishing import publish

    with _ended_by_sigterm():
        report = publish(folder, url, progress=True)
    known = f"; {report.n_known:,} of them were published before, and stay as old as they were" if report.n_known else ""
    return {"out": url, **asdict(report)}, (
        f"{counted(report.n_documents, 'document')}, {size_text(report.size_bytes)} in "
        f"{counted(report.n_segments, 'segment')}, published in {url} as manifest {report.manifest}{known}"
    )


def place_of(store: str) -> str:
    """Give STORE, but the folder's path where a file:// URL names a folder that holds no store of object storage."""
    from late_rerank.errors import StoreFormatError
    from late_rerank.stores.disk.format_file import read_format
    from late_rerank.stores.remote.address import folder_of, read_address

    folder = folder_of(read_address(store).url) if store.startswith("file://") else None
    if folder is None:
        return store
    try:
        read_format(folder)
    except (FileNotFoundError, StoreFormatError):
        return store
    return str(folder)


def url_of(store: str, verb: str) -> str:
    """Give STORE, if it is in object storage.

    Raises:
        ValueError: If it is a folder, or a server's URL.
    """
    from late_rerank.cli.opening import shown_place
    from late_rerank.cli.options import is_bucket

    place = place_of(store)
    if is_bucket(place):
        return place
    otherwise = "; for a folder there are `compact` and `publish`" if place != store else ""
    raise ValueError(f"{verb} is for stores in object storage (s3://BUCKET/PREFIX); got {shown_place(place)}{otherwise}")


def verify(url: str) -> VerifyReport:
    """Read and check every byte."""
    from late_rerank.stores.remote.verification import verify

    return verify(_objects(url), progress=True)


def drop(url: str, choose: Callable[[list[str]], list[str]]) -> Told:
    """Forget the vectors of the encoders that are chosen from all fingerprints."""
    from late_rerank.cli.results import counted
    from late_rerank.stores.record import parse_space
    from late_rerank.stores.remote.deleting import drop
    from late_rerank.stores.remote.manifest import newest

    objects = _objects(url)
    fingerprints = choose(sorted({parse_space(run.space)[0] for run in newest(objects).runs}))
    n_documents = sum(drop(objects, fingerprint) for fingerprint in fingerprints)
    return {"fingerprints": fingerprints, "n_documents": n_documents}, (
        f"dropped {counted(n_documents, 'document')} of {', '.join(fingerprints) or 'no encoder'}; "
        f"`late-rerank store clean {url}` gives the room back, after a grace time"
    )


def merge(url: str) -> Told:
    """Merge the runs of each space."""
    from late_rerank.cli.results import counted
    from late_rerank.stores.remote.merging import merge

    report = merge(_objects(url), progress=True)
    return asdict(report), (
        f"{counted(report.n_runs_before, 'run')} before, {report.n_runs_after:,} after: "
        f"{counted(report.n_documents, 'document')} merged, {report.n_left_out:,} replaced or deleted ones left out"
    )


def clean(url: str, grace_hours: float) -> Told:
    """Remove what no manifest names."""
    from late_rerank.cli.results import counted, size_text
    from late_rerank.stores.remote.cleaning import clean

    report = clean(_objects(url), grace=timedelta(hours=grace_hours))
    return asdict(report), (
        f"removed {counted(report.n_objects, 'object')}, {size_text(report.size_bytes)}, and "
        f"{counted(report.n_manifests, 'old manifest')}; {report.n_kept:,} kept"
    )


def _objects(url: str) -> Any:
    """Open the objects below a URL that holds a store.

    Raises:
        FileNotFoundError: If there is no store.
    """
    from late_rerank.stores.remote.committing import read_format
    from late_rerank.stores.remote.objects import Objects

    objects = Objects.at(url)
    if read_format(objects) is None:
        raise FileNotFoundError(f"{url} holds no store; `late-rerank store publish DIR {url}` makes one")
    return objects


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """Let SIGTERM end the command as Ctrl-C does: what was made on the way is as large as the store, and must go."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
