"""Stores that many processes write to at once: a folder on one machine, Redis, Postgres. Documents are visible when written."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path

from late_rerank.bulk.destinations.base import Destination, Filled, Index
from late_rerank.bulk.receipts import FolderReceipts, Receipt
from late_rerank.errors import StoreError
from late_rerank.stores import Space, Store, open_store
from late_rerank.stores.folders import cache_home, folder_at
from late_rerank.stores.opening import is_url, room_of
from late_rerank.stores.record import parse_space
from late_rerank.types import I64, Fetched, PackedVectors

# Nobody waits for an answer, so wait for a server that is busy or restarts.
_TIMEOUT_S = 10.0
_RETRIES = 5
# Of each split so many of its first keys, and so many of its last ones.
_WITNESSES = 4


class SharedDestination(Destination):
    """A folder, a Redis server or a Postgres database.

    Args:
        place: The folder or the URL.

    Raises:
        ValueError: If it is another kind of URL.
    """

    is_directly_written = True

    def __init__(self, place: str) -> None:
        self.is_local = not is_url(place)
        self.place = str(folder_at(place).absolute()) if self.is_local else place
        self._space: Space | None = None

    def open(self) -> Store:
        room = room_of(self.place)
        return (
            open_store(self.place) if room is None else room.open_answering(self.place, timeout_s=_TIMEOUT_S, retries=_RETRIES)
        )

    def prepare(self) -> None:
        with self.open() as store:
            if store.read_only:
                raise StoreError(f"{self.place} is read-only; name another store")
            store.stats()

    def receipts(self, job: str) -> FolderReceipts:
        name = blake2b(f"{job} {self.place}".encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
        return FolderReceipts(cache_home() / "late-rerank" / "bulk" / name)

    def lost(self, receipts: Sequence[Receipt], space: str) -> set[str]:
        of_key = {bytes.fromhex(key): receipt.split for receipt in receipts for key in receipt.witnesses}
        if not of_key:
            return set()
        keys = list(of_key)
        with self.open() as store:
            return {of_key[keys[i]] for i in store.space(*parse_space(space)).missing(keys).tolist()}

    def commit(self, receipts: Sequence[Receipt]) -> int | None:  # noqa: ARG002 - as object storage
        return None

    def begin(self, job: str, space: str) -> None:  # noqa: ARG002 - receipts are the driver's
        self._space = self.open().space(*parse_space(space))

    def fill(self, folder: Path, index: Index) -> Filled:  # noqa: ARG002 - nothing is made on the way
        if self._space is None:
            raise RuntimeError("begin() must be called before fill()")
        watched = _Watched(self._space)
        return Filled(index(watched), witnesses=[key.hex() for key in dict.fromkeys(watched.first + watched.last)])

    def known(self, split: str, identity: str) -> Receipt | None:  # noqa: ARG002 - the driver has looked
        return None

    def keep(self, receipt: Receipt) -> Receipt:
        return receipt


class _Watched(Space):
    """A space that notes which keys are asked for: they are there at the end.

    Attributes:
        first: The first keys.
        last: The last keys.
    """

    def __init__(self, space: Space) -> None:
        super().__init__(space.fingerprint, space.codec)
        self._inner = space
        self.first: list[bytes] = []
        self.last: list[bytes] = []

    def missing(self, keys: Sequence[bytes]) -> I64:
        self.first += keys[: _WITNESSES - len(self.first)]
        self.last = [*self.last, *keys][-_WITNESSES:]
        return self._inner.missing(keys)

    def get(self, keys: Sequence[bytes]) -> Fetched:
        return self._inner.get(keys)

    def delete(self, keys: Sequence[bytes]) -> int:
        return self._inner.delete(keys)

    def __len__(self) -> int:
        return len(self._inner)

    def _put(self, keys: Sequence[bytes], packed: PackedVectors) -> None:
        self._inner.put(keys, packed)
