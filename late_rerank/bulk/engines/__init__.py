"""Engines that do tasks on many workers. Each is loaded on first use, and imports one library."""

from __future__ import annotations

from importlib import import_module
from typing import cast

from late_rerank.bulk.engines.base import Engine, EngineError, MakeWorker, Outcome, Task, Works

_HOMES = {"local": "LocalEngine", "ray": "RayEngine", "dask": "DaskEngine", "spark": "SparkEngine"}

NAMES = tuple(_HOMES)

__all__ = ["NAMES", "Engine", "EngineError", "MakeWorker", "Outcome", "Task", "Works", "as_engine"]


def as_engine(given: str | Engine, address: str | None = None) -> Engine:
    """Make the engine of that name, or give an Engine as it is.

    Args:
        given: "local", "ray", "dask", "spark" or an Engine.
        address: Where a cluster is; None for this machine.

    Raises:
        ValueError: If there is no engine of that name, or an address is given to one that takes none.
        TypeError: If it is neither.
        MissingDependencyError: If its library isn't installed.
    """
    if isinstance(given, Engine):
        if address is not None:
            raise ValueError(f"address={address!r} is for an engine given by name; give it to {type(given).__name__} itself")
        return given
    if not isinstance(given, str):
        raise TypeError(f"engine must be one of {', '.join(NAMES)}, or an Engine, got {type(given).__name__}")
    if given not in _HOMES:
        raise ValueError(f"engine={given!r} is not known; choose one of {', '.join(NAMES)}, or pass an Engine")
    if given == "local" and address is not None:
        raise ValueError(f'engine="local" runs on this machine and takes no address, got {address!r}')
    kind = getattr(import_module(f"late_rerank.bulk.engines.{given}"), _HOMES[given])
    return cast("Engine", kind() if address is None else kind(address))
