"""Sorted runs of rows -> one, a part of each run at a time. Of two rows of one key the earlier run's counts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from late_rerank.stores.keys_blocks import U64, Rows, halves


class _Run:
    """What was read of one run and isn't given yet."""

    def __init__(self, parts: Iterator[Rows]) -> None:
        self._parts = parts
        self.rows: Rows
        self._firsts: U64  # the halves of their keys, as numbers
        self._lasts: U64
        self.last: tuple[int, int] = (0, 0)  # the highest key of `rows`

    def read_on(self) -> bool:
        """Read the next part that has rows; False at the end."""
        for rows in self._parts:
            if len(rows):
                self.rows = rows
                self._firsts, self._lasts = np.ascontiguousarray(halves(np.ascontiguousarray(rows["key"]).tobytes()).T)
                self.last = (int(self._firsts[-1]), int(self._lasts[-1]))
                return True
        return False

    def take_until(self, key: tuple[int, int]) -> Rows:
        """Take the rows up to a key, that key included."""
        first, last = (np.uint64(half) for half in key)
        low, high = np.searchsorted(self._firsts, first, side="left"), np.searchsorted(self._firsts, first, side="right")
        n = int(low + np.searchsorted(self._lasts[low:high], last, side="right"))
        taken, self.rows = self.rows[:n], self.rows[n:]
        self._firsts, self._lasts = self._firsts[n:], self._lasts[n:]
        return taken


def merged(runs: Sequence[Iterator[Rows]]) -> Iterator[Rows]:
    """Merge runs of rows into one.

    Args:
        runs: Each gives parts, (n,) ROW, sorted by key over all its parts, each key once. The first run counts most.

    Yields:
        Parts of the one run: sorted, each key once.
    """
    open_runs = [run for run in map(_Run, runs) if run.read_on()]
    while open_runs:
        # Up to here every run is read: what comes later is above.
        until = min(run.last for run in open_runs)
        yield _joined([run.take_until(until) for run in open_runs])
        open_runs = [run for run in open_runs if len(run.rows) or run.read_on()]


def _joined(parts: Sequence[Rows]) -> Rows:
    """Sort the rows of several runs into one; of one key the first counts."""
    rows = np.concatenate(parts)
    first, last = halves(np.ascontiguousarray(rows["key"]).tobytes()).T
    order = np.lexsort((last, first))  # stable: of equal keys the earlier run's row comes first
    first, last = first[order], last[order]
    is_new = np.ones(len(rows), dtype=np.bool_)
    is_new[1:] = (first[1:] != first[:-1]) | (last[1:] != last[:-1])
    return rows[order[is_new]]
