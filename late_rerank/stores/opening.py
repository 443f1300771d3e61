"""A place as a user names it -> the store there."""

from __future__ import annotations

import os
import re

from late_rerank.stores.base import Store
from late_rerank.stores.folders import folder_at
from late_rerank.stores.memory import MemoryStore

REDIS_SCHEMES = ("redis://", "rediss://", "unix://")

# "redis:/x" is a slip, no folder. One letter before the colon is a drive of Windows.
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://|(file|http|https|memory|redis|rediss|sqlite|unix):", re.IGNORECASE)
# The name that SQLite gives to a database in memory.
_MEMORY = ":memory:"


def open_store(where: str | os.PathLike[str]) -> Store:
    """Open the store at a place. The caller closes it.

    Args:
        where: The place. "redis://...", "rediss://..." or "unix://..." is a Redis server. ":memory:" is this process's memory.
            Anything else is a folder; it is made if it isn't there. "~" is the user's home.

    Returns:
        A MemoryStore, a RedisStore or a DiskStore. A folder with a published store gives a PublishedStore, which only reads.

    Raises:
        ValueError: If `where` is another kind of URL, blank, or "~name" of an unknown user.
        StoreError: If the store can't be opened, reached or read.
        MissingDependencyError: If Redis's client isn't installed.
    """
    # Each kind of store loads its own libraries.
    if is_url(where):
        from late_rerank.stores.redis import RedisStore  # noqa: PLC0415

        return RedisStore(str(where))
    if where == _MEMORY:
        return MemoryStore()
    from late_rerank.stores.disk import open_folder  # noqa: PLC0415

    return open_folder(folder_at(where))


def as_store(given: str | os.PathLike[str] | Store | None) -> Store:
    """Open the store at a place, or give a Store as it is.

    None is this process's memory. Close only a store that this function opened.

    Raises:
        TypeError: If `given` is none of these kinds.
        ValueError: If `given` is another kind of URL, or blank.
        StoreError: If the store can't be opened.
    """
    if given is None:
        return MemoryStore()
    if isinstance(given, Store):
        return given
    if isinstance(given, (str, os.PathLike)):
        return open_store(given)
    raise TypeError(
        "store must be None or ':memory:' (this process's memory), a folder, a Redis URL or a Store, "
        f"got {type(given).__name__}: {given!r:.60}"
    )


def would_be_made(where: str | os.PathLike[str]) -> bool:
    """Whether `open_store` would make a new store there.

    Raises:
        ValueError: If `where` is a URL of another kind, or blank.
    """
    if is_url(where) or where == _MEMORY:
        return False
    folder = folder_at(where)
    return not folder.exists() or (folder.is_dir() and not any(folder.iterdir()))


def is_url(where: str | os.PathLike[str]) -> bool:
    """Whether it is a Redis server's URL; else it is a folder, or ":memory:". A Path is always a folder.

    Raises:
        ValueError: If it is a URL of another kind, or blank.
    """
    if not isinstance(where, str):
        return False
    if where.startswith(REDIS_SCHEMES):
        return True
    other = _URL.match(where)
    if other or not where.strip():
        given = f'a place that begins with "{other[0]}"' if other else repr(where)  # a password may follow
        raise ValueError(
            "a store is ':memory:', a folder, or a Redis server as redis://HOST:PORT/0, rediss://... or unix://PATH; "
            f"got {given}"
        )
    return False
