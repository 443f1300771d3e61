"""Where documents lie, and which places a process remembers between two queries."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from threading import Lock

from late_rerank.stores.disk import lookups
from late_rerank.stores.disk.connections import Reader

# Segment, offset, n_tokens and flags as four int64: one object to touch instead of five, and a hundred join to an array.
Place = bytes
_PLACE = struct.Struct("=4q")
pack_place = _PLACE.pack
unpack_place = _PLACE.unpack

# Places remembered, a space: 20 MB.
_MOST_KNOWN = 2**16


class PlaceCache:
    """The places of documents, remembered until a document is replaced, deleted or moved. Safe to share between threads.

    SQLite says in 8 us whether anybody committed anything; a query for 100 places takes 150.
    """

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._lock = Lock()
        self._version = (-1, -1)  # the reader's, when `_known` was right
        self._dead: dict[int, int] = {}  # dead documents by segment, then
        self._known: dict[str, dict[bytes, Place]] = {}

    def find(self, space: str, keys: Sequence[bytes]) -> list[Place | None]:
        """Find where each key's document lies, None where it isn't here: one query for the keys that aren't remembered."""
        version = self._reader.version()
        known = self._known_at(space, version)
        places = list(map(known.get, keys))
        if None in places:
            found = self.look_up(space, [key for key, place in zip(keys, places, strict=True) if place is None])
            # A commit since then may have made the segment that was found. If that segment goes before the next look, no count
            # of its dead documents will tell.
            if self._reader.version() == version:
                if len(known) + len(found) > _MOST_KNOWN:
                    known.clear()
                known.update(found)
            places = [place or found.get(key) for key, place in zip(keys, places, strict=True)]
        return places

    def look_up(self, space: str, keys: Sequence[bytes], newer_than: int = -1) -> dict[bytes, Place]:
        """Ask the index, and remember nothing. Documents not stored after `newer_than` (seconds since 1970) are not found."""
        rows = self._reader.ask(lookups.find, space, keys, newer_than)
        return {key: pack_place(segment, offset, n_tokens, flags) for key, segment, offset, n_tokens, flags in rows}

    def after_fork(self) -> None:
        """Go on in a child, with a lock that no thread of the parent holds."""
        self._lock = Lock()

    def _known_at(self, space: str, version: tuple[int, int]) -> dict[bytes, Place]:
        if version != self._version:
            with self._lock:
                self._forget_what_changed(version)
        return self._known.setdefault(space, {})

    def _forget_what_changed(self, version: tuple[int, int]) -> None:
        if version[0] != self._version[0]:  # another connection, perhaps to another file
            self._known, self._dead = {}, {}
        # A segment's count of dead documents only grows, and whatever takes a document from its place leaves one dead there.
        # So places are right as long as no count grew. New documents alone, such as misses, change none.
        dead = self._reader.ask(lookups.dead_counts)
        # A segment that wasn't there then counts as one without dead: its places may have been found just after.
        if self._dead.keys() - dead.keys() or any(self._dead.get(segment, 0) != n_dead for segment, n_dead in dead.items()):
            self._known = {}  # a new dict: a thread may be looking things up in the old one, which was right when it began
        self._version, self._dead = version, dead
