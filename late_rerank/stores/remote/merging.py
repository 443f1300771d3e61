"""Several runs of a space -> one. Keys alone are read and written, 48 bytes a document; segments stay where they are."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from late_rerank.errors import StoreError, StoreFormatError
from late_rerank.observing.progress import progress_bar
from late_rerank.stores.keys_blocks import Rows
from late_rerank.stores.keys_runs import merged
from late_rerank.stores.keys_writer import KeysWriter
from late_rerank.stores.record import TOMBSTONE
from late_rerank.stores.remote.committing import change
from late_rerank.stores.remote.keys import RunKeys, every_row
from late_rerank.stores.remote.keys_files import blocks_of
from late_rerank.stores.remote.manifest import newest
from late_rerank.stores.remote.objects import Objects
from late_rerank.stores.remote.runs import Run, replaced_by
from late_rerank.stores.remote.snapshot import Snapshot
from late_rerank.stores.remote.uploading import digest_of, object_name


@dataclass(frozen=True, slots=True)
class MergeReport:
    """Counts of a merge.

    Attributes:
        n_runs_before: Runs of all spaces before.
        n_runs_after: Runs after.
        n_documents: Documents of the merged runs.
        n_left_out: Rows that were left out: replaced documents, deleted ones, and the marks of deletions.
    """

    n_runs_before: int
    n_runs_after: int
    n_documents: int
    n_left_out: int


def merge(objects: Objects, *, progress: bool = False) -> MergeReport:
    """Merge the runs of each space into one. Others may commit meanwhile; their runs stay as they are.

    Memory doesn't grow with the documents; the merged keys are written to a temporary file first.

    Raises:
        StoreError: If somebody else merged or dropped the same runs meanwhile.
        StoreConnectionError: If the service can't be reached.
        StoreFormatError: If keys are damaged.
    """
    before = newest(objects)
    snapshot = Snapshot(objects, before)
    n_documents = n_left_out = 0
    for space, runs in snapshot.spaces().items():
        if len(runs) == 1 and not runs[0].n_deleted:
            continue
        one = _merge(objects, snapshot.keys_of(space), progress=progress)
        change(objects, lambda now, runs=runs, one=one: _replaced(objects, now, runs, one), lambda _: False)  # type: ignore[misc]
        n_documents += one.n_documents
        n_left_out += sum(run.n_documents + run.n_deleted for run in runs) - one.n_documents
    return MergeReport(len(before.runs), len(newest(objects, known=before).runs), n_documents, n_left_out)


def _merge(objects: Objects, runs: Sequence[RunKeys], *, progress: bool) -> Run:
    """Write the keys of several runs as one. Of two runs with one key the first counts."""
    names = sorted({name for known in runs for name in known.run.segments.values()})
    numbers = {name: number for number, name in enumerate(names, start=1)}
    total = sum(known.fence.header.n_keys for known in runs)
    with tempfile.TemporaryDirectory(prefix="late-rerank-") as folder:
        path = Path(folder) / "merged.keys"
        with path.open("wb") as file, progress_bar(total=total, unit=" keys", desc="Merging", progress=progress) as bar:
            writer = KeysWriter(file, runs[0].run.space)
            for rows in merged([_renumbered(objects, known, numbers, bar) for known in runs]):
                writer.add(rows[(rows["flags"] & TOMBSTONE) == 0])  # nothing older is left that they could hide
            writer.finish()
        with blocks_of(path) as (_, header, used):
            name = object_name("keys", digest_of(path), "keys")
            objects.put(name, path)
    segments = {number: names[number - 1] for number in used}
    sizes = {found.name: found.size for found in objects.list("segments")}
    size = header.size_bytes + sum(sizes.get(segment, 0) for segment in segments.values())
    level = 1 + max(known.run.level for known in runs)
    return Run(header.space, header.n_keys, name, segments, size, header.size_bytes, level=level)


def _renumbered(objects: Objects, known: RunKeys, numbers: Mapping[str, int], bar: Any) -> Iterator[Rows]:
    """Give a run's rows, with the numbers that the merged run gives to segments."""
    segments = known.run.segments
    new = np.zeros(max(segments, default=0) + 1, dtype=np.uint32)
    for number, name in segments.items():
        new[number] = numbers[name]
    for rows in every_row(objects, known):
        renumbered = rows.copy()
        is_document = (rows["flags"] & TOMBSTONE) == 0
        if is_document.any() and not set(np.unique(rows["segment"][is_document]).tolist()) <= segments.keys():
            raise StoreFormatError(f"{objects.url}/{known.run.keys} names segments that its run hasn't")
        renumbered["segment"] = np.where(is_document, new[np.where(is_document, rows["segment"], 0)], 0)
        bar.update(len(rows))
        yield renumbered


def _replaced(objects: Objects, now: tuple[Run, ...], old: Sequence[Run], one: Run) -> tuple[Run, ...]:
    """Put the merged run in the place of the old ones, which must still be the oldest of their space, in order."""
    space = [run.keys for run in now if run.space == one.space]
    if space[len(space) - len(old) :] != [run.keys for run in old]:
        raise StoreError(f"{objects.url}: somebody else merged, dropped or published the same runs meanwhile; merge again")
    one = replace(one, replaced=replaced_by(one, old))
    gone = {run.keys for run in old[1:]}
    kept = [run for run in now if run.keys not in gone]
    place = [run.keys for run in kept].index(old[0].keys)
    return (*kept[:place], *([one] if one.n_documents else []), *kept[place + 1 :])
