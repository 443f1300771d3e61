"""How a store works inside: sizes, waits and habits that no user sets, and that tests make small."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Internals:
    """Sizes, waits and habits of a DiskStore. None of them changes the format on disk.

    Attributes:
        segment_bytes: Size from which a segment is full. A bounded store takes an eighth of its bound where that is less.
        least_bytes: The smallest bound that a user may set.
        log_bytes: Size of SQLite's log from which a commit brings it into the database. A large index takes up to eight
            times that.
        join_below: Share of `segment_bytes`. Compaction joins segments that are smaller, where there are several.
        resumes: Whether a writer goes on with a sealed segment that has room. If not, it begins a new one.
        busy_s: How long SQLite waits for another program that keeps the index locked.
        tick_s: How often a reader notes which segments it uses, and lets go of removed ones.
    """

    segment_bytes: int = 2**30
    least_bytes: int = 2**20
    log_bytes: int = 8 * 2**20
    join_below: float = 0.25
    resumes: bool = True
    busy_s: float = 60.0
    tick_s: float = 10.0


USUAL = Internals()
