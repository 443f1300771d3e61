"""Whether runs replace or delete documents of older runs: then copies that are kept near may be of the old ones."""

from __future__ import annotations

from collections.abc import Sequence

from late_rerank.errors import StoreError
from late_rerank.stores.remote.keys import every_row, find, open_keys
from late_rerank.stores.remote.objects import Objects
from late_rerank.stores.remote.runs import Run, ids_of


class Replacing:
    """Looks whether keys of new runs are in older ones, by keys alone. It is asked again if others commit meanwhile.

    Args:
        objects: Of the store.
        new: Runs that are to be committed.
    """

    def __init__(self, objects: Objects, new: Sequence[Run]) -> None:
        self._objects, self._new = objects, new
        self._looked: set[str] = set()
        self._is_found = any(run.n_deleted for run in new)

    def __call__(self, old: Sequence[Run]) -> bool:
        """Tell whether one of these runs has documents that the new ones replace. True if that can't be read."""
        known = ids_of(old)
        for run in self._new:
            if run.id in known:
                continue  # it is committed again, and stays in its place
            others = [one for one in old if one.space == run.space and one.keys not in self._looked]
            self._is_found = self._is_found or (bool(others) and self._has_one_of(others, run))
        self._looked |= {run.keys for run in old}
        return self._is_found

    def _has_one_of(self, old: Sequence[Run], new: Run) -> bool:
        try:
            here = open_keys(self._objects, [new])[0]
            there = open_keys(self._objects, old)
            for rows in every_row(self._objects, here):
                places = find(self._objects, there, [bytes(key) for key in rows["key"]])
                if places.errors or places.n_damaged or (places.run >= 0).any():
                    return True
        except StoreError:  # forgetting copies for nothing costs time alone
            return True
        return False
