"""A door into DiskStore for this repository's tests and tools: other sizes, and the parts. Not public."""

from __future__ import annotations

from late_rerank.stores.disk.internals import Internals
from late_rerank.stores.disk.parts import Parts
from late_rerank.stores.disk.store import DiskStore


def with_internals(internals: Internals) -> type[DiskStore]:
    """Make a DiskStore class with other sizes, waits and habits: `with_internals(Internals(segment_bytes=20_000))(folder)`.

    A pickled store of it opens as an ordinary DiskStore.
    """
    return type(DiskStore.__name__, (DiskStore,), {"_internals": internals})


def parts_of(store: DiskStore) -> Parts:
    """Return the index, segments and locks of an open store."""
    return store._parts  # noqa: SLF001 - so that no test and no tool has to
