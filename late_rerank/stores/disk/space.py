"""The documents of one space in a DiskStore: put, found and deleted."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import suppress

import numpy as np

from late_rerank.errors import StoreError
from late_rerank.stores.base import Space
from late_rerank.stores.disk.places import Place, unpack_place
from late_rerank.stores.disk.reading import Reading
from late_rerank.stores.disk.segment import path_of
from late_rerank.stores.disk.shared import Shared
from late_rerank.stores.record import HEADER_BYTES, TOMBSTONE, layout, pack_marks, pack_records
from late_rerank.types import CodecSpec, Fetched, PackedVectors

# What one put brings together before it is written: bounds memory.
_CHUNK_BYTES = 16 * 2**20
# A document must fit into a bounded store beside the headers of a segment or two.
_HEADERS_BYTES = 2 * 4096
# How often the index is asked again after a segment that it named was compacted or evicted.
_TRIES = 5
# Keys deleted in one transaction.
_AT_ONCE = 5000


class DiskSpace(Space):
    """A space of a DiskStore.

    Attributes:
        name: The space's name in the index and the segments, made by `space_json`.
    """

    def __init__(self, shared: Shared, name: str, fingerprint: str, codec: CodecSpec) -> None:
        super().__init__(fingerprint, codec)
        self.name = name
        self._shared = shared
        self._parts = shared.parts

    def get(self, keys: Sequence[bytes]) -> Fetched:
        shared = self._shared
        shared.refuse_if_closed()
        check_first = shared.check_first
        reading = Reading(self._parts.mappings, self.name, self.codec, check=shared.bounds.check, check_first=check_first)
        try:
            fetched, damage = self._fetch(keys, reading)
            if damage:
                shared.count_damage(damage)
            for error in reading.refused.values():
                shared.tell_unreadable(error)
            shared.tick()
        except (StoreError, OSError) as error:  # the folder is gone, or the index can't be read: an answer needs neither
            if shared.is_closed:
                raise
            shared.tell_unreadable(error)
            fetched, _ = reading.fetch(keys, [None] * len(keys))
        return fetched

    def delete(self, keys: Sequence[bytes]) -> int:
        n_deleted = 0
        index = self._parts.index
        with self._shared.writing_alone():
            for start in range(0, len(keys), _AT_ONCE):
                part = list(dict.fromkeys(keys[start : start + _AT_ONCE]))
                self._shared.follow_index()
                places = index.find(self.name, part, self._shared.bounds.newer_than())
                n_deleted += sum(place is not None for place in places)
                # More than the found ones: an expired document is there for whoever opens the store without `ttl_s`.
                here = index.deletable(self.name, part)
                if here:
                    sequence = index.sequence() + 1  # asked last: higher than that of any record that was found
                    marks = pack_marks(here, flag=TOMBSTONE, sequence=sequence, stored_at=int(time.time()))
                    self._parts.writing.append(self.name, marks)
        return n_deleted

    def __len__(self) -> int:
        return self._parts.index.count(self.name)

    def _put(self, keys: Sequence[bytes], packed: PackedVectors) -> None:
        most_bytes = self._shared.bounds.max_bytes
        sizes = layout(self.codec.columns, packed.lengths, HEADER_BYTES)[1].tolist()
        kept = [i for i, size in enumerate(sizes) if most_bytes is None or size <= most_bytes - _HEADERS_BYTES]
        with self._shared.writing_alone():
            for chunk in _chunks(kept, sizes, min(_CHUNK_BYTES, self._parts.internals.segment_bytes)):
                self._shared.follow_index()
                records = pack_records(
                    [keys[i] for i in chunk],
                    packed.take(np.array(chunk, dtype=np.int64)),
                    sequence=self._parts.index.sequence() + 1,
                    stored_at=int(time.time()),
                )
                self._parts.writing.append(self.name, records)
                self._shared.eviction.make_room(self._shared.bounds.newer_than())

    def _fetch(self, keys: Sequence[bytes], reading: Reading) -> tuple[Fetched, list[str]]:
        """Read documents. Returns them, and a line for each that is damaged or lost."""
        for _ in range(_TRIES):
            places = self._parts.index.find(self.name, keys, self._shared.bounds.newer_than())
            with suppress(FileNotFoundError):  # compacted or evicted since the index was asked
                return reading.fetch(keys, places)
        lost = {place for place in places if place is not None and not self._is_there(place)}
        fetched, damage = reading.fetch(keys, [None if place in lost else place for place in places])
        return fetched, [*damage, *(f"segment {unpack_place(place)[0]} is lost" for place in lost)]

    def _is_there(self, place: Place) -> bool:
        return path_of(self._shared.path, unpack_place(place)[0]).exists()


def _chunks(positions: Sequence[int], sizes: Sequence[int], most_bytes: int) -> Iterator[list[int]]:
    """Cut positions into runs whose sizes stay below `most_bytes` together, each of at least one position."""
    chunk: list[int] = []
    n_bytes = 0
    for position in positions:
        if chunk and n_bytes + sizes[position] > most_bytes:
            yield chunk
            chunk, n_bytes = [], 0
        chunk.append(position)
        n_bytes += sizes[position]
    if chunk:
        yield chunk
