"""Reads every byte that a store's newest manifest names, and says what is wrong."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from hashlib import blake2b

import numpy as np

from late_rerank.errors import StoreConnectionError, StoreError
from late_rerank.observing.progress import progress_bar
from late_rerank.stores.disk.segment import read_header
from late_rerank.stores.disk.verification import Problem, VerifyReport
from late_rerank.stores.keys_blocks import Rows
from late_rerank.stores.record import HEADER_BYTES, SEAL, TOMBSTONE, checked_header, layout, parse_space
from late_rerank.stores.record import read_header as read_record_header
from late_rerank.stores.remote.committing import read_format
from late_rerank.stores.remote.keys import RunKeys, every_row, open_keys
from late_rerank.stores.remote.manifest import newest
from late_rerank.stores.remote.objects import Objects
from late_rerank.stores.remote.runs import Run
from late_rerank.stores.remote.uploading import DIGEST_BYTES
from late_rerank.types import Bytes

_MOST_HEADER_BYTES = 2**20


def verify(objects: Objects, *, progress: bool = False) -> VerifyReport:
    """Check every object against its name, every record and block of keys against its checksum, and where each key points.

    Memory doesn't grow with the documents.

    Raises:
        StoreError: If there is no store, or its manifest is damaged.
        StoreConnectionError: If the service can't be reached.
    """
    if read_format(objects) is None:
        raise StoreError(f"{objects.url} holds no store")
    check = _Check(objects)
    manifest = newest(objects)
    spaces = {name: run.space for run in manifest.runs for name in run.segments.values()}
    for name in progress_bar(sorted(spaces), unit=" segments", desc="Reading", progress=progress):
        check.segment(name, spaces[name])
    for run in manifest.runs:
        check.run(run)
    return VerifyReport(len(spaces), check.n_records, check.n_documents, check.problems)


@dataclass
class _Check:
    objects: Objects
    problems: list[Problem] = field(default_factory=list)
    sizes: dict[str, int] = field(default_factory=dict)
    n_records: int = 0
    n_documents: int = 0

    def segment(self, name: str, space: str) -> None:
        """Read one segment: its digest, its header, its records."""
        digest = blake2b(digest_size=DIGEST_BYTES)
        try:
            walked = _Walk(_digesting(self.objects.stream(name), digest), space, f"{self.objects.url}/{name}")
            for problem in walked.problems():
                self.problems.append(Problem(f"{name} {problem[0]}".rstrip(), problem[1]))
        except StoreConnectionError:
            raise
        except StoreError as error:
            self.problems.append(Problem(name, str(error)))
            return
        self.sizes[name] = walked.size
        self.n_records += walked.n_records
        self._compare_name(name, digest.hexdigest())

    def run(self, run: Run) -> None:
        """Read one run's keys, and see that each points into a segment."""
        digest = blake2b(digest_size=DIGEST_BYTES)
        try:
            for _ in _digesting(self.objects.stream(run.keys), digest):
                pass
            self._compare_name(run.keys, digest.hexdigest())
            (known,) = open_keys(self.objects, [run])
            for rows in every_row(self.objects, known):
                self._rows(known, rows)
        except StoreConnectionError:
            raise
        except StoreError as error:
            self.problems.append(Problem(run.keys, str(error)))

    def _rows(self, known: RunKeys, rows: Rows) -> None:
        documents = rows[(rows["flags"] & TOMBSTONE) == 0]
        codec = parse_space(known.run.space)[1]
        ends = (
            documents["offset"].astype(np.int64)
            + layout(codec.columns, documents["n_tokens"].astype(np.int64), HEADER_BYTES)[1]
        )
        for number in np.unique(documents["segment"]).tolist():
            size = self.sizes.get(known.run.segments.get(number, ""), 0)
            outside = (documents["segment"] == number) & (ends > size)
            if outside.any():
                self.problems.append(Problem(known.run.keys, f"{int(outside.sum())} keys point beyond segment {number}"))
        self.n_documents += len(documents)

    def _compare_name(self, name: str, digest: str) -> None:
        if digest not in name:
            self.problems.append(Problem(name, "its bytes aren't those that it is named by"))


def _digesting(chunks: Iterable[memoryview], digest: blake2b) -> Iterator[memoryview]:
    for chunk in chunks:
        digest.update(chunk)
        yield chunk


class _Walk:
    """Goes through a segment's records, while its bytes come."""

    def __init__(self, chunks: Iterator[memoryview], space: str, where: str) -> None:
        self._chunks = chunks
        self._space, self._where = space, where
        self._rest: Bytes = np.empty(0, dtype=np.uint8)
        self.size = self.n_records = 0

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
            sealed = bool(record[1] & SEAL)
            self.n_records += not sealed
            offset += record[0]
        else:
            if not sealed:
                yield "", "the seal is missing"
        while self._more():
            self._rest = self._rest[:0]

    def _next(self) -> tuple[int, int] | None:
        """Take the next record. Returns its size and flags; None if it is damaged."""
        while len(self._rest) < HEADER_BYTES and self._more():
            pass
        told = read_record_header(self._rest)
        while told is not None and told.size > len(self._rest) and self._more():
            pass
        header = checked_header(self._rest)
        if header is None:
            return None
        self._rest = self._rest[header.size :]
        return header.size, header.flags

    def _more(self) -> bool:
        chunk = next(self._chunks, None)
        if chunk is None:
            return False
        self.size += len(chunk)
        self._rest = np.concatenate([self._rest, np.frombuffer(chunk, dtype=np.uint8)])
        return True
