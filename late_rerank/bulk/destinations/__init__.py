"""Where workers write to, and how what they wrote becomes visible."""

from __future__ import annotations

from late_rerank.bulk.destinations.base import Destination, LostObjectsError
from late_rerank.bulk.destinations.remote import RemoteDestination
from late_rerank.bulk.destinations.shared import SharedDestination
from late_rerank.stores.opening import is_url
from late_rerank.stores.remote.address import SCHEMES

__all__ = ["Destination", "LostObjectsError", "destination_at"]


def destination_at(store: str) -> Destination:
    """Give the destination that a store's place names. Nothing is opened yet.

    Args:
        store: A folder or a URL.

    Raises:
        ValueError: If it is another kind of URL, or this process's memory.
    """
    if store == ":memory:":
        raise ValueError("store=':memory:' is this process's memory, which workers don't share; give a folder or a URL")
    if is_url(store) and store.startswith(SCHEMES):
        return RemoteDestination(store)
    return SharedDestination(store)
