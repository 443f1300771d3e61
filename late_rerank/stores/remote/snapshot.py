"""A store as one manifest says: its spaces, their runs, and the keys that were opened."""

from __future__ import annotations

from dataclasses import replace
from threading import Lock

from late_rerank.processes.forks import guarded
from late_rerank.stores.remote.keys import RunKeys, open_keys
from late_rerank.stores.remote.manifest import Manifest
from late_rerank.stores.remote.objects import Objects
from late_rerank.stores.remote.runs import Run


class Snapshot:
    """A manifest, and the keys of its runs, which are opened when they are needed.

    Args:
        objects: Of the store.
        manifest: The manifest.
        before: The snapshot before this one: its keys are used again.

    Attributes:
        manifest: The manifest.
        counted: How many documents a space has, of spaces whose keys were compared.
    """

    def __init__(self, objects: Objects, manifest: Manifest, before: Snapshot | None = None) -> None:
        self.manifest = manifest
        self.counted: dict[str, int] = {}
        self._objects = objects
        self._opened: dict[str, RunKeys] = {}
        self._lock = guarded(Lock())
        if before is not None:
            names = {run.keys for run in manifest.runs}
            self._opened = {name: known for name, known in before.opened().items() if name in names}

    def opened(self) -> dict[str, RunKeys]:
        """Give the keys that were opened, by their object."""
        with self._lock:
            return dict(self._opened)

    def spaces(self) -> dict[str, list[Run]]:
        """Give the runs of each space, newest first; the space whose first run is oldest comes first."""
        found: dict[str, list[Run]] = {}
        for run in reversed(self.manifest.runs):
            found.setdefault(run.space, []).insert(0, run)
        return found

    def keys_of(self, space: str) -> list[RunKeys]:
        """Give the keys of a space's runs, newest first; open those that weren't.

        Raises:
            GoneError: If one isn't there any more: there is a newer manifest.
            StoreConnectionError: If the service can't be reached.
            StoreFormatError: If one is damaged.
        """
        runs = [run for run in self.manifest.runs if run.space == space]
        known = self.opened()
        new = [run for run in runs if run.keys not in known]
        if new:
            more = {opened.run.keys: opened for opened in open_keys(self._objects, new)}
            with self._lock:
                self._opened |= more
            known |= more
        # Keys name segments by numbers, so two runs may have the same keys and other segments.
        return [replace(known[run.keys], run=run) for run in runs]

    def in_use(self) -> set[str]:
        """Name the spaces whose keys were opened."""
        return {known.run.space for known in self.opened().values()}
