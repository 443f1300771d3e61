"""Token vectors that a team keeps in a database of its own. In: ids of rows. Out: packed vectors. Nothing is ever written."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from late_rerank.stores.existing.store import ExistingVectorsStore

if TYPE_CHECKING:
    from late_rerank.stores.existing.lance import LanceVectors as LanceVectors
    from late_rerank.stores.existing.postgres import PostgresVectors as PostgresVectors

_HOMES = {
    "LanceVectors": "late_rerank.stores.existing.lance",
    "PostgresVectors": "late_rerank.stores.existing.postgres",
}

__all__ = ["ExistingVectorsStore", "LanceVectors", "PostgresVectors"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
