"""The law of stores beyond one open store: where documents lie, opened again, read-only, closed, pickled."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pytest

from late_rerank.errors import StoreError
from late_rerank.stores import Space, Store
from late_rerank.testing.vectors import random_packed, same_documents
from late_rerank.types import CodecSpec, PackedVectors

SPEC = CodecSpec("test", 7, {"codes": 7, "scales": 4}, {"seed": 1})
LENGTHS = [3, 0, 1, 180, 17, 64, 2]


def keys(n: int, salt: int = 0) -> list[bytes]:
    """Make `n` different keys."""
    return [(salt * 1_000_000 + i).to_bytes(16, "big") for i in range(n)]


@dataclass(frozen=True, slots=True)
class RawDocument:
    """One document as the store's files or server hold it, read without the store.

    Attributes:
        columns: Each column's bytes, without padding.
        truncated: Whether its text was cut before encoding.
    """

    columns: Mapping[str, bytes]
    truncated: bool


def raw(names: list[bytes], packed: PackedVectors) -> dict[bytes, RawDocument]:
    """Make what `StoreLifeTests.raw_documents` must give for these documents."""
    return {
        name: RawDocument(
            {column: packed.column(column, i).tobytes() for column in packed.codec.columns}, bool(packed.truncated[i])
        )
        for i, name in enumerate(names)
    }


# How a store and its space are used; once the store is closed, each is an error or finds nothing.
USES: Mapping[str, Callable[[Store, Space], object]] = {
    "space": lambda store, _: store.space("a", SPEC),
    "spaces": lambda store, _: store.spaces(),
    "drop": lambda store, _: store.drop("a"),
    "stats": lambda store, _: store.stats(),
    "get": lambda _, space: space.get(keys(1)),
    "get nothing": lambda _, space: space.get([]),
    "missing": lambda _, space: space.missing(keys(1)),
    "put": lambda _, space: space.put(keys(1), random_packed([1], SPEC)),
    "put nothing": lambda _, space: space.put([], random_packed([], SPEC)),
    "delete": lambda _, space: space.delete(keys(1)),
    "len": lambda _, space: len(space),
}


class StoreLifeTests:
    """A part of StoreTests. `reopened`, `raw_documents` and `read_only` bypass the store under test.

    Without them, a store that only remembers and keeps nothing would pass. If a suite doesn't override them, their tests are
    skipped.
    """

    def make_store(self) -> Store:
        """Make a new, empty store."""
        raise NotImplementedError

    def raw_documents(self, store: Store, space: Space) -> Mapping[bytes, RawDocument]:  # noqa: ARG002 - a hook
        """Read the documents of a space in their place, by key, without any method of the store."""
        pytest.skip("override raw_documents, so that documents are looked for where the store keeps them")

    def reopened(self, store: Store) -> Store | None:  # noqa: ARG002
        """Open the same place again, as another process would. Give None if documents end with their store."""
        pytest.skip("override reopened, so that documents are looked for by another store; give None where none can find them")

    def read_only(self, store: Store) -> Store | None:  # noqa: ARG002
        """Open the documents of `store` read-only. Give None if this kind of store can't be read-only."""
        pytest.skip("override read_only, so that a store that is only read is tried; give None where there is no such form")

    def test_put_documents_lie_byte_for_byte_where_the_store_keeps_them(self, store: Store) -> None:
        space, packed, names = store.space("a", SPEC), random_packed(LENGTHS, SPEC), keys(len(LENGTHS))
        other = store.space("b", SPEC)
        space.put(names, packed)
        other.put(names[:1], random_packed([5], SPEC))
        assert self.raw_documents(store, space) == raw(names, packed)
        assert self.raw_documents(store, other) == raw(names[:1], random_packed([5], SPEC))

    def test_replaced_deleted_and_dropped_documents_are_gone_where_they_lay(self, store: Store) -> None:
        space, packed, names = store.space("a", SPEC), random_packed(LENGTHS, SPEC), keys(len(LENGTHS))
        newer = random_packed([8], SPEC, seed=1)
        space.put(names, packed)
        space.put(names[:1], newer)
        space.delete(names[1:3])
        left = raw(names[3:], packed.take(slice(3, None)))
        assert self.raw_documents(store, space) == raw(names[:1], newer) | left
        store.drop("a")
        assert self.raw_documents(store, space) == {}

    def test_another_store_at_the_same_place_finds_the_documents_also_after_the_first_is_closed(self, store: Store) -> None:
        packed, names = random_packed(LENGTHS, SPEC), keys(len(LENGTHS))
        store.space("a", SPEC).put(names, packed)
        for _ in range(2):
            again = self.reopened(store)
            if again is None:
                return  # documents end with their store
            with again:
                assert same_documents(again.space("a", SPEC).get(names).found, packed)
                assert [(space.fingerprint, space.codec) for space in again.spaces()] == [("a", SPEC)]
            store.close()

    def test_a_read_only_store_finds_documents_and_refuses_changes(self, store: Store) -> None:
        packed, names = random_packed(LENGTHS, SPEC), keys(len(LENGTHS))
        store.space("a", SPEC).put(names, packed)
        assert not store.read_only
        read_only = self.read_only(store)
        if read_only is None:
            return  # every store of this kind takes changes
        with read_only:
            space = read_only.space("a", SPEC)
            changes: list[Callable[[], object]] = [
                lambda: space.put(names[:1], random_packed([5], SPEC)),
                lambda: space.delete(names[:1]),
                lambda: read_only.drop("a"),
            ]
            assert read_only.read_only
            for change in changes:
                with pytest.raises(StoreError):
                    change()
            assert same_documents(space.get(names).found, packed)
            assert space.missing([*names, *keys(1, salt=9)]).tolist() == [len(names)]
            assert len(space) == read_only.stats()["n_documents"] == len(names)

    @pytest.mark.parametrize("use", USES)
    def test_a_closed_store_says_at_every_use_that_it_was_closed_or_finds_nothing(self, store: Store, use: str) -> None:
        space, names = store.space("a", SPEC), keys(2)
        space.put(names, random_packed([5, 6], SPEC))
        store.close()
        try:
            USES[use](store, space)
        except StoreError as error:
            assert "closed" in str(error)  # noqa: PT017 - it may do without an error
        else:
            assert space.get(names[1:]).missing.tolist() == [0]
            assert store.stats()["n_documents"] == (use == "put")
        store.close()  # once more does nothing

    def test_fetched_vectors_outlive_closing(self, store: Store) -> None:
        space, names = store.space("a", SPEC), keys(len(LENGTHS))
        space.put(names, random_packed(LENGTHS, SPEC))
        fetched = space.get(names)
        store.close()
        assert same_documents(fetched.found, random_packed(LENGTHS, SPEC))

    def test_a_pickled_store_opens_the_same_place_or_says_that_it_cant_be_pickled(self, store: Store) -> None:
        names = keys(2)
        store.space("a", SPEC).put(names, random_packed([5, 6], SPEC))
        try:
            pickled = pickle.dumps(store)
        except TypeError as error:
            assert "can't be pickled" in str(error)  # noqa: PT017 - it may do without an error
            return
        with pickle.loads(pickled) as again:
            assert type(again) is type(store)
            assert same_documents(again.space("a", SPEC).get(names).found, random_packed([5, 6], SPEC))
            again.space("a", SPEC).put(names[:1], random_packed([8], SPEC, seed=1))
        assert same_documents(store.space("a", SPEC).get(names[:1]).found, random_packed([8], SPEC, seed=1))
