"""A place as a user names it -> the store there."""

from __future__ import annotations

import os
import re
from importlib import import_module
from typing import Protocol, cast

from late_rerank.stores.base import Store
from late_rerank.stores.folders import folder_at
from late_rerank.stores.memory import MemoryStore

# A URL's beginning -> the room beside this file that opens it, in its module `opening`.
_ROOMS = {
    "redis://": "redis",
    "rediss://": "redis",
    "unix://": "redis",
    "postgresql://": "postgres",
    "postgres://": "postgres",
    "s3://": "remote",
    "gs://": "remote",
    "az://": "remote",
    "file://": "remote",
}

# "redis:/x" is a slip, no folder. One letter before the colon is a drive of Windows.
_URL = re.compile(
    r"[A-Za-z][A-Za-z0-9+.-]+://|(az|file|gs|http|https|memory|postgres|postgresql|redis|rediss|s3|sqlite|unix):", re.IGNORECASE
)
# The name that SQLite gives to a database in memory.
_MEMORY = ":memory:"


class Room(Protocol):
    """What the module `opening` of a room has, whose stores are named by URLs. Each room loads its own libraries."""

    def open_url(self, url: str) -> Store:
        """Open the store. A query goes on without a service that doesn't answer, if the kind of store allows that.

        Raises:
            ValueError: If the URL is wrong; the message shows no password.
        """

    def open_answering(self, url: str, *, timeout_s: float, retries: int) -> Store:
        """Open the store for a command. A service that doesn't answer is an error.

        Args:
            url: The store's.
            timeout_s: Seconds to wait for the service.
            retries: How often it is asked again.

        Raises:
            ValueError: If the URL is wrong.
            StoreConnectionError: If the service can't be reached.
        """

    def shown_url(self, url: str) -> str:
        """Give the URL for output, without its password.

        Raises:
            ValueError: If the URL is wrong.
        """


def open_store(where: str | os.PathLike[str]) -> Store:
    """Open the store at a place. The caller closes it.

    Args:
        where: The place. "redis://...", "rediss://..." or "unix://..." is a Redis server, "postgresql://..." a database.
            "s3://bucket/prefix", "gs://...", "az://..." or "file:///folder" is a store in object storage, which is read through
            a near copy on this machine's disk. ":memory:" is this process's memory. Anything else is a folder; it is made if it
            isn't there. "~" is the user's home.

    Returns:
        A MemoryStore, RedisStore, PostgresStore, DiskStore, or a TieredStore before object storage. A folder with a published
        store gives a PublishedStore, which only reads.

    Raises:
        ValueError: If `where` is another kind of URL, blank, or "~name" of an unknown user.
        StoreError: If the store can't be opened, reached or read.
        MissingDependencyError: If the store's client isn't installed.
    """
    room = room_of(where)
    if room is not None:
        return room.open_url(str(where))
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
        "store must be None or ':memory:' (this process's memory), a folder, a URL or a Store, "
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
    """Whether it is a URL of a store; else it is a folder, or ":memory:". A Path is always a folder.

    Raises:
        ValueError: If it is a URL of another kind, or blank.
    """
    if not isinstance(where, str):
        return False
    if where.startswith(tuple(_ROOMS)):
        return True
    other = _URL.match(where)
    if other or not where.strip():
        given = f'a place that begins with "{other[0]}"' if other else repr(where)  # a password may follow
        raise ValueError(
            "a store is ':memory:', a folder, or a URL: redis://HOST:PORT/0, rediss://... or unix://PATH, postgresql://..., "
            f"s3://BUCKET/PREFIX, gs://..., az://... or file:///FOLDER; got {given}"
        )
    return False


def room_of(where: str | os.PathLike[str]) -> Room | None:
    """Give the room that opens a URL; None if it is a folder, or ":memory:".

    Raises:
        ValueError: If it is a URL of another kind, or blank.
    """
    if not is_url(where):
        return None
    scheme = next(scheme for scheme in _ROOMS if str(where).startswith(scheme))
    return cast("Room", import_module(f"late_rerank.stores.{_ROOMS[scheme]}.opening"))
