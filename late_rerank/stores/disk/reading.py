"""Rows of the index -> packed documents, where they lie in mapped segments."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from late_rerank.errors import StoreFormatError
from late_rerank.stores.disk.mapped import MappedSegments
from late_rerank.stores.disk.places import Place, unpack_place
from late_rerank.stores.disk.segment import MappedSegment
from late_rerank.stores.record import HEADER_BYTES, MAGIC, TRUNCATED, checked_header, layout, read_headers
from late_rerank.types import I64, CodecSpec, Fetched, PackedVectors


class Reading:
    """Documents of one space, read in place.

    Args:
        mappings: Of the store.
        space: The space's name.
        codec: Of the space.
        check: Whether to compute each record's checksum.
        check_first: Whether to compute it when this process reads the record for the first time.

    Attributes:
        refused: Why documents are missing, by segment: the system didn't let this process read it. They count as no damage.
    """

    def __init__(
        self, mappings: MappedSegments, space: str, codec: CodecSpec, *, check: bool, check_first: bool = False
    ) -> None:
        self._mappings = mappings
        self._space = space
        self._codec = codec
        self._check = check
        self._check_first = check or check_first
        self.refused: dict[int, OSError] = {}

    def fetch(self, keys: Sequence[bytes], places: Sequence[Place | None]) -> tuple[Fetched, list[str]]:
        """Read documents, in the order of the asked keys.

        Args:
            keys: As asked, with repetitions.
            places: Of each key's document, None where the index doesn't have it.

        Returns:
            The documents, and a line for each damaged one, which says why it is missing; see also `refused`.

        Raises:
            FileNotFoundError: If a segment was removed since the index was asked: ask it again.
        """
        joined = b"".join([place for place in places if place is not None])
        segment, offset, lengths, flags = np.frombuffer(joined, dtype=np.int64).reshape(-1, 4).T.copy()
        starts, sizes = layout(self._codec.columns, lengths, HEADER_BYTES)
        mapped, which, damaged, unknown = self._map(segment, offset, offset + sizes)
        if unknown.any():
            there = [(key, place) for key, place in zip(keys, places, strict=True) if place is not None]
            damaged |= self._unlike(there, mapped, which, sizes, unknown)
        if damaged.any():
            return self._without(keys, places, damaged)
        found = PackedVectors(
            codec=self._codec,
            buffers=tuple([mapping.bytes for mapping in mapped if mapping is not None]),
            buffer=which,
            starts={name: offset + start for name, start in starts.items()},
            lengths=lengths,
            truncated=(flags & TRUNCATED) != 0,
        )
        if len(found) == len(places):
            return Fetched(found, np.arange(len(places), dtype=np.int64), np.empty(0, dtype=np.int64)), []
        here = np.array([place is not None for place in places], dtype=np.bool_)
        return Fetched(found, np.flatnonzero(here), np.flatnonzero(~here)), []

    def _without(
        self, keys: Sequence[bytes], places: Sequence[Place | None], damaged: NDArray[np.bool_]
    ) -> tuple[Fetched, list[str]]:
        """Read documents as if the damaged ones weren't here."""
        bad = iter(damaged.tolist())
        rest = [None if place is None or next(bad) else place for place in places]
        lost = [place for place, left in zip(places, rest, strict=True) if place is not None and left is None]
        found, more = self.fetch(keys, rest)
        damaged_at = [place for place in map(unpack_place, lost) if place[0] not in self.refused]
        return found, [*(f"the document at byte {offset} of segment {i} is damaged" for i, offset, *_ in damaged_at), *more]

    def _map(
        self, segment: I64, start: I64, end: I64
    ) -> tuple[list[MappedSegment | None], NDArray[np.int32], NDArray[np.bool_], NDArray[np.bool_]]:
        """Map segments. Returns them; for each document its segment, whether it is cut off, whether it is unknown."""
        ids = list(dict.fromkeys(segment.tolist()))
        which = np.zeros(len(segment), dtype=np.int32)
        damaged = np.zeros(len(segment), dtype=np.bool_)
        unknown = np.zeros(len(segment), dtype=np.bool_)
        mapped = []
        for i, segment_id in enumerate(ids):
            mine = slice(None) if len(ids) == 1 else np.flatnonzero(segment == segment_id)
            which[mine] = i
            last = int(end[mine].max())
            mapping = self._mapping(segment_id, last)
            mapped.append(mapping)
            if mapping is None:
                damaged[mine] = True
                continue
            new = mapping.unknown(start[mine])
            if self._check or new.any() or last > len(mapping.bytes):
                damaged[mine] = outside = mapping.outside(start[mine], end[mine])
                unknown[mine] = (new | self._check) & ~outside
                if outside.any():
                    continue
            mapping.prefetch(start[mine], end[mine])
        return mapped, which, damaged, unknown

    def _mapping(self, segment_id: int, end: int) -> MappedSegment | None:
        try:
            return self._mappings.get(segment_id, end, self._space)
        except FileNotFoundError:
            raise
        except StoreFormatError:
            return None  # every document in it is damaged
        except OSError as error:  # not ours to read, or too many files are open
            self.refused[segment_id] = error
            return None

    def _unlike(
        self,
        there: Sequence[tuple[bytes, Place]],
        mapped: Sequence[MappedSegment | None],
        which: NDArray[np.int32],
        sizes: I64,
        unknown: NDArray[np.bool_],
    ) -> NDArray[np.bool_]:
        """Tell which of the unknown documents' records aren't as the index says.

        Every record is compared when this process first reads it. An index that was copied, or put back, while its store was
        written may point at zeros, which would score 0.0. It costs 0.1 ms for 100 documents, once.
        """
        unlike = np.zeros(len(there), dtype=np.bool_)
        for i, mapping in enumerate(mapped):
            asked = np.flatnonzero(unknown & (which == i))
            if mapping is None or not len(asked):
                continue
            some = [there[position] for position in asked.tolist()]
            wrong = _unlike_headers(some, mapping, sizes[asked])
            if self._check_first:
                wrong |= _unlike_checksums(some, mapping)
            unlike[asked] = wrong
            mapping.note_known(np.array([unpack_place(place)[1] for _, place in some], dtype=np.int64)[~wrong])
        return unlike


def _unlike_headers(there: Sequence[tuple[bytes, Place]], mapping: MappedSegment, sizes: I64) -> NDArray[np.bool_]:
    """Tell which places don't begin with the header that the index says."""
    whole = mapping.bytes.data
    places = np.frombuffer(b"".join([place for _, place in there]), dtype=np.int64).reshape(-1, 4)
    heads = [whole[offset : offset + HEADER_BYTES] for offset in places[:, 1].tolist()]
    headers = read_headers(heads)
    keys = np.frombuffer(b"".join([key for key, _ in there]), dtype=headers["key"].dtype)
    alike = (headers["magic"] == MAGIC) & (headers["key"] == keys) & (headers["size"] == sizes)
    alike &= (headers["n_tokens"] == places[:, 2]) & (headers["flags"] == places[:, 3])
    unlike: NDArray[np.bool_] = ~alike
    return unlike


def _unlike_checksums(there: Sequence[tuple[bytes, Place]], mapping: MappedSegment) -> NDArray[np.bool_]:
    """Tell which records don't match their checksums."""
    offsets = [unpack_place(place)[1] for _, place in there]
    return np.array([checked_header(mapping.bytes, offset) is None for offset in offsets], dtype=np.bool_)
