"""Reads every byte that a store's newest manifest names, and says what is wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from hashlib import blake2b

import numpy as np

from late_rerank.errors import StoreConnectionError, StoreError
from late_rerank.observing.progress import progress_bar
from late_rerank.stores.disk.segment import read_header
from late_rerank.stores.disk.verification import Problem, VerifyReport
from late_rerank.stores.keys_blocks import Rows
from late_rerank.stores.keys_runs import merged
from late_rerank.stores.record import HEADER_BYTES, SEAL, TOMBSTONE, Header, checked_header
from late_rerank.stores.record import read_header as read_record_header
from late_rerank.stores.remote.committing import read_format
from late_rerank.stores.remote.keys import every_row, open_keys
from late_rerank.stores.remote.manifest import newest
from late_rerank.stores.remote.objects import Objects
from late_rerank.stores.remote.runs import Run
from late_rerank.stores.remote.snapshot import Snapshot
from late_rerank.stores.remote.uploading import DIGEST_BYTES
from late_rerank.stores.remote.walked import WalkedRecords
from late_rerank.types import Bytes

_MOST_HEADER_BYTES = 2**20
# No row has it.
_LOST = 2**31


def verify(objects: Objects, *, progress: bool = False) -> VerifyReport:
    """Compare every object with its name, every record and block of keys with its checksum, and each key with its record.

    Memory doesn't grow with the documents: where records lie is written to temporary files, 56 bytes a record.

    Returns:
        Its `n_documents` are those that are found and undamaged, each counted once.

    Raises:
        StoreError: If there is no store, or its manifest is damaged.
        StoreConnectionError: If the service can't be reached.
    """
    if read_format(objects) is None:
        raise StoreError(f"{objects.url} holds no store")
    snapshot = Snapshot(objects, newest(objects))
    spaces = {name: run.space for run in snapshot.manifest.runs for name in run.segments.values()}
    with WalkedRecords() as records:
        check = _Check(objects, records)
        for name in progress_bar(sorted(spaces), unit=" segments", desc="Reading", progress=progress):
            check.segment(name, spaces[name])
        for runs in snapshot.spaces().values():
            check.space(runs)
    return VerifyReport(len(spaces), check.n_records, check.n_documents, [*check.problems, *check.lost_records()])


@dataclass
class _Check:
    objects: Objects
    records: WalkedRecords
    problems: list[Problem] = field(default_factory=list)
    unreadable: set[str] = field(default_factory=set)
    lost: Counter[tuple[str, str]] = field(default_factory=Counter)
    n_records: int = 0
    n_documents: int = 0

    def segment(self, name: str, space: str) -> None:
        """Read one segment: its digest, its header, its records."""
        digest = blake2b(digest_size=DIGEST_BYTES)
        try:
            chunks = _digesting(self.objects.stream(name), digest)
            walked = _Walk(chunks, space, f"{self.objects.url}/{name}", partial(self.records.add, name))
            for problem in walked.problems():
                self.problems.append(Problem(f"{name} {problem[0]}".rstrip(), problem[1]))
        except StoreConnectionError:
            raise
        except StoreError as error:
            self.problems.append(Problem(name, str(error)))
            self.unreadable.add(name)
            return
        self.n_records += walked.n_records
        self._compare_name(name, digest.hexdigest())

    def space(self, runs: Sequence[Run]) -> None:
        """Read the keys of a space's runs, newest first, and look for each one's record. Count the documents that are found."""
        for rows in merged([self._compared(run) for run in runs]):
            self.n_documents += int(((rows["flags"] & (TOMBSTONE | _LOST)) == 0).sum())

    def lost_records(self) -> Iterator[Problem]:
        """Give the keys without a record, but those of segments that can't be read at all: these are told by then."""
        for (keys, segment), n in self.lost.items():
            if segment not in self.unreadable:
                yield Problem(keys, f"{n:,} keys have no such whole record in {segment}")

    def _compared(self, run: Run) -> Iterator[Rows]:
        """Give a run's rows; those without their record get a flag of our own."""
        digest = blake2b(digest_size=DIGEST_BYTES)
        try:
            for _ in _digesting(self.objects.stream(run.keys), digest):
                pass
            self._compare_name(run.keys, digest.hexdigest())
            (known,) = open_keys(self.objects, [run])
            for rows in every_row(self.objects, known):
                yield self._marked(run, rows)
        except StoreConnectionError:
            raise
        except StoreError as error:
            self.problems.append(Problem(run.keys, str(error)))

    def _marked(self, run: Run, rows: Rows) -> Rows:
        is_lost = ((rows["flags"] & TOMBSTONE) == 0) & ~self.records.have(run.segments, rows)
        for number, n in Counter(rows["segment"][is_lost].tolist()).items():
            self.lost[run.keys, run.segments.get(number, f"segment {number}, which its run hasn't")] += n
        marked: Rows = rows.copy()
        marked["flags"][is_lost] |= _LOST
        return marked

    def _compare_name(self, name: str, digest: str) -> None:
        if digest not in name:
            self.problems.append(Problem(name, "its bytes aren't those that it is named by"))


def _digesting(chunks: Iterable[memoryview], digest: blake2b) -> Iterator[memoryview]:
    for chunk in chunks:
        digest.update(chunk)
        yield chunk


class _Walk:
    """Goes through a segment's records, while its bytes come."""

    def __init__(self, chunks: Iterator[memoryview], space: str, where: str, found: Callable[[int, Header], None]) -> None:
        self._chunks, self._found = chunks, found
        self._space, self._where = space, where
        self._rest: Bytes = np.empty(0, dtype=np.uint8)
        self.n_records = 0

    def problems(self) -> Iterator[tuple[str, str]]:
        """Give (place, reason) of what is wrong. After the first damaged record nothing is walked, only read."""
        while len(self._rest) < _MOST_HEADER_BYTES and self._more():
            pass
        header = read_header(self._rest, self._where)  # type: ignore[arg-type]
        if header.space != self._space:
            yield "", "it belongs to another space"
        self._rest = self._rest[header.size :]
        offset, sealed = header.size, False
        while not sealed and (len(self._rest) or self._more()):
            record = self._next()
            if record is None:
                yield f"at byte {offset}", "damaged from here"
                break
            sealed = bool(record.flags & SEAL)
            if not sealed:
                self.n_records += 1
                self._found(offset, record)
            offset += record.size
        else:
            if not sealed:
                yield "", "the seal is missing"
        while self._more():
            self._rest = self._rest[:0]

    def _next(self) -> Header | None:
        """Take the next record. Returns its header; None if it is damaged."""
        while len(self._rest) < HEADER_BYTES and self._more():
            pass
        told = read_record_header(self._rest)
        while told is not None and told.size > len(self._rest) and self._more():
            pass
        header = checked_header(self._rest)
        if header is None:
            return None
        self._rest = self._rest[header.size :]
        return header

    def _more(self) -> bool:
        chunk = next(self._chunks, None)
        if chunk is None:
            return False
        self._rest = np.concatenate([self._rest, np.frombuffer(chunk, dtype=np.uint8)])
        return True
