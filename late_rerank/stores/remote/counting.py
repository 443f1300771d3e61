"""How many documents a space has: counted, or estimated where counting would read too much."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from late_rerank.stores.keys_runs import merged
from late_rerank.stores.record import TOMBSTONE
from late_rerank.stores.remote.keys import every_row
from late_rerank.stores.remote.objects import Objects
from late_rerank.stores.remote.runs import Run
from late_rerank.stores.remote.snapshot import Snapshot

# The keys of 1.6 million documents: about a second.
_MOST_BYTES = 64 * 2**20


@dataclass(frozen=True, slots=True)
class Count:
    """A space's documents.

    Attributes:
        n_documents: How many there are, or at most.
        is_estimated: Whether a document in two runs was counted twice.
    """

    n_documents: int
    is_estimated: bool


def count(objects: Objects, snapshot: Snapshot, space: str) -> Count:
    """Count a space's documents. Several runs are compared once a manifest, unless their keys are large.

    Raises:
        StoreError: If the keys can't be read.
    """
    known = summed(snapshot, space)
    runs = [run for run in snapshot.manifest.runs if run.space == space]
    if known.is_estimated and sum(run.keys_bytes for run in runs) <= _MOST_BYTES:
        known = Count(_compared(objects, snapshot, space), is_estimated=False)
        snapshot.counted[space] = known.n_documents
    return known


def summed(snapshot: Snapshot, space: str) -> Count:
    """Count a space's documents as the manifest has them, or as they were counted before. Nothing is read."""
    if space in snapshot.counted:
        return Count(snapshot.counted[space], is_estimated=False)
    runs = [run for run in snapshot.manifest.runs if run.space == space]
    return Count(max(0, sum(run.n_documents - run.n_deleted for run in runs)), is_estimated=not _is_plain(runs))


def _compared(objects: Objects, snapshot: Snapshot, space: str) -> int:
    rows = merged([every_row(objects, known) for known in snapshot.keys_of(space)])
    return sum(int(np.count_nonzero((part["flags"] & TOMBSTONE) == 0)) for part in rows)


def _is_plain(runs: Sequence[Run]) -> bool:
    """Whether no document can be in two runs, and none is deleted."""
    return len(runs) <= 1 and not any(run.n_deleted for run in runs)
