"""The segments that a process has mapped: as many as it may have, and the last used ones."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from threading import Lock

from late_rerank.errors import StoreFormatError
from late_rerank.stores.disk.segment import MappedSegment, path_of

# Segments of 1 GiB: 4 TiB are mapped.
_MOST = 4096
_MAP_COUNT = "/proc/sys/vm/max_map_count"


def most_mapped() -> int:
    """Tell how many segments this process keeps mapped: 4096, or a quarter of the mappings that the system lets it have."""
    most = _MOST
    with suppress(OSError, ValueError):  # Linux alone has it
        most = min(most, int(Path(_MAP_COUNT).read_text(encoding="ascii")) // 4)  # answers keep others mapped
    return max(most, 1)


class MappedSegments:
    """The segments that this process has mapped. Safe to share between threads.

    Args:
        folder: The store's.
        noting: Whether to note on the files which segments were used.
        most: How many stay mapped, the last used ones; None for what `most_mapped` says.
    """

    def __init__(self, folder: Path, *, noting: bool = True, most: int | None = None) -> None:
        self._folder = folder
        self._noting = noting
        self._most = most_mapped() if most is None else most
        self._mapped: dict[int, MappedSegment] = {}
        self._used: set[int] = set()
        self._n_uses = 0
        self._last_use: dict[int, int] = {}  # by segment, a number that grows with each use
        self._lock = Lock()

    def get(self, segment_id: int, end: int, space: str) -> MappedSegment:
        """Map the segment, up to `end` at least if the file is that long.

        Raises:
            FileNotFoundError: If the segment was removed.
            StoreFormatError: If its header is damaged, or is another segment's or space's.
        """
        self._n_uses += 1  # two threads may count one: only an order is needed
        self._last_use[segment_id] = self._n_uses
        mapping = self._mapped.get(segment_id)
        if mapping is None or len(mapping.bytes) < end:
            mapping = self._map(segment_id, space)
        self._used.add(segment_id)
        return mapping

    def note_use(self) -> None:
        """Note on the files which segments were used since the last time; eviction goes by that.

        A reader can't write the index, but can set a file's time of modification; only an order is needed.
        """
        with self._lock:
            used, self._used = self._used, set()
        for segment_id in used if self._noting else ():
            with suppress(OSError):  # not ours to write
                os.utime(path_of(self._folder, segment_id))

    def keep(self, segment_ids: set[int]) -> None:
        """Unmap all other segments: a removed file takes room on the disk as long as somebody has it mapped."""
        with self._lock:
            for segment_id in self._mapped.keys() - segment_ids:
                del self._mapped[segment_id]
                self._last_use.pop(segment_id, None)

    def after_fork(self) -> None:
        """Go on in a child: mapped segments are shared and stay valid."""
        self._lock = Lock()

    def _map(self, segment_id: int, space: str) -> MappedSegment:
        path = path_of(self._folder, segment_id)
        mapping = MappedSegment(path)
        if mapping.header.id != segment_id or mapping.header.space != space:
            raise StoreFormatError(f"{path} says it is segment {mapping.header.id} of {mapping.header.space}")
        with self._lock:
            if segment_id not in self._mapped and self._noting:
                with suppress(OSError):
                    os.utime(path)
            self._mapped[segment_id] = mapping
            if len(self._mapped) > self._most:
                self._unmap_some()
        return mapping

    def _unmap_some(self) -> None:
        """Unmap an eighth of the segments, those used longest ago: to look for one each time would take longer than to map."""
        by_use = sorted(self._mapped, key=lambda segment_id: self._last_use.get(segment_id, 0))
        for segment_id in by_use[: max(self._most // 8, 1)]:
            del self._mapped[segment_id]
        self._last_use = {segment_id: self._last_use.get(segment_id, 0) for segment_id in self._mapped}
