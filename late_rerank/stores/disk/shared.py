"""What a DiskStore and its spaces have in common: the parts, the bounds, the counts."""

from __future__ import annotations

import math
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from late_rerank.errors import StoreError
from late_rerank.stores.disk.eviction import Eviction
from late_rerank.stores.disk.files import os_errors_as_store_errors, reason_of
from late_rerank.stores.disk.frozen import HOW_TO_READ_ONLY, unwritable
from late_rerank.stores.disk.internals import Internals
from late_rerank.stores.disk.parts import Parts
from late_rerank.warn import warn_caller


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a store was opened with.

    Attributes:
        max_bytes: What the documents of all spaces may take; None for no bound.
        ttl_s: After how many seconds a document is a miss; None for never.
        check: Whether each read computes checksums.
    """

    max_bytes: int | None
    ttl_s: float | None
    check: bool

    def check_values(self, internals: Internals) -> None:
        """Raise a ValueError if a bound or time is out of range."""
        least = internals.least_bytes
        if self.max_bytes is not None and not least <= self.max_bytes < math.inf:
            raise ValueError(f"max_bytes must be at least {least} (1 MiB), or None for no bound, got {self.max_bytes}")
        if self.ttl_s is not None and not 0 < self.ttl_s < math.inf:
            raise ValueError(f"ttl_s must be above 0 seconds, or None for no end, got {self.ttl_s}")

    def newer_than(self) -> int:
        """Return the time (seconds since 1970) up to which documents have expired; -1 if none ever do.

        Whole seconds are stored: a document lives as long as was asked for, and up to a second more.
        """
        return -1 if self.ttl_s is None else math.floor(time.time() - self.ttl_s) - 1


class Shared:
    """One open store, as the store itself and its spaces see it.

    Raises:
        ValueError: If the folder holds other files.
        StoreError: If the store can't be opened or made.

    Attributes:
        parts: Index, segments, locks.
        bounds: What the store was opened with.
        eviction: Keeps the store within its bound.
        check_first: Whether to compute a record's checksum when this process first reads it.
        n_damaged: Damaged documents met.
        is_closed: Whether the store was closed.
    """

    def __init__(self, path: Path, bounds: Bounds, internals: Internals) -> None:
        if bounds.max_bytes is not None:
            internals = replace(internals, segment_bytes=min(bounds.max_bytes // 8, internals.segment_bytes))
        self.path = path
        self.bounds = bounds
        self.parts = Parts(path, internals)
        self.check_first = self.parts.open()
        self.eviction = Eviction(self.parts, bounds.max_bytes)
        self.n_damaged = 0
        self.is_closed = False
        self._warned_of_index = False
        self._next_tick = time.monotonic() + internals.tick_s
        self._finalizer = weakref.finalize(self, self.parts.close)

    @contextmanager
    def writing_alone(self) -> Iterator[None]:
        """Be the one thread that writes.

        Raises:
            StoreError: If the store was closed, can't be written to, or the disk fails meanwhile.
        """
        with self.parts.write_lock, os_errors_as_store_errors(self.path):
            self.refuse_if_closed()
            reason = unwritable(self.path)
            if reason:
                raise StoreError(f"{reason}. {HOW_TO_READ_ONLY.format(self.path)}")
            yield

    def refuse_if_closed(self) -> None:
        """Raise a StoreError if the store was closed."""
        if self.is_closed:
            raise StoreError(f"the store {self.path} was closed; open it again")

    def follow_index(self) -> None:
        """Read the index that is there now. Segments of one that was made again may bear numbers of older ones."""
        if self.parts.index.was_replaced():
            self.parts.index.reopen()
            self.parts.mappings.keep(set())

    def let_removed_go(self) -> None:
        """Unmap segments that are gone: a removed file takes room on the disk as long as somebody has it mapped."""
        self.parts.mappings.keep({segment.id for segment in self.parts.index.segments()})

    def tick(self) -> None:
        """From time to time note which segments were used, follow the index, and let go of removed segments."""
        now = time.monotonic()
        if now < self._next_tick:
            return
        self._next_tick = now + self.parts.internals.tick_s
        self.parts.mappings.note_use()
        self.follow_index()
        self.let_removed_go()

    def tell_unreadable(self, error: Exception) -> None:
        """Warn once that the store, or a part of it, can't be read."""
        if not self._warned_of_index:
            self._warned_of_index = True
            warn_caller(
                f"the store {self.path}, or a part of it, can't be read: {reason_of(error)}. What can't be read counts as "
                "missing; this is said once"
            )

    def count_damage(self, damage: list[str]) -> None:
        """Count damaged documents, of which each line tells one, and warn of the first."""
        first = not self.n_damaged
        self.n_damaged += len(damage)
        if first:
            warn_caller(
                f"{self.path}: {damage[0]}; such documents count as missing, further ones are counted in stats()['n_damaged']. "
                f"late-rerank store verify {self.path} lists them, and says what mends the store"
            )

    def close(self) -> None:
        """Seal the segments and let go of all files; a second time it does nothing."""
        with self.parts.write_lock:
            self.is_closed = True
            self.parts.mappings.note_use()
            self.parts.mappings.keep(set())
            self._finalizer()
