"""Document key -> packed vectors. A store never sees text, queries or scores, and never opens a codec.

A document's key is a digest of its content, made outside; a space holds the vectors of one encoder under one codec.
Each kind of store is loaded on first use, since it brings libraries that the others don't need.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from late_rerank.stores.base import Space, Store
from late_rerank.stores.memory import MemoryStore
from late_rerank.stores.opening import as_store, open_store
from late_rerank.stores.tiered import TieredStore

if TYPE_CHECKING:
    from late_rerank.stores.disk import DiskStore as DiskStore
    from late_rerank.stores.disk import PublishedStore as PublishedStore
    from late_rerank.stores.postgres import PostgresStore as PostgresStore
    from late_rerank.stores.redis import RedisStore as RedisStore
    from late_rerank.stores.remote import RemoteStore as RemoteStore

_HOMES = {
    "DiskStore": "late_rerank.stores.disk",
    "PostgresStore": "late_rerank.stores.postgres",
    "PublishedStore": "late_rerank.stores.disk",
    "RedisStore": "late_rerank.stores.redis",
    "RemoteStore": "late_rerank.stores.remote",
}

__all__ = [
    "DiskStore",
    "MemoryStore",
    "PostgresStore",
    "PublishedStore",
    "RedisStore",
    "RemoteStore",
    "Space",
    "Store",
    "TieredStore",
    "as_store",
    "open_store",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
