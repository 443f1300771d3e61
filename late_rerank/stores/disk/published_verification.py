"""Reads every byte of a published store and says what is wrong, in memory that hardly grows with the documents."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from late_rerank.errors import StoreFormatError
from late_rerank.observing.progress import progress_bar
from late_rerank.stores.disk.block_keys import BlockKeys
from late_rerank.stores.disk.keys_file import ColumnKeys
from late_rerank.stores.disk.segment import MappedSegment, number_of, path_of, walk
from late_rerank.stores.disk.verification import Problem, VerifyReport
from late_rerank.stores.record import SEAL, Header

# Records whose keys are looked up at once: 4 MB of blocks.
_RECORDS_AT_ONCE = 1024


def verify_published(folder: Path, keys: Mapping[str, BlockKeys | ColumnKeys], *, progress: bool) -> VerifyReport:
    """Compare each record and each block of keys with its checksum, and the keys with the records.

    Args:
        folder: The store's.
        keys: Its keys by their spaces' names.
        progress: Show a bar on stderr, if stderr is a terminal.
    """
    check = _Check(keys)
    for name, file in keys.items():
        check.problems += [Problem(f"the keys of {name:.60}", reason) for reason in file.problems()]
    paths = sorted((folder / "segments").glob("*.seg"))
    for path in progress_bar(paths, unit=" segments", desc="Reading", progress=progress):
        check.read(path)
    there = {path.name for path in paths}
    named = sorted({number for file in keys.values() for number in file.segments})
    lost = {number for number in named if path_of(folder, number).name not in there}
    check.problems += [Problem(path_of(folder, number).name, "missing") for number in sorted(lost)]
    check.problems += check.rows_without_records(folder, lost)
    return VerifyReport(len(paths), check.n_records, check.n_documents, check.problems)


class _Check:
    """One pass over the segments. Of each row of the keys it remembers one bit: whether a record was found for it."""

    def __init__(self, keys: Mapping[str, BlockKeys | ColumnKeys]) -> None:
        self._keys = keys
        self._seen = {name: np.zeros(-(-file.n // 8), dtype=np.uint8) for name, file in keys.items()}
        self._unreadable: set[int] = set()
        self.problems: list[Problem] = []
        self.n_records = 0
        self.n_documents = 0

    def read(self, path: Path) -> None:
        """Compare one segment."""
        try:
            mapping = MappedSegment(path)
        except StoreFormatError as error:
            self.problems.append(Problem(path.name, str(error)))
            self._unreadable.add(number_of(path) or 0)
            return
        sealed = False
        batch: list[tuple[int, Header]] = []
        for offset, header in walk(mapping.bytes, mapping.header.size, len(mapping.bytes)):
            if header is None:
                self.problems.append(Problem(f"{path.name} at byte {offset}", "damaged from here"))
            elif header.flags & SEAL:
                sealed = True
            else:
                batch.append((offset, header))
            if len(batch) == _RECORDS_AT_ONCE:
                self._compare(mapping, path, batch)
                batch = []
        self._compare(mapping, path, batch)
        if not sealed:
            self.problems.append(Problem(path.name, "the seal is damaged or missing"))

    def rows_without_records(self, folder: Path, lost: set[int]) -> Iterator[Problem]:
        """Give the rows whose records weren't found, but those of segments that can't be read: these are told by then."""
        for name, file in self._keys.items():
            if int(np.unpackbits(self._seen[name]).sum()) == file.n:
                continue
            for number, row in self._rows(name):
                segment, offset = int(row["segment"]), int(row["offset"])
                if segment not in lost | self._unreadable and not self._seen[name][number // 8] & 1 << number % 8:
                    yield Problem(f"{path_of(folder, segment).name} at byte {offset}", "no whole record here")

    def _rows(self, name: str) -> Iterator[tuple[int, np.void]]:
        number = 0
        for part in self._keys[name].parts():
            for row in part:
                yield number, row
                number += 1

    def _compare(self, mapping: MappedSegment, path: Path, batch: list[tuple[int, Header]]) -> None:
        """Look the records' keys up, and compare what the rows say of each."""
        self.n_records += len(batch)
        name = mapping.header.space
        said: dict[int, tuple[int, ...]] = {}
        if name in self._keys and batch:
            found = self._keys[name].locate([header.key for _, header in batch])
            columns = [found.rows[column].tolist() for column in ("segment", "offset", "n_tokens", "flags")]
            said = dict(zip(found.key.tolist(), zip(found.number.tolist(), *columns, strict=True), strict=True))
        for i, (offset, header) in enumerate(batch):
            number, *place = said.get(i, (-1,))
            if place == [mapping.header.id, offset, header.n_tokens, header.flags]:
                self.n_documents += 1
                self._seen[name][number // 8] |= 1 << number % 8
            else:
                self.problems.append(Problem(f"{path.name} at byte {offset}", "the keys say something else"))
