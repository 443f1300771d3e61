"""Removes what no manifest names any more, once nobody can be using it."""

from __future__ import annotations

import re
import uuid
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from stat import S_ISREG

from late_rerank.errors import StoreError
from late_rerank.stores.remote.address import folder_of
from late_rerank.stores.remote.committing import PROBES, read_format
from late_rerank.stores.remote.found import Found
from late_rerank.stores.remote.manifest import FOLDER as MANIFESTS
from late_rerank.stores.remote.manifest import Manifest, newest, number_of, read
from late_rerank.stores.remote.objects import Objects
from late_rerank.stores.remote.presence import absent, look_at

# Longer than any reader goes without looking for a new manifest, and than most uploads go without their commit or receipt.
GRACE = timedelta(hours=24)
RECEIPTS = "receipts"
# So few that what is looked at is removed within a second.
_LOOKED_AT_TOGETHER = 64
_PART = re.compile(r".+#\d+")
_NAMED = re.compile(rb'"((?:segments|keys)/[0-9a-f]{2}/[0-9a-f]{32}\.[a-z]+)"')


@dataclass(frozen=True, slots=True)
class CleanReport:
    """Counts of a cleaning.

    Attributes:
        n_objects: Segments and keys that were removed, and half ones in a folder.
        size_bytes: Their bytes.
        n_manifests: Manifests that were removed.
        n_receipts: Receipts of abandoned jobs that were removed.
        n_kept: Segments and keys that are named, or too young.
    """

    n_objects: int
    size_bytes: int
    n_manifests: int
    n_receipts: int
    n_kept: int


def clean(objects: Objects, *, grace: timedelta = GRACE) -> CleanReport:
    """Remove objects that no manifest of the last hours names, and no receipt of a running job.

    Args:
        objects: Of the store.
        grace: How long a manifest still protects its objects after the next one, and how old an unnamed object must be. A job
            whose last receipt is older counts as abandoned. An upload or a job that takes longer sends again
            what was removed. With zero, nobody may be writing or reading.

    Raises:
        StoreError: If there is no store, or a manifest is damaged: nothing is removed then.
        StoreConnectionError: If the service can't be reached.
    """
    if grace < timedelta(0):
        raise ValueError(f"grace must be 0 or longer, got {grace}")
    if read_format(objects) is None:
        raise StoreError(f"{objects.url} holds no store")
    since = _service_time(objects) - grace
    # Objects first, manifests last: what is written or committed from now on isn't in question.
    listed = [*objects.list("segments"), *objects.list("keys")]
    named = _named_by_receipts(objects, _receipts(objects, since)[1])
    kept, old = _manifests(objects, since)
    manifests = [manifest for number in kept if (manifest := read(objects, number)) is not None]
    named |= {name for manifest in manifests for name in manifest.objects()}
    unneeded = [found.name for found in listed if found.name not in named and found.modified <= since]
    removed = _remove(objects, unneeded, since, manifests[-1])
    parts = _remove_parts(objects, since)
    stale_receipts = _receipts(objects, since)[0]  # a job may have gone on meanwhile
    objects.delete(found.name for found in stale_receipts)
    objects.delete(found.name for found in old)
    objects.delete(found.name for found in objects.list(PROBES) if found.modified <= since)
    size = sum(found.size for found in removed) + sum(parts)
    return CleanReport(len(removed) + len(parts), size, len(old), len(stale_receipts), len(listed) - len(removed))


def _remove(objects: Objects, names: Sequence[str], since: datetime, known: Manifest) -> list[Found]:
    """Remove objects that nobody sent again or committed since they were listed.

    Raises:
        StoreError: If a commit came that needs one, after it was looked at.
    """
    removed: list[Found] = []
    for first in range(0, len(names), _LOOKED_AT_TOGETHER):
        some = look_at(objects, names[first : first + _LOOKED_AT_TOGETHER])
        known = newest(objects, known=known)
        named = known.objects()
        old = [found for found in some if found.modified <= since and found.name not in named]
        objects.delete(found.name for found in old)
        removed += old
    needed = newest(objects, known=known).objects() & {found.name for found in removed}
    if lost := absent(objects, needed):
        raise StoreError(
            f"{objects.url}: a commit that came meanwhile needs {len(lost)} objects that were removed ({min(lost)}); "
            "publish or index again what it committed"
        )
    return removed


def _remove_parts(objects: Objects, since: datetime) -> list[int]:
    """Remove from a folder what killed writers left half, which no listing shows. Gives their sizes in bytes."""
    folder = folder_of(objects.url)
    sizes: list[int] = []
    for path in () if folder is None else folder.rglob("*#*"):
        sizes += _removed_part(path, since)
    return sizes


def _removed_part(path: Path, since: datetime) -> list[int]:
    try:
        told = path.lstat()
        if not _PART.fullmatch(path.name) or not S_ISREG(told.st_mode) or told.st_mtime > since.timestamp():
            return []
        path.unlink()
    except FileNotFoundError:  # its writer has finished it
        return []
    return [told.st_size]


def _service_time(objects: Objects) -> datetime:
    """Ask the service for its time: this machine's clock may be wrong, and objects have the service's times."""
    name = f"{PROBES}/{uuid.uuid4().hex}"
    objects.put(name, b"time")
    found = objects.look(name)
    objects.delete([name])
    if found is None:
        raise StoreError(f"{objects.url}: an object that was just written isn't there")
    return found.modified


def _manifests(objects: Objects, since: datetime) -> tuple[list[int], list[Found]]:
    """Tell which manifests were the newest at some time since then, by number, and which weren't."""
    found = {number: one for one in objects.list(MANIFESTS) if (number := number_of(one.name)) is not None}
    numbers = sorted(found)
    # A manifest was the newest until the next one was made.
    old = {number for number, after in pairwise(numbers) if found[after].modified <= since}
    return [number for number in numbers if number not in old], [found[number] for number in sorted(old)]


def _receipts(objects: Objects, since: datetime) -> tuple[list[Found], list[Found]]:
    """Part receipts into those of abandoned jobs and of running ones: a running job has a new one."""
    jobs: dict[str, list[Found]] = defaultdict(list)
    for found in objects.list(RECEIPTS):
        jobs[found.name.split("/")[1]].append(found)
    stale: list[Found] = []
    running: list[Found] = []
    for receipts in jobs.values():
        (stale if max(one.modified for one in receipts) <= since else running).extend(receipts)
    return stale, running


def _named_by_receipts(objects: Objects, receipts: Iterable[Found]) -> set[str]:
    named = set()
    for found in receipts:
        raw = objects.get(found.name)
        named |= {name.decode() for name in _NAMED.findall(raw or b"")}
    return named
