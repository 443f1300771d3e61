"""A Redis URL -> its store."""

from __future__ import annotations

from late_rerank.stores import redis
from late_rerank.stores.base import Store
from late_rerank.stores.redis.address import shown_url

__all__ = ["open_answering", "open_url", "shown_url"]


def open_url(url: str) -> Store:
    """Open the store. A query goes on without a server that doesn't answer."""
    return redis.RedisStore(url)


def open_answering(url: str, *, timeout_s: float, retries: int) -> Store:
    """Open the store for a command. A server that doesn't answer is an error."""
    return redis.RedisStore(url, on_error="raise", timeout_s=timeout_s, retries=retries)
