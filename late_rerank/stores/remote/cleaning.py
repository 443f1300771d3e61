"""Removes what no manifest names any more, once nobody can be using it."""

from __future__ import annotations

import re
import uuid
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

from late_rerank.errors import StoreError
from late_rerank.stores.remote.committing import PROBES, read_format
from late_rerank.stores.remote.manifest import FOLDER as MANIFESTS
from late_rerank.stores.remote.manifest import number_of, read
from late_rerank.stores.remote.objects import Found, Objects

# Longer than any reader goes without looking for a new manifest, and than an upload goes without its commit or receipt.
GRACE = timedelta(hours=24)
RECEIPTS = "receipts"
_NAMED = re.compile(rb'"((?:segments|keys)/[0-9a-f]{2}/[0-9a-f]{32}\.[a-z]+)"')


@dataclass(frozen=True, slots=True)
class CleanReport:
    """Counts of a cleaning.

    Attributes:
        n_objects: Segments and keys that were removed.
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
            whose last receipt is older counts as abandoned. With zero, nobody may be writing or reading.

    Raises:
        StoreError: If there is no store, or a manifest is damaged: nothing is removed then.
        StoreConnectionError: If the service can't be reached.
    """
    if grace < timedelta(0):
        raise ValueError(f"grace must be 0 or longer, got {grace}")
    if read_format(objects) is None:
        raise StoreError(f"{objects.url} holds no store")
    since = _service_time(objects) - grace
    # Objects first: what is written from now on isn't listed.
    listed = [*objects.list("segments"), *objects.list("keys")]
    stale_receipts, receipts = _receipts(objects, since)
    named = _named_by_receipts(objects, receipts)
    kept, old = _manifests(objects, since)
    for number in kept:
        manifest = read(objects, number)
        named |= set() if manifest is None else manifest.objects()
    unneeded = [found for found in listed if found.name not in named and found.modified <= since]
    objects.delete(found.name for found in unneeded)
    objects.delete(found.name for found in stale_receipts)
    objects.delete(found.name for found in old)
    objects.delete(found.name for found in objects.list(PROBES) if found.modified <= since)
    size = sum(found.size for found in unneeded)
    return CleanReport(len(unneeded), size, len(old), len(stale_receipts), len(listed) - len(unneeded))


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
