"""Whether objects are there, now. What a listing said is old by the time that somebody acts on it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

from late_rerank.stores.remote.found import Found
from late_rerank.stores.remote.objects import Objects

# Of more objects a listing takes less time than asking for each.
_ASKED_ONE_BY_ONE = 64
_AT_ONCE = 16
_FOLDERS = ("keys", "segments")


def look_at(objects: Objects, names: Sequence[str]) -> list[Found]:
    """Look at some objects, several at a time. Gives those that are there, in the asked order.

    Raises:
        StoreConnectionError: If the service can't be reached, or refuses.
    """
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        return [found for found in threads.map(objects.look, names) if found is not None]


def absent(objects: Objects, names: Collection[str]) -> set[str]:
    """Name the segments and keys of some that aren't there.

    Raises:
        StoreConnectionError: If the service can't be reached, or refuses.
    """
    there: Iterable[Found]
    if len(names) > _ASKED_ONE_BY_ONE:
        there = (found for folder in _FOLDERS for found in objects.list(folder))
    else:
        there = look_at(objects, list(names))
    return set(names) - {found.name for found in there}
