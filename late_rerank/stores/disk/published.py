"""PublishedStore: a store that is only read, without writing a file."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from late_rerank.errors import StoreError, StoreFormatError
from late_rerank.stores.base import Space, Store
from late_rerank.stores.disk import format_file
from late_rerank.stores.disk.files import os_errors_as_store_errors, reason_of
from late_rerank.stores.disk.keys_file import open_keys
from late_rerank.stores.disk.mapped import MappedSegments
from late_rerank.stores.disk.places import Place, unpack_place
from late_rerank.stores.disk.published_verification import verify_published
from late_rerank.stores.disk.reading import Reading
from late_rerank.stores.disk.segment import path_of
from late_rerank.stores.disk.verification import VerifyReport
from late_rerank.stores.folders import folder_at
from late_rerank.stores.record import parse_space, space_json
from late_rerank.types import CodecSpec, Fetched, PackedVectors
from late_rerank.warn import warn_caller


class _Shared:
    """What a PublishedStore and its spaces have in common: the mapped files."""

    def __init__(self, path: Path, *, check: bool) -> None:
        self.path = path
        self.check = check
        self.mappings = MappedSegments(path, noting=False)
        self.keys = {keys.space: keys for keys in map(open_keys, sorted((path / "keys").glob("*.keys")))}
        self.n_damaged = 0
        self.is_closed = False
        self._warned_of_refusal = False

    def refuse_if_closed(self) -> None:
        """Raise a StoreError if the store was closed."""
        if self.is_closed:
            raise StoreError(f"the store {self.path} was closed; open it again")

    def refuse_change(self) -> NoReturn:
        """Raise the StoreError that says why nothing can be changed, and what to do instead."""
        self.refuse_if_closed()
        raise StoreError(
            f"{self.path} is a published store, which is read-only. Write to the store that it was made from and publish "
            "again, or put one of your own in front: TieredStore(DiskStore(...), PublishedStore(...))"
        )

    def count_damage(self, damage: list[str]) -> None:
        """Count damaged documents, of which each line tells one, and warn of the first."""
        if damage and not self.n_damaged:
            warn_caller(f"{self.path}: {damage[0]}; such documents count as missing")
        self.n_damaged += len(damage)

    def tell_unreadable(self, refused: Iterable[OSError]) -> None:
        """Warn once of segments that the system didn't let this process read."""
        for error in refused:
            if not self._warned_of_refusal:
                self._warned_of_refusal = True
                warn_caller(
                    f"a part of the store {self.path} can't be read: {reason_of(error)}. Its documents count as missing; this "
                    "is said once"
                )

    def is_there(self, place: Place) -> bool:
        """Whether the segment that a place is in still has its file."""
        return path_of(self.path, unpack_place(place)[0]).exists()


class PublishedStore(Store):
    """A published store. It is read-only, and opens without writing a byte, so a read-only file system will do.

    Args:
        path: The folder that `DiskStore.publish` wrote.
        check: Whether `get` computes each record's checksum. Then a damaged document is a miss.

    Raises:
        FileNotFoundError: If there is no store.
        StoreFormatError: If the store isn't a published one, has another version, or is damaged.
    """

    read_only = True

    def __init__(self, path: str | os.PathLike[str], *, check: bool = False) -> None:
        self.path = folder_at(path).absolute()
        if format_file.read_format(self.path)["format"] != format_file.PUBLISHED:
            raise StoreFormatError(f"{self.path} is a store that is written to: open it with DiskStore")
        self._shared = _Shared(self.path, check=check)

    def space(self, fingerprint: str, codec: CodecSpec) -> Space:
        self._shared.refuse_if_closed()
        return _PublishedSpace(self._shared, space_json(fingerprint, codec), fingerprint, codec)

    def spaces(self) -> list[Space]:
        self._shared.refuse_if_closed()
        return [_PublishedSpace(self._shared, name, *parse_space(name)) for name in self._shared.keys]

    def drop(self, fingerprint: str) -> int:  # noqa: ARG002 - a store's interface
        """Raise a StoreError: nothing can be dropped."""
        self._shared.refuse_change()

    def stats(self) -> dict[str, Any]:
        """Count documents and bytes, over all spaces and of each space, as a DiskStore does. All are JSON values.

        "size_bytes" counts segments and key files. "index_bytes" counts the key files alone.
        """
        self._shared.refuse_if_closed()
        spaces: list[dict[str, Any]] = []
        for name, keys in self._shared.keys.items():
            fingerprint, codec = parse_space(name)
            segments = keys.segments
            spaces.append(
                {
                    "fingerprint": fingerprint,
                    "codec": codec.name,
                    "dim": codec.dim,
                    "n_documents": keys.n,
                    "size_bytes": sum(map(self._size_of, segments)),
                    "dead_bytes": 0,
                    "n_segments": len(segments),
                }
            )
        index_bytes = sum(keys.size_bytes for keys in self._shared.keys.values())
        return {
            "path": str(self.path),
            "n_documents": sum(space["n_documents"] for space in spaces),
            "size_bytes": sum(space["size_bytes"] for space in spaces) + index_bytes,
            "index_bytes": index_bytes,
            "dead_bytes": 0,
            "n_segments": sum(space["n_segments"] for space in spaces),
            "max_bytes": None,
            "ttl_s": None,
            "n_evicted": 0,
            "n_damaged": self._shared.n_damaged,
            "spaces": spaces,
        }

    def _size_of(self, segment_id: int) -> int:
        with suppress(FileNotFoundError):  # `verify` says so
            return path_of(self.path, segment_id).stat().st_size
        return 0

    def verify(self, *, progress: bool = False) -> VerifyReport:
        """Check every byte against its checksum, and the keys against the segments.

        Args:
            progress: Show a bar on stderr, if stderr is a terminal.
        """
        self._shared.refuse_if_closed()
        with os_errors_as_store_errors(self.path):
            return verify_published(self.path, self._shared.keys, progress=progress)

    def close(self) -> None:
        """Let go of all files. Fetched documents stay valid."""
        self._shared.is_closed = True
        self._shared.mappings.keep(set())
        self._shared.keys = {}

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopen, (self.path, self._shared.check)


def _reopen(path: Path, check: bool) -> PublishedStore:  # noqa: FBT001 - pickle's call
    return PublishedStore(path, check=check)


class _PublishedSpace(Space):
    def __init__(self, shared: _Shared, name: str, fingerprint: str, codec: CodecSpec) -> None:
        super().__init__(fingerprint, codec)
        self._shared = shared
        self.name = name

    def get(self, keys: Sequence[bytes]) -> Fetched:
        shared = self._shared
        shared.refuse_if_closed()
        known = shared.keys.get(self.name)
        places, damage = known.find(keys) if known is not None else ([None] * len(keys), [])
        reading = Reading(shared.mappings, self.name, self.codec, check=shared.check)
        try:
            fetched, more = reading.fetch(keys, places)
        except FileNotFoundError:
            lost = {place for place in places if place is not None and not shared.is_there(place)}
            fetched, more = reading.fetch(keys, [None if place in lost else place for place in places])
            damage += [f"segment {unpack_place(place)[0]} is lost" for place in lost]
        shared.count_damage(damage + more)
        shared.tell_unreadable(reading.refused.values())
        return fetched

    def delete(self, keys: Sequence[bytes]) -> int:  # noqa: ARG002 - a space's interface
        """Raise a StoreError: nothing can be deleted."""
        self._shared.refuse_change()

    def __len__(self) -> int:
        self._shared.refuse_if_closed()
        known = self._shared.keys.get(self.name)
        return 0 if known is None else known.n

    def _put(self, keys: Sequence[bytes], packed: PackedVectors) -> None:  # noqa: ARG002 - a space's interface
        self._shared.refuse_if_closed()
        if keys:
            self._shared.refuse_change()
