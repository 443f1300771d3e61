"""Two stores as one: a near one that answers fast, in front of a far one that holds everything."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import partial
from threading import Lock
from typing import Any, TypeVar

import numpy as np

from late_rerank.errors import StoreError
from late_rerank.processes.forks import guarded
from late_rerank.stores.base import Edition, OwnRows, Space, Store
from late_rerank.stores.filling import Filler
from late_rerank.stores.near import Copying, NearSpace, fingerprint_of
from late_rerank.stores.record import space_json
from late_rerank.types import I64, CodecSpec, Fetched, PackedVectors
from late_rerank.warn import warn_caller

_T = TypeVar("_T")


_NEAR_IS_ENOUGH: ContextVar[bool] = ContextVar("_NEAR_IS_ENOUGH", default=False)


@contextmanager
def near_is_enough() -> Iterator[None]:
    """Let documents be indexed though only this machine keeps them: for a measurement or a training, which nobody shares."""
    token = _NEAR_IS_ENOUGH.set(True)
    try:
        yield
    finally:
        _NEAR_IS_ENOUGH.reset(token)


class _Guard:
    """Whether a TieredStore is open, and how often its near store failed. Safe to share between threads.

    Attributes:
        n_errors: Failures of the near store.
        is_closed: Whether the TieredStore was closed.
    """

    def __init__(self, near: Store) -> None:
        self.n_errors = 0
        self.is_closed = False
        self._name = type(near).__name__
        self._lock = guarded(Lock())

    def refuse_if_closed(self) -> None:
        """Raise a StoreError if the TieredStore was closed."""
        if self.is_closed:
            raise StoreError("this TieredStore was closed, and both of its stores with it; open them again")

    def unless_near_fails(self, work: Callable[[], _T]) -> _T | None:
        """Do some work on the near store. Returns its result; or None, with a count, if the near store failed."""
        try:
            return work()
        except (StoreError, OSError) as error:  # OSError: its disk is full, say
            with self._lock:
                first, self.n_errors = self.n_errors == 0, self.n_errors + 1
            if first:
                warn_caller(
                    f"the near store ({self._name}) failed: {error}. The far one is used meanwhile. This is said once; "
                    'TieredStore.stats() counts on ("n_near_errors").',
                    RuntimeWarning,
                )
            return None


@dataclass(frozen=True)
class _Parts:
    """What a TieredStore and its spaces share. `filler` is None if copies are made before an answer."""

    near: Store
    far: Store
    guard: _Guard
    filler: Filler | None
    copying: Copying = field(default_factory=Copying)


class TieredStore(Store):
    """Two stores as one. `near` is asked first, and `far` for the rest.

    Documents that are found in `far` are copied into `near`: before `get` returns, or behind it. New documents are put into
    both. If `far` is read-only (a PublishedStore), new documents are put into `near` alone. Threads may share a TieredStore if
    they may share both stores.

    `near` is a copy of a part of `far`. If `near` fails, queries go on without it, with one RuntimeWarning, and `stats` counts
    the failures. If `far` fails, the call does as `far` does: it raises, or not. Documents that are replaced or deleted in
    object storage elsewhere are soon forgotten in `near`, with all other copies. Of other stores, they stay in `near` until
    they are deleted here.

    Args:
        near: The fast store: a MemoryStore or a DiskStore, for example.
        far: The store that holds everything: a RedisStore, for example.
        behind: Whether `near` gets found documents in the background, so that no query waits for its disk: 15 ms for 100
            documents. At most 64 MB wait; documents beyond are copied when they are asked for again. `close` waits for them.

    Raises:
        TypeError: If `near` or `far` isn't a Store.
        ValueError: If both are the same store.
    """

    def __init__(self, near: Store, far: Store, *, behind: bool = False) -> None:
        for name, store in (("near", near), ("far", far)):
            if not isinstance(store, Store):
                raise TypeError(f"{name} must be a Store, got {type(store).__name__}: {store!r:.60}")
        if near is far:
            raise ValueError("near and far must be two stores, got the same one twice")
        self.near, self.far = near, far
        self._spaces: dict[str, _TieredSpace] = {}
        self._guard = _Guard(near)
        self._filler = Filler() if behind else None
        self._parts = _Parts(near, far, self._guard, self._filler)
        self._lock = guarded(Lock())

    @property
    def read_only(self) -> bool:
        """Whether neither store takes changes. If only `far` takes none, `near` keeps new documents."""
        return self.near.read_only and self.far.read_only

    @property
    def own_rows(self) -> OwnRows | None:
        """Those of `far`."""
        return self.far.own_rows

    @property
    def edition(self) -> Edition | None:
        """That of `far`."""
        return self.far.edition

    def refuse_index(self) -> None:
        """Raise a StoreError if `far` is in object storage: `near` alone would have the documents, and nobody else."""
        if not _NEAR_IS_ENOUGH.get():
            self.far.refuse_index()

    def space(self, fingerprint: str, codec: CodecSpec) -> Space:
        self._guard.refuse_if_closed()
        described = space_json(fingerprint, codec)
        with self._lock:
            if described not in self._spaces:
                self._spaces[described] = _TieredSpace(self._parts, self.far.space(fingerprint, codec))
            return self._spaces[described]

    def spaces(self) -> list[Space]:
        """List the spaces of `far`, oldest first, then the spaces that only `near` has."""
        self._guard.refuse_if_closed()
        both = [*self.far.spaces(), *self.near.spaces()]
        return list(dict.fromkeys(self.space(fingerprint_of(space.fingerprint), space.codec) for space in both))

    def drop(self, fingerprint: str) -> int:
        """Forget every space of that encoder in both stores. Return the larger of the two numbers of documents."""
        self._guard.refuse_if_closed()
        n_far = self.far.drop(fingerprint)
        self._parts.copying.change()
        with self._lock:
            self._spaces = {key: space for key, space in self._spaces.items() if space.fingerprint != fingerprint}
        names = {space.fingerprint for space in self.near.spaces()}
        return max(n_far, sum(self.near.drop(name) for name in names if fingerprint_of(name) == fingerprint))

    def stats(self) -> dict[str, Any]:
        """Give n_documents and size_bytes of `far`, and n_near_errors. "near" and "far" hold each store's own counts."""
        self._guard.refuse_if_closed()
        near, far = self.near.stats(), self.far.stats()
        return {
            "n_documents": far["n_documents"],
            "size_bytes": far["size_bytes"],
            "n_near_errors": self._guard.n_errors,
            "near": near,
            "far": far,
        }

    def close(self) -> None:
        """Close both stores: most often they were made for this store only."""
        self._guard.is_closed = True
        try:
            if self._filler is not None:
                self._filler.close()
            self.near.close()
        finally:
            self.far.close()

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopen, (self.near, self.far, self._filler is not None)


def _reopen(near: Store, far: Store, behind: bool) -> TieredStore:  # noqa: FBT001 - pickle's call
    return TieredStore(near, far, behind=behind)


class _TieredSpace(Space):
    def __init__(self, parts: _Parts, far: Space) -> None:
        super().__init__(far.fingerprint, far.codec)
        self._parts, self._far = parts, far
        self._guard, self._filler, self._copying = parts.guard, parts.filler, parts.copying
        self._far_writes = not parts.far.read_only
        self._copies = NearSpace(parts.near, far.fingerprint, far.codec, forget=self._soon)

    @property
    def _near(self) -> Space:
        return self._copies.of(self._parts.far.edition)

    def _put(self, keys: Sequence[bytes], packed: PackedVectors) -> None:
        self._guard.refuse_if_closed()
        self._drain()
        if not self._far_writes:
            self._near.put(keys, packed)
            return
        self._far.put(keys, packed)
        self._copying.change()
        self._guard.unless_near_fails(lambda: self._near.put(keys, packed))

    def get(self, keys: Sequence[bytes]) -> Fetched:
        self._guard.refuse_if_closed()
        # Asked before the far store is read: what it gives is of that edition, or of a later one.
        edition, since = self._parts.far.edition, self._copying.n_changes
        near: Fetched | None = self._guard.unless_near_fails(lambda: self._copies.of(edition).get(keys))
        if near is None:
            return self._far.get(keys)  # a near store that fails is not written to either
        if not len(near.missing):
            return near
        asked = [keys[i] for i in near.missing.tolist()]
        far = self._far.get(asked)
        if len(far.found):
            self._fill([asked[i] for i in far.positions.tolist()], far.found, edition, since)
        return _joined(near, far)

    def missing(self, keys: Sequence[bytes]) -> I64:
        """Find the documents that the far store lacks, whatever the near store has.

        An index is made for all who share the far store. If `far` is read-only, find the documents that both stores lack.
        """
        self._guard.refuse_if_closed()
        if self._far_writes:
            return self._far.missing(keys)
        near: I64 | None = self._guard.unless_near_fails(lambda: self._near.missing(keys))
        if near is None:
            return self._far.missing(keys)
        return near[self._far.missing([keys[i] for i in near.tolist()])]

    def delete(self, keys: Sequence[bytes]) -> int:
        """Forget documents in both stores, in the far one first. Return the larger of the two numbers of documents."""
        self._guard.refuse_if_closed()
        n_far = self._far.delete(keys)
        self._copying.change()
        return max(self._near.delete(keys), n_far)

    def _fill(self, keys: list[bytes], packed: PackedVectors, edition: Edition | None, since: int) -> None:
        """Copy documents into the near store, now or behind the answer."""

        def fill() -> None:
            copy = partial(self._copies.of(edition).put, keys, packed)
            self._guard.unless_near_fails(lambda: self._copying.copy(copy, since))

        if self._filler is None:
            fill()
        else:
            self._filler.add(fill, packed)

    def _soon(self, forget: Callable[[], object]) -> None:
        """Free room in the near store, behind the answer if copies are made there."""

        def free() -> None:
            self._guard.unless_near_fails(forget)

        if self._filler is None or not self._filler.add(free):
            free()

    def _drain(self) -> None:
        """Wait for copies that are on their way: an older document must not come after a newer one."""
        if self._filler is not None:
            self._filler.drain()

    def __len__(self) -> int:
        """Count the documents in the far store."""
        self._guard.refuse_if_closed()
        return len(self._far)


def _joined(near: Fetched, far: Fetched) -> Fetched:
    """Join the finds of two stores, in the asked order, over the buffers of both. `far` was asked for what `near` missed."""
    positions = np.concatenate([near.positions, near.missing[far.positions]])
    order = np.argsort(positions, kind="stable")
    left, right = near.found, far.found
    found = PackedVectors(
        codec=right.codec,
        buffers=left.buffers + right.buffers,
        buffer=np.concatenate([left.buffer, right.buffer + np.int32(len(left.buffers))])[order],
        starts={name: np.concatenate([left.starts[name], right.starts[name]])[order] for name in right.codec.columns},
        lengths=np.concatenate([left.lengths, right.lengths])[order],
        truncated=np.concatenate([left.truncated, right.truncated])[order],
    )
    return Fetched(found, positions[order], near.missing[far.missing])
