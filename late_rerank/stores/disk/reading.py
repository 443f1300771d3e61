"""Rows of the index -> packed documents, where they lie in mapped segments."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from threading import Lock

import numpy as np

from late_rerank.errors import StoreFormatError
from late_rerank.stores.disk.index import Found
from late_rerank.stores.disk.segment import Mapping, path_of
from late_rerank.stores.record import HEADER_BYTES, TRUNCATED, checked_header, layout
from late_rerank.types import CodecSpec, Fetched, PackedVectors

# How often a reader notes which segments it uses, and lets go of those that are gone.
TICK_S = 10.0
# A mapping keeps its file open, and a process may open about a thousand.
_MOST_MAPPED = 512


class Mappings:
    """The segments that this process has mapped. Safe to share between threads.

    Args:
        folder: The store's.
        noting: Whether to leave a trace of what was used.
    """

    def __init__(self, folder: Path, *, noting: bool = True) -> None:
        self._folder = folder
        self._noting = noting
        self._mapped: dict[int, Mapping] = {}
        self._used: set[int] = set()
        self._lock = Lock()

    def get(self, segment_id: int, end: int, space: str) -> Mapping:
        """A mapping of the segment that reaches to `end`, unless the file doesn't.

        Raises:
            FileNotFoundError: The segment was removed.
            StoreFormatError: Its header is damaged, or is another segment's or space's.
        """
        mapping = self._mapped.get(segment_id)
        if mapping is None or len(mapping.bytes) < end:
            mapping = self._map(segment_id, space)
        self._used.add(segment_id)
        return mapping

    def note_use(self) -> None:
        """Say which segments were used since the last time, for whoever must choose what to evict.

        A reader can't write the index; a file's time of modification it can set, and only an order is needed.
        """
        with self._lock:
            used, self._used = self._used, set()
        for segment_id in used if self._noting else ():
            with suppress(OSError):  # not ours to write
                os.utime(path_of(self._folder, segment_id))

    def keep(self, segment_ids: set[int]) -> None:
        """Let go of all others: a removed file takes room on the disk as long as somebody has it mapped."""
        with self._lock:
            for segment_id in self._mapped.keys() - segment_ids:
                del self._mapped[segment_id]

    def after_fork(self) -> None:
        """In a child: mappings are shared and stay valid."""
        self._lock = Lock()

    def _map(self, segment_id: int, space: str) -> Mapping:
        path = path_of(self._folder, segment_id)
        mapping = Mapping(path)
        if mapping.header.id != segment_id or mapping.header.space != space:
            raise StoreFormatError(f"{path} says it is segment {mapping.header.id} of {mapping.header.space}")
        with self._lock:
            if segment_id not in self._mapped and self._noting:
                with suppress(OSError):
                    os.utime(path)
            while len(self._mapped) >= _MOST_MAPPED:
                del self._mapped[next(iter(self._mapped))]
            self._mapped[segment_id] = mapping
        return mapping


class Reading:
    """Documents of one space, read in place.

    Args:
        mappings: Of the store.
        space: The space's name.
        codec: Of the space.
        check: Whether to compute each record's checksum.
    """

    def __init__(self, mappings: Mappings, space: str, codec: CodecSpec, *, check: bool) -> None:
        self._mappings = mappings
        self._space = space
        self._codec = codec
        self._check = check

    def fetch(self, keys: Sequence[bytes], rows: Sequence[Found]) -> tuple[Fetched, list[str]]:
        """Documents in the order of the asked keys.

        Args:
            keys: As asked, with repetitions.
            rows: What the index has of them, in any order.

        Returns:
            What was found, and for each document that can't be returned as it was stored a line that says why; it is missing.

        Raises:
            FileNotFoundError: A segment was removed since the index was asked: ask it again.
        """
        by_key = {row[0]: row for row in rows}
        picked = [by_key[key] for key in keys if key in by_key]
        if not picked:
            return _nothing_found(self._codec, len(keys)), []
        segment, offset, lengths, flags = np.array([row[1:] for row in picked], dtype=np.int64).T.copy()
        starts, sizes = layout(self._codec.columns, lengths, HEADER_BYTES)
        ids, which = np.unique(segment, return_inverse=True)
        ends = offset + sizes
        mapped = [self._mapping(number, int(ends[which == i].max())) for i, number in enumerate(ids.tolist())]
        damage = self._prefetch(picked, mapped, which.tolist(), ends.tolist())
        if self._check and not damage:
            damage = _unlike(picked, mapped, which.tolist(), sizes.tolist())
        if damage:
            rest, more = self.fetch(keys, [row for row in picked if row[0] not in damage])
            return rest, [*damage.values(), *more]
        found = PackedVectors(
            codec=self._codec,
            buffers=tuple([mapping.bytes for mapping in mapped if mapping is not None]),
            buffer=which.astype(np.int32),
            starts={name: offset + start for name, start in starts.items()},
            lengths=lengths,
            truncated=(flags & TRUNCATED) != 0,
        )
        if len(picked) == len(keys):
            return Fetched(found, np.arange(len(keys), dtype=np.int64), np.empty(0, dtype=np.int64)), []
        here = np.array([key in by_key for key in keys], dtype=np.bool_)
        return Fetched(found, np.flatnonzero(here), np.flatnonzero(~here)), []

    def _mapping(self, segment_id: int, end: int) -> Mapping | None:
        try:
            return self._mappings.get(segment_id, end, self._space)
        except StoreFormatError:
            return None  # every document in it is damaged

    def _prefetch(
        self, rows: Sequence[Found], mapped: Sequence[Mapping | None], which: Sequence[int], ends: Sequence[int]
    ) -> dict[bytes, str]:
        damage = {}
        for (key, segment_id, offset, *_), i, end in zip(rows, which, ends, strict=True):
            mapping = mapped[i]
            if mapping is None or end > len(mapping.bytes):
                damage[key] = (
                    f"segment {segment_id} is damaged, or shorter than it was when the document at {offset} was written"
                )
            else:
                mapping.prefetch(offset, end)
        return damage


def _unlike(
    rows: Sequence[Found], mapped: Sequence[Mapping | None], which: Sequence[int], sizes: Sequence[int]
) -> dict[bytes, str]:
    """Documents whose records aren't what the index says, or don't match their checksums."""
    damage = {}
    for (key, segment_id, offset, n_tokens, flags), i, size in zip(rows, which, sizes, strict=True):
        mapping = mapped[i]
        header = None if mapping is None else checked_header(mapping.bytes, offset)
        if header is None or (header.key, header.size, header.n_tokens, header.flags) != (key, size, n_tokens, flags):
            damage[key] = f"the record at {offset} of segment {segment_id} is damaged"
    return damage


def _nothing_found(codec: CodecSpec, n_keys: int) -> Fetched:
    none = np.empty(0, dtype=np.int64)
    found = PackedVectors(codec, (), none.astype(np.int32), dict.fromkeys(codec.columns, none), none, none.astype(np.bool_))
    return Fetched(found, none, np.arange(n_keys, dtype=np.int64))
