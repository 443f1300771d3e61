"""Keeping a store within its bound: whole segments go, least recently used first, and those whose documents all expired."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from late_rerank.stores.disk.index import Index
from late_rerank.stores.disk.segment import path_of
from late_rerank.stores.disk.tables import Segment
from late_rerank.stores.disk.writing import Writing


class Eviction:
    """Removes segments. The caller holds the lock of `writing`.

    Attributes:
        n_evicted: Documents that went because of the bound.
    """

    def __init__(self, folder: Path, index: Index, writing: Writing, max_bytes: int | None) -> None:
        self._folder = folder
        self._index = index
        self._writing = writing
        self._max_bytes = max_bytes
        self.n_evicted = 0

    def make_room(self, newer_than: int) -> None:
        """Remove segments until the bound holds, and those without a document stored after `newer_than`.

        Segments that other processes append to stay: the bound may be passed by what those hold.
        """
        if newer_than > 0:
            for segment in self._index.segments():
                if segment.n_written and segment.newest <= newer_than:
                    self._writing.retire(segment)
        if self._max_bytes is None:
            return
        # Tombstones go on to new segments: if these were evicted too, a store full of tombstones would never come to an end.
        old = {segment.id for segment in self._index.segments()}
        while sum(segment.size for segment in self._index.segments()) > self._max_bytes:
            if not self._evict_one(old):
                return

    def _evict_one(self, old: set[int]) -> bool:
        mine = set(self._writing.segment_ids())
        others = [segment for segment in self._index.segments() if segment.id in old and segment.id not in mine]
        for segment in sorted(others, key=self._last_use):
            if self._writing.retire(segment):
                self.n_evicted += segment.n_live
                return True
        # Only segments that somebody appends to are left. Finish mine, so that the next round may take them.
        self._writing.seal_all()
        return bool(mine)

    def _last_use(self, segment: Segment) -> float:
        with suppress(OSError):
            return path_of(self._folder, segment.id).stat().st_mtime
        return 0.0
