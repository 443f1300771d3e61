"""A run: one sorted keys object over some segments, as a manifest names it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import blake2b
from typing import Any

from late_rerank.errors import StoreFormatError

# Of more replaced runs the oldest are forgotten: 200 KB of a manifest.
_MOST_REPLACED = 10_000


@dataclass(frozen=True)
class Run:
    """Documents of one space that were written together. Of two runs with one key the newer counts.

    Attributes:
        space: Its name: fingerprint and codec as JSON.
        n_documents: How many documents its keys name; tombstones don't count.
        keys: The object of its sorted keys.
        segments: The object of each segment, by the number that the keys have for it.
        size_bytes: Bytes of keys and segments together.
        keys_bytes: Bytes of the keys alone.
        n_deleted: Tombstones among its keys: documents of older runs that don't count any more.
        level: How often it was merged from other runs.
        replaced: The ids of runs that it stands for, newest first: those that it was merged from, or that had the same keys.
    """

    space: str
    n_documents: int
    keys: str
    segments: Mapping[int, str]
    size_bytes: int
    keys_bytes: int
    n_deleted: int = 0
    level: int = 0
    replaced: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """What tells it from other runs: two with one id have the same documents."""
        named = [self.space, self.keys, *(f"{number} {name}" for number, name in sorted(self.segments.items()))]
        return blake2b("\n".join(named).encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()

    def objects(self) -> list[str]:
        """List the objects that it needs."""
        return [self.keys, *self.segments.values()]

    def to_json(self) -> dict[str, Any]:
        """Give it as JSON values."""
        given = {**asdict(self), "segments": {str(number): name for number, name in sorted(self.segments.items())}}
        if not given.pop("replaced"):
            return given
        return {**given, "replaced": list(self.replaced)}

    @classmethod
    def from_json(cls, given: Mapping[str, Any]) -> Run:
        """Read it from JSON values; what a later version added is passed over.

        Raises:
            StoreFormatError: If something is missing or of another kind.
        """
        try:
            return cls(
                space=str(given["space"]),
                n_documents=int(given["n_documents"]),
                keys=str(given["keys"]),
                segments={int(number): str(name) for number, name in given["segments"].items()},
                size_bytes=int(given["size_bytes"]),
                keys_bytes=int(given["keys_bytes"]),
                n_deleted=int(given.get("n_deleted", 0)),
                level=int(given.get("level", 0)),
                replaced=tuple(str(name) for name in given.get("replaced", ())),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise StoreFormatError(f"a run must have space, keys and segments, got {str(given)[:80]}") from error


def ids_of(runs: Iterable[Run]) -> set[str]:
    """Give the ids of all runs that are here, in their own place or in the place of one that replaced them."""
    return {name for run in runs for name in (run.id, *run.replaced)}


def replaced_by(new: Run, runs: Sequence[Run]) -> tuple[str, ...]:
    """Give the `replaced` of a new run that takes the place of some runs, newest first."""
    names = dict.fromkeys(name for run in (new, *runs) for name in (run.id, *run.replaced))
    names.pop(new.id)
    return tuple(names)[:_MOST_REPLACED]
