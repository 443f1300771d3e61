import pickle

import pytest

from late_rerank.stores import MemoryStore
from late_rerank.testing.stores import SPEC, keys
from late_rerank.testing.vectors import random_packed


def test_the_least_recently_used_document_goes_first():
    store = MemoryStore(max_bytes=3 * 720)  # a document of 26 tokens takes 192 + 128 bytes, aligned, and 400 of overhead
    space, names = store.space("a", SPEC), keys(4)
    space.put(names[:3], random_packed([26] * 3, SPEC))
    space.get([names[0]])
    space.put(names[3:], random_packed([26], SPEC))

    assert space.get(names).missing.tolist() == [1]
    assert store.stats()["n_evicted"] == 1


def test_the_bound_holds_over_all_spaces():
    store = MemoryStore(max_bytes=10_000)
    for name in ("a", "b", "c"):
        store.space(name, SPEC).put(keys(10), random_packed([20] * 10, SPEC))
        assert store.stats()["size_bytes"] <= 10_000

    assert len(store.space("c", SPEC)) == 10
    assert len(store.space("a", SPEC)) == 0
    assert store.stats()["n_documents"] == sum(len(space) for space in store.spaces())


def test_a_document_larger_than_the_bound_is_not_kept_and_throws_nothing_out():
    store = MemoryStore(max_bytes=3000)
    space, names = store.space("a", SPEC), keys(3)
    space.put(names[:2], random_packed([10, 1000], SPEC))

    assert space.get(names).missing.tolist() == [1, 2]


def test_no_bound_and_a_wrong_bound():
    space = MemoryStore(max_bytes=None).space("a", SPEC)
    space.put(keys(100), random_packed([500] * 100, SPEC))

    assert len(space) == 100
    with pytest.raises(ValueError, match="max_bytes"):
        MemoryStore(max_bytes=-1)


def test_close_forgets():
    with MemoryStore() as store:
        store.space("a", SPEC).put(keys(2), random_packed([1, 2], SPEC))

    assert store.stats()["n_documents"] == store.stats()["size_bytes"] == 0


def test_a_memory_store_says_that_it_cant_be_pickled():
    with pytest.raises(TypeError, match=r"can't be pickled.*share a DiskStore"):
        pickle.dumps(MemoryStore())
