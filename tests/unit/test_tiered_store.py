import threading

import numpy as np
import pytest
from failing_stores import FailingStore

from late_rerank import Reranker
from late_rerank.errors import StoreError
from late_rerank.stores import MemoryStore, TieredStore
from late_rerank.testing.fakes import FakeEncoder
from late_rerank.testing.stores import LENGTHS, SPEC, keys
from late_rerank.testing.vectors import random_packed, same_documents

PACKED, NAMES = random_packed(LENGTHS, SPEC), keys(len(LENGTHS))


@pytest.fixture
def near():
    return FailingStore()


@pytest.fixture
def far():
    return MemoryStore()


@pytest.fixture
def space(near, far):
    return TieredStore(near, far).space("a", SPEC)


def put(store, *positions):
    store.space("a", SPEC).put([NAMES[i] for i in positions], PACKED.take(np.array(positions)))


def test_what_each_holds_comes_as_one_in_the_asked_order(space, near, far):
    put(near, 0, 3, 5)
    put(far, 1, 3, 4, 6)
    order = [6, 5, 2, 3, 4, 0, 1, 6]
    fetched = space.get([NAMES[i] for i in order])

    assert fetched.missing.tolist() == [2]
    assert fetched.positions.tolist() == [0, 1, 3, 4, 5, 6, 7]
    assert same_documents(fetched.found, PACKED.take(np.array([6, 5, 3, 4, 0, 1, 6])))
    assert fetched.found.buffer.dtype == np.int32


def test_vectors_are_not_copied(space, near, far):
    put(near, 0)
    put(far, 3)
    ours = [near.space("a", SPEC).get(NAMES[:1]).found.buffers[0], far.space("a", SPEC).get(NAMES[3:4]).found.buffers[0]]

    assert [buffer.ctypes.data for buffer in space.get([NAMES[0], NAMES[3]]).found.buffers] == [b.ctypes.data for b in ours]


def test_what_came_from_far_is_near_afterwards(space, near, far):
    put(far, 0, 3, 5)
    space.get(NAMES)

    assert near.space("a", SPEC).get(NAMES).positions.tolist() == [0, 3, 5]
    far.drop("a")
    assert space.get(NAMES).positions.tolist() == [0, 3, 5]


def test_put_delete_and_drop_reach_both(space, near, far):
    space.put(NAMES, PACKED)
    assert [store.stats()["n_documents"] for store in (near, far)] == [7, 7]
    near.space("a", SPEC).delete(NAMES[:1])
    assert space.delete(NAMES[:2]) == 2
    far.space("a", SPEC).delete(NAMES[2:4])
    assert space.delete(NAMES[2:4]) == 2
    assert [store.stats()["n_documents"] for store in (near, far)] == [3, 3]


def test_drop_counts_and_reaches_both(near, far):
    store = TieredStore(near, far)
    put(near, 0, 1)
    put(far, 1, 2, 3)

    assert store.drop("a") == 3
    assert near.stats()["n_documents"] == far.stats()["n_documents"] == 0
    assert store.spaces() == []


def test_spaces_are_those_of_both(near, far):
    near.space("near only", SPEC)
    near.space("both", SPEC)
    far.space("far only", SPEC)
    far.space("both", SPEC)

    assert [space.fingerprint for space in TieredStore(near, far).spaces()] == ["far only", "both", "near only"]


@pytest.mark.parametrize("behind", [False, True])
@pytest.mark.parametrize("change", ["delete", "drop"])
def test_a_document_that_is_fetched_while_it_is_deleted_stays_deleted(near, far, change, behind, monkeypatch):
    store = TieredStore(near, far, behind=behind)
    space = store.space("a", SPEC)
    put(far, 0)
    is_read, is_deleted = threading.Event(), threading.Event()
    get = space._far.get

    def slow(names):
        found = get(names)
        is_read.set()
        assert is_deleted.wait(60)
        return found

    monkeypatch.setattr(space._far, "get", slow)
    query = threading.Thread(target=lambda: space.get(NAMES[:1]))
    query.start()
    assert is_read.wait(60)
    assert (space.delete(NAMES[:1]) if change == "delete" else store.drop("a")) == 1
    is_deleted.set()
    query.join(60)
    if behind:
        store._filler.close()
    assert near.space("a", SPEC).get(NAMES[:1]).missing.tolist() == [0]


def test_a_query_during_a_deletion_brings_nothing_back(space, near, far, monkeypatch):
    put(near, 0)
    put(far, 0)
    delete = space._far.delete

    def while_somebody_asks(names):
        near.space("a", SPEC).delete(names)
        space.get(names)
        return delete(names)

    monkeypatch.setattr(space._far, "delete", while_somebody_asks)
    assert space.delete(NAMES[:1]) == 1
    assert space.get(NAMES[:1]).missing.tolist() == [0]


@pytest.mark.parametrize("change", ["delete", "drop"])
def test_what_a_read_only_far_store_refuses_leaves_near_as_it_is(space, near, far, change, monkeypatch):
    put(near, 0)

    def refuse(*_):
        raise StoreError("read-only")

    monkeypatch.setattr(space._far, "delete", refuse)
    monkeypatch.setattr(far, "drop", refuse)
    with pytest.raises(StoreError, match="read-only"):
        space.delete(NAMES[:1]) if change == "delete" else TieredStore(near, far).drop("a")
    assert len(near.space("a", SPEC)) == 1


def test_stats_are_fars_and_tell_of_both(space, near, far):
    store = TieredStore(near, far)
    put(near, 0)
    put(far, 0, 3)
    stats = store.stats()

    assert stats["n_documents"] == len(store.space("a", SPEC)) == 2
    assert stats["size_bytes"] == stats["far"]["size_bytes"] > stats["near"]["size_bytes"]
    assert stats["near"]["n_documents"] == 1


@pytest.mark.parametrize("error", [StoreError("locked"), OSError("No space left on device")])
def test_a_near_store_that_fails_breaks_no_query(near, far, error):
    reranker = Reranker(FakeEncoder(), store=TieredStore(near, far))
    texts = [f"document {i}" for i in range(5)]
    Reranker(FakeEncoder(), store=far).index(texts[:3])

    near.errors["put"] = error
    with pytest.warns(RuntimeWarning, match=f"near store .FailingStore. failed: {error}") as caught:
        assert reranker.rerank("document", texts).n_hits == 3
    assert len(caught) == 1
    assert reranker.rerank("document", texts).n_hits == 5
    near.errors.pop("put")
    near.errors["get"] = error
    assert reranker.rerank("document", texts).n_hits == 5
    assert reranker.store.stats()["n_near_errors"] == 4


def test_far_is_not_asked_for_what_near_has(space, near, far, monkeypatch):
    put(near, 0, 1)
    monkeypatch.setattr(far.space("a", SPEC), "get", None)

    assert space.get(NAMES[:2]).missing.tolist() == []


def test_missing_is_what_far_lacks_so_that_indexing_fills_it(space, near, far):
    put(near, 0, 1)
    put(far, 1, 2)

    assert space.missing(NAMES).tolist() == [0, 3, 4, 5, 6]
    assert space.missing([NAMES[3], NAMES[0], NAMES[1], NAMES[3]]).tolist() == [0, 1, 3]


def test_after_indexing_far_holds_every_document(near, far):
    reranker = Reranker(FakeEncoder(), store=TieredStore(near, far))
    texts = [f"document {i}" for i in range(5)]
    reranker.index(texts)
    far.drop(reranker.encoder.fingerprint)

    assert reranker.index(texts).n_encoded == 5
    assert far.stats()["n_documents"] == 5


def test_where_far_is_read_only_missing_is_what_neither_holds(near, far, monkeypatch):
    monkeypatch.setattr(type(far), "read_only", True)
    space = TieredStore(near, far).space("a", SPEC)
    put(near, 0, 1)
    put(far, 1, 2)

    assert space.missing(NAMES).tolist() == [3, 4, 5, 6]
    assert space.missing([NAMES[3], NAMES[0], NAMES[2], NAMES[3]]).tolist() == [0, 3]


def test_a_near_store_that_fails_is_passed_over_by_missing(near, far, monkeypatch):
    monkeypatch.setattr(type(far), "read_only", True)
    space = TieredStore(near, far).space("a", SPEC)
    put(far, 1, 2)
    near.errors["missing"] = StoreError("locked")

    with pytest.warns(RuntimeWarning, match="near store"):
        assert space.missing(NAMES[:3]).tolist() == [0]


def test_close_closes_both_even_if_one_fails(near, far, monkeypatch):
    put(far, 0)
    monkeypatch.setattr(near, "close", lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        TieredStore(near, far).close()

    assert far.stats()["n_documents"] == 0


def test_arguments_are_two_stores(near):
    with pytest.raises(ValueError, match="two stores"):
        TieredStore(near, near)
    with pytest.raises(TypeError, match="far must be a Store"):
        TieredStore(near, "redis://localhost")
