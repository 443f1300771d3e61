"""Keeps a store within its bound: whole segments go, least recently used first; so do segments without a living document."""

from __future__ import annotations

from contextlib import suppress

from late_rerank.stores.disk.parts import Parts
from late_rerank.stores.disk.segment import path_of
from late_rerank.stores.disk.tables import Segment


class Eviction:
    """Removes segments. The caller holds the write lock.

    Attributes:
        n_evicted: Documents that went because of the bound.
    """

    def __init__(self, parts: Parts, max_bytes: int | None) -> None:
        self._folder = parts.path
        self._index = parts.index
        self._writing = parts.writing
        self._max_bytes = max_bytes
        self.n_evicted = 0

    def make_room(self, newer_than: int) -> None:
        """Remove segments until the bound holds, and segments without a document stored after `newer_than`.

        Segments that other processes append to stay: the store may pass its bound by their size.
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
