"""A Postgres URL -> its store; what stores/opening.py finds in each room."""

from __future__ import annotations

from late_rerank.stores.postgres.address import shown_url
from late_rerank.stores.postgres.store import PostgresStore

__all__ = ["open_answering", "open_url", "shown_url"]

# A command may wait until others have written, or the disk has.
_PATIENT_WRITE_S = 60.0


def open_url(url: str) -> PostgresStore:
    """Open the store for queries: a server that doesn't answer is a miss."""
    return PostgresStore(url)


def open_answering(url: str, *, timeout_s: float, retries: int) -> PostgresStore:
    """Open the store for a command: a server that doesn't answer is a StoreConnectionError."""
    return PostgresStore(
        url, on_error="raise", timeout_s=timeout_s, write_timeout_s=max(_PATIENT_WRITE_S, timeout_s), retries=retries
    )
