"""A run: one sorted keys object over some segments, as a manifest names it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from late_rerank.errors import StoreFormatError


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
    """

    space: str
    n_documents: int
    keys: str
    segments: Mapping[int, str]
    size_bytes: int
    keys_bytes: int
    n_deleted: int = 0
    level: int = field(default=0)

    def objects(self) -> list[str]:
        """List the objects that it needs."""
        return [self.keys, *self.segments.values()]

    def to_json(self) -> dict[str, Any]:
        """Give it as JSON values."""
        return {**asdict(self), "segments": {str(number): name for number, name in sorted(self.segments.items())}}

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
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise StoreFormatError(f"a run must have space, keys and segments, got {str(given)[:80]}") from error
