"""Object storage: each split becomes a store of its own, which is uploaded; the driver alone commits, all splits at once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from late_rerank.bulk.destinations.base import Destination, Filled, Index, LostObjectsError
from late_rerank.bulk.receipts import Receipt, RemoteReceipts
from late_rerank.stores import Space, Store
from late_rerank.stores.disk import DiskStore
from late_rerank.stores.record import parse_space
from late_rerank.stores.remote.address import read_address
from late_rerank.stores.remote.committing import commit, prove, withdraw
from late_rerank.stores.remote.manifest import newest
from late_rerank.stores.remote.objects import Objects
from late_rerank.stores.remote.presence import absent
from late_rerank.stores.remote.runs import Run, ids_of
from late_rerank.stores.remote.store import RemoteStore
from late_rerank.stores.remote.uploading import upload
from late_rerank.types import I64, Fetched, PackedVectors

_TIMEOUT_S = 60.0
_RETRIES = 6


class RemoteDestination(Destination):
    """A store in object storage, or in a folder that all machines share.

    Args:
        url: "s3://...", "gs://...", "az://..." or "file:///folder".

    Raises:
        ValueError: If the URL is wrong.
    """

    is_local = False
    is_directly_written = False

    def __init__(self, url: str) -> None:
        self.place = read_address(url).url
        self._space = ""
        self._before: RemoteStore | None = None
        self._made: Objects | None = None
        self._receipts: RemoteReceipts | None = None

    def open(self) -> Store:
        return RemoteStore(self.place, timeout_s=_TIMEOUT_S, retries=_RETRIES, on_error="raise")

    def prepare(self) -> None:
        prove(self._objects)

    def receipts(self, job: str) -> RemoteReceipts:
        return RemoteReceipts(self._objects, job)

    def lost(self, receipts: Sequence[Receipt], space: str) -> set[str]:  # noqa: ARG002 - objects tell
        needed = {
            receipt.split: {name for run in receipt.runs for name in Run.from_json(run).objects()} for receipt in receipts
        }
        lost = absent(self._objects, set().union(*needed.values()))
        return {split for split, names in needed.items() if names & lost}

    def is_committed(self, receipts: Sequence[Receipt]) -> bool:
        runs = [Run.from_json(run) for receipt in receipts for run in receipt.runs]
        return bool(runs) and not ids_of(newest(self._objects).runs).isdisjoint(run.id for run in runs)

    def commit(self, receipts: Sequence[Receipt]) -> int | None:
        runs = {run.keys: run for receipt in receipts for run in map(Run.from_json, receipt.runs)}
        if not runs:
            return None
        number = commit(self._objects, list(runs.values()))
        lost = absent(self._objects, {name for run in runs.values() for name in run.objects()})
        if lost:
            withdraw(self._objects, [run for run in runs.values() if lost & set(run.objects())])
            raise LostObjectsError(f"{self.place}: {len(lost)} objects were removed while they were committed; index again")
        return number

    def begin(self, job: str, space: str) -> None:
        self._space = space
        self._receipts = self.receipts(job)
        self._before = RemoteStore(self.place, timeout_s=_TIMEOUT_S, retries=_RETRIES, on_error="raise")

    def fill(self, folder: Path, index: Index) -> Filled:
        if self._before is None:
            raise RuntimeError("begin() must be called before fill()")
        name = parse_space(self._space)
        store = DiskStore(folder / "store")
        with store:
            report = index(_Beyond(store.space(*name), self._before.space(*name)))
            if report.n_encoded:
                store.publish(folder / "published")
        if not report.n_encoded:
            return Filled(report)
        return Filled(report, [run.to_json() for run in upload(self._objects, folder / "published")])

    def known(self, split: str, identity: str) -> Receipt | None:
        return None if self._receipts is None else self._receipts.read(split, identity)

    def keep(self, receipt: Receipt) -> Receipt:
        return receipt if self._receipts is None else self._receipts.first(receipt)

    @property
    def _objects(self) -> Objects:
        if self._made is None:
            self._made = Objects.at(self.place)
        return self._made


class _Beyond(Space):
    """A split's own space. What the store holds already isn't missing here.

    Args:
        near: Documents are put there.
        far: The store's space, as it was committed last.
    """

    def __init__(self, near: Space, far: Space) -> None:
        super().__init__(near.fingerprint, near.codec)
        self._near, self._far = near, far

    def missing(self, keys: Sequence[bytes]) -> I64:
        new = self._near.missing(keys)
        asked = [keys[i] for i in new.tolist()]
        return new[self._far.missing(asked)] if asked else new

    def get(self, keys: Sequence[bytes]) -> Fetched:
        return self._near.get(keys)

    def delete(self, keys: Sequence[bytes]) -> int:
        return self._near.delete(keys)

    def __len__(self) -> int:
        return len(self._near)

    def _put(self, keys: Sequence[bytes], packed: PackedVectors) -> None:
        self._near.put(keys, packed)
