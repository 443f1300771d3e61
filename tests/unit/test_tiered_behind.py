"""A TieredStore that fills its near store behind the answer."""

import pickle
import threading

import numpy as np
import pytest
from failing_stores import FailingStore
from forking import in_a_child, needs_fork

from late_rerank.errors import StoreError
from late_rerank.stores import DiskStore, MemoryStore, TieredStore, filling
from late_rerank.testing.stores import LENGTHS, SPEC, keys
from late_rerank.testing.vectors import random_packed, same_documents

PACKED, NAMES = random_packed(LENGTHS, SPEC), keys(len(LENGTHS))


class SlowStore(MemoryStore):
    """A near store whose puts wait until they may go on."""

    def __init__(self):
        super().__init__()
        self.may_go_on, self.is_waiting = threading.Event(), threading.Event()

    def space(self, fingerprint, codec):
        space = super().space(fingerprint, codec)
        put = space._put

        def slow(names, packed):
            self.is_waiting.set()
            assert self.may_go_on.wait(60)
            put(names, packed)

        space._put = slow
        return space


@pytest.fixture
def far():
    store = MemoryStore()
    store.space("a", SPEC).put(NAMES, PACKED)
    return store


def test_an_answer_doesnt_wait_for_the_near_store_and_closing_does(far):
    near = SlowStore()
    store = TieredStore(near, far, behind=True)
    space = store.space("a", SPEC)
    assert same_documents(space.get(NAMES).found, PACKED)
    assert near.is_waiting.wait(60)
    assert len(near.space("a", SPEC)) == 0
    closing = threading.Thread(target=store._filler.close)
    closing.start()
    near.may_go_on.set()
    closing.join(60)
    assert same_documents(near.space("a", SPEC).get(NAMES).found, PACKED)
    store.close()


@pytest.mark.parametrize("change", ["put", "delete", "drop"])
def test_a_change_comes_after_the_copies_that_are_on_their_way(far, change):
    near = SlowStore()
    store = TieredStore(near, far, behind=True)
    space = store.space("a", SPEC)
    space.get(NAMES)
    assert near.is_waiting.wait(60)
    newer = random_packed([9], SPEC, seed=5)
    changes = {
        "put": lambda: space.put(NAMES[:1], newer),
        "delete": lambda: space.delete(NAMES[:1]),
        "drop": lambda: store.drop("a"),
    }
    changing = threading.Thread(target=changes[change])
    changing.start()
    near.may_go_on.set()
    changing.join(60)
    store._filler.drain()
    left = near.space("a", SPEC).get(NAMES[:1])
    if change == "put":
        assert same_documents(left.found, newer)
    else:
        assert left.missing.tolist() == [0]


def test_only_some_megabytes_wait(far, monkeypatch):
    monkeypatch.setattr(filling, "MOST_BYTES", 100)
    near = SlowStore()
    store = TieredStore(near, far, behind=True)
    space = store.space("a", SPEC)
    space.get(NAMES)
    assert near.is_waiting.wait(60)
    for _ in range(3):
        assert same_documents(space.get(NAMES[:2]).found, PACKED.take(slice(0, 2)))
    assert len(store._filler._waiting) == 1
    near.may_go_on.set()
    store._filler.drain()
    assert store._filler._n_bytes == 0
    assert len(near.space("a", SPEC)) == len(NAMES)


def test_a_near_store_that_fails_behind_an_answer_is_counted(far):
    store = TieredStore(FailingStore(put=StoreError("full")), far, behind=True)
    space = store.space("a", SPEC)
    with pytest.warns(RuntimeWarning, match="the near store"):
        in_turn = space.get(NAMES), store._filler.drain()
    assert same_documents(in_turn[0].found, PACKED)
    assert store.stats()["n_near_errors"] == 1


def test_an_error_that_is_no_failure_of_the_store_is_raised_by_the_next_change(far):
    store = TieredStore(MemoryStore(), far, behind=True)
    space = store.space("a", SPEC)

    def broken(*_):
        raise ZeroDivisionError

    space._near._put = broken
    space.get(NAMES)
    with pytest.raises(ZeroDivisionError):
        store.close()


def test_a_pickled_store_goes_on_behind(tmp_path):
    with TieredStore(DiskStore(tmp_path / "a"), DiskStore(tmp_path / "b"), behind=True) as store:
        again = pickle.loads(pickle.dumps(store))
        assert again._filler is not None
        again.close()


@needs_fork
def test_a_child_fills_the_near_store_itself(tmp_path):
    with DiskStore(tmp_path / "far") as far:
        far.space("a", SPEC).put(NAMES, PACKED)
        store = TieredStore(DiskStore(tmp_path / "near"), far, behind=True)
        space = store.space("a", SPEC)
        space.get(NAMES[:1])

        def child():
            space.get(NAMES)
            store._filler.drain()
            return space._near.get(NAMES).missing.tolist()

        assert in_a_child(child) == []
        store.near.close()
        assert np.array_equal(PACKED.lengths, LENGTHS)
