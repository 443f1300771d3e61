"""Rows in any order -> rows sorted by key. Memory doesn't grow with them: sorted runs go to a scratch file, then are merged."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType

import numpy as np

from late_rerank.stores.keys_blocks import ROW, Rows
from late_rerank.stores.keys_runs import merged
from late_rerank.stores.keys_writer import sort_rows

# Rows sorted in memory: 10 MB.
_ROWS_A_RUN = 2**18
# Rows of all runs that are read at a time while they are merged, and the fewest of one run.
_ROWS_AT_ONCE = 2**17
_ROWS_OF_A_RUN = 2**10


class RowSorter:
    """Sorts rows by key. Leave it as a context, or its scratch file stays.

    Args:
        scratch: A file that isn't there. It is made if the rows don't fit into memory, and removed in the end.
    """

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        self._parts: list[Rows] = []
        self._n_held = 0
        self._runs: list[tuple[int, int]] = []  # (first row, rows) of each run in the scratch file

    def __enter__(self) -> RowSorter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        with suppress(FileNotFoundError):
            self._scratch.unlink()

    def add(self, rows: Rows) -> None:
        """Add rows, (n,) ROW, in any order. No key comes twice."""
        self._parts.append(rows)
        self._n_held += len(rows)
        if self._n_held >= _ROWS_A_RUN:
            self._spill()

    def sorted_parts(self) -> Iterator[Rows]:
        """Give all rows, sorted by key, some thousands at a time."""
        held = iter([self._take()])
        if not self._runs:
            yield from merged([held])
            return
        at_once = max(_ROWS_AT_ONCE // len(self._runs), _ROWS_OF_A_RUN)
        yield from merged([*(self._read(first, n, at_once) for first, n in self._runs), held])

    def _take(self) -> Rows:
        rows = sort_rows(np.concatenate([np.empty(0, dtype=ROW), *self._parts]))
        self._parts, self._n_held = [], 0
        return rows

    def _spill(self) -> None:
        rows = self._take()
        first = sum(n for _, n in self._runs)
        with self._scratch.open("ab") as file:
            file.write(rows.tobytes())
        self._runs.append((first, len(rows)))

    def _read(self, first: int, n: int, at_once: int) -> Iterator[Rows]:
        with self._scratch.open("rb") as file:
            file.seek(first * ROW.itemsize)
            while n:
                rows = np.frombuffer(file.read(min(n, at_once) * ROW.itemsize), dtype=ROW)
                n -= len(rows)
                yield rows
