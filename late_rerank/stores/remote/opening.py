"""A URL of object storage -> its store, with a near copy on this machine's disk before it."""

from __future__ import annotations

import re
from hashlib import blake2b
from pathlib import Path

from late_rerank.errors import StoreError
from late_rerank.stores.base import Store
from late_rerank.stores.disk import DiskStore, PublishedStore, is_store
from late_rerank.stores.disk.format_file import PUBLISHED
from late_rerank.stores.folders import cache_home
from late_rerank.stores.memory import MemoryStore
from late_rerank.stores.remote.address import Address, folder_of, read_address
from late_rerank.stores.remote.committing import FORMAT_NAME
from late_rerank.stores.remote.store import POLL_S, RemoteStore
from late_rerank.stores.tiered import TieredStore
from late_rerank.warn import warn_caller

# 400,000 documents of 180 tokens, int8, 128 dimensions.
CACHE_BYTES = 10 * 2**30


def open_url(url: str) -> Store:
    """Open the store for reading, behind a near store that keeps what was read. New documents go into the near store.

    Args:
        url: "s3://bucket/prefix" or the like. "?cache=/folder" says where the near store lies, by default a folder of the
            user's cache ($XDG_CACHE_HOME, else ~/.cache). "cache_bytes=50GB" bounds it, by default 10 GiB. "poll_s=5" says how
            often to look for new commits. The URL of a folder that was published to disk gives its PublishedStore.

    Raises:
        ValueError: If the URL is wrong.
        MissingDependencyError: If obstore isn't installed.
        StoreError: If there is no store.
    """
    address = read_address(url)
    published = _published(address)
    if published is not None:
        return published
    far = RemoteStore(address.url, poll_s=address.poll_s or POLL_S)
    try:
        return TieredStore(_near(address), far, behind=True)
    except BaseException:
        far.close()
        raise


def open_answering(url: str, *, timeout_s: float, retries: int) -> Store:
    """Open the store for a command that looks after it: without a near store. A service that doesn't answer is an error."""
    address = read_address(url)
    return _published(address) or RemoteStore(address.url, on_error="raise", timeout_s=timeout_s, retries=retries)


def shown_url(url: str) -> str:
    """Give the URL for output. It holds no password.

    Raises:
        ValueError: If the URL is wrong.
    """
    read_address(url)
    return url


def cache_folder(url: str) -> Path:
    """Give the default folder of a URL's near store: each URL has one of its own.

    Raises:
        StoreError: If the user has no home.
    """
    readable = re.sub(r"[^A-Za-z0-9.]+", "-", url)[:60].strip("-")
    return cache_home() / "late-rerank" / "stores" / f"{readable}-{blake2b(url.encode(), digest_size=6).hexdigest()}"


def _published(address: Address) -> PublishedStore | None:
    """Open the store of a folder that was published to disk; None if it is no such folder."""
    folder = folder_of(address.url)
    if folder is None or not is_store(folder) or PUBLISHED not in (folder / FORMAT_NAME).read_text(errors="replace"):
        return None
    return PublishedStore(folder)


def _near(address: Address) -> Store:
    most_bytes = address.cache_bytes or CACHE_BYTES
    if address.cache is not None:
        return DiskStore(address.cache, max_bytes=most_bytes)
    try:
        return DiskStore(cache_folder(address.url), max_bytes=most_bytes)
    except (StoreError, OSError) as error:
        warn_caller(
            f"the folder of this user's caches can't keep near documents of {address.url}: {error}. They are kept in memory. "
            'Name a folder: "?cache=/folder"',
            RuntimeWarning,
        )
        return MemoryStore()
