"""Warnings point at the user's line, whatever lies between it and where they are made."""

import asyncio
import inspect

import pytest
from failing_stores import FailingStore

from late_rerank import Reranker, Searcher
from late_rerank.errors import StoreError
from late_rerank.stores import MemoryStore, RedisStore, TieredStore
from late_rerank.testing.fakes import FakeEncoder

TEXTS = ["a cat", "a dog"]


def full():
    return FailingStore(put=StoreError("no room"))


def down():
    pytest.importorskip("redis")
    return RedisStore("redis://127.0.0.1:1/0")


class Cutting(FakeEncoder):
    def encode_query(self, queries):
        vectors = super().encode_query(queries)
        vectors.truncated[:] = True
        return vectors


class Retriever:
    def retrieve(self, query, k=100):
        return TEXTS


MAKE = {
    "full": lambda: Reranker(FakeEncoder(), store=full()),
    "near full": lambda: Reranker(FakeEncoder(), store=TieredStore(full(), MemoryStore())),
    "down": lambda: Reranker(FakeEncoder(), store=down()),
    "cut": lambda: Reranker(Cutting()),
}
CALLS = {
    "rerank": lambda reranker: reranker.rerank("cat", TEXTS),
    "rerank_batch": lambda reranker: reranker.rerank_batch(["cat"], [TEXTS]),
    "token_maxima": lambda reranker: reranker.token_maxima("cat", TEXTS),
    "search": lambda reranker: Searcher(Retriever(), reranker).search("cat"),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("make", MAKE)
def test_a_warning_of_a_query_points_at_the_call(make, call):
    reranker, ask = MAKE[make](), CALLS[call]
    with pytest.warns((UserWarning, RuntimeWarning)) as caught:
        ask(reranker)

    assert [(warning.filename, warning.lineno) for warning in caught] == [(__file__, inspect.getsourcelines(ask)[1])]


@pytest.mark.parametrize("make", ["near full", "down"])
def test_a_warning_of_indexing_points_at_the_call(make):
    reranker = MAKE[make]()
    with pytest.warns(RuntimeWarning) as caught:
        reranker.index(TEXTS)

    assert [warning.filename for warning in caught] == [__file__]


def test_a_warning_in_a_thread_points_outside_this_package():
    with pytest.warns(UserWarning, match="can't keep") as caught:
        asyncio.run(MAKE["full"]().arerank("cat", TEXTS))

    assert "late_rerank" not in caught[0].filename
