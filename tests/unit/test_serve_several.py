"""Several models in one server: loaded when asked for, the least recently used closed, none while it is used."""

import asyncio
import logging
import threading
from contextlib import AsyncExitStack

import pytest

from late_rerank import Reranker
from late_rerank.serve.errors import RequestError
from late_rerank.serve.limits import Limits
from late_rerank.serve.several import Models
from late_rerank.testing.fakes import FakeEncoder


class Made:
    """Counts what is made and what is open."""

    def __init__(self, *names, fails=()):
        self.fails = set(fails)
        self.begun = []
        self.open = []
        self.makers = {name: lambda name=name: self.make(name) for name in names}

    def make(self, name):
        self.begun.append(name)
        if name in self.fails:
            raise OSError("no such file")
        reranker, close = Reranker(FakeEncoder()), Reranker.close
        self.open.append(name)

        def closed():
            self.open.remove(name)
            close(reranker)

        reranker.close = closed
        return reranker


class Clock:
    """Stands still until it is put forward."""

    now = 100.0

    def __call__(self):
        return self.now


def run(made, most, does, clock=None, **limits):
    async def ran():
        models = Models(made.makers, Limits(models=most, **limits), clock=clock or Clock())
        models.begin(gives_up=True)
        await models.loaded()
        try:
            return await does(models)
        finally:
            await models.close()

    try:
        return asyncio.run(ran())
    finally:
        assert made.open == []


async def use(models, *names):
    for name in names:
        async with models.using(name) as model:
            assert await asyncio.to_thread(model.reranker.rerank, "cats", ["cats"])


def test_a_model_is_loaded_when_it_is_asked_for_and_once():
    made = Made("a", "b", "c")

    async def does(models):
        assert (made.begun, models.loaded_names) == (["a"], ["a"])
        await asyncio.gather(*(use(models, "b", "a") for _ in range(5)))
        assert (made.begun, models.loaded_names) == (["a", "b"], ["a", "b"])

    run(made, 3, does)


def test_the_least_recently_used_goes_and_never_the_first():
    made = Made("a", "b", "c", "d")

    async def does(models):
        await use(models, "b", "c", "b", "d")
        await asyncio.sleep(0)
        assert models.loaded_names == ["a", "b", "d"]
        await use(models, "c")
        assert models.loaded_names == ["a", "c", "d"]
        assert made.begun == ["a", "b", "c", "d", "c"]

    run(made, 3, does)


def test_one_that_is_used_stays_until_it_is_not():
    made = Made("a", "b", "c")

    async def does(models):
        async with models.using("b") as b:
            await use(models, "c")
            assert set(models.loaded_names) >= {"a", "b"}
            assert await asyncio.to_thread(b.reranker.rerank, "cats", ["cats"])
        await use(models, "c")
        assert models.loaded_names == ["a", "c"]

    run(made, 2, does)


def test_many_that_are_asked_for_at_once_are_loaded_one_after_the_other():
    made = Made(*"abcdefg")
    most = []

    async def does(models):
        async def ask(name):
            async with models.using(name) as model:
                most.append(len(made.open))
                assert model.name == name

        await asyncio.gather(*map(ask, "bcdefg"))

    run(made, 2, does)
    assert max(most) <= 3  # one that has just answered may not be closed yet


def test_a_slow_one_is_not_closed_while_it_loads_and_served_in_the_end():
    made = Made("a", "b")
    may_end = threading.Event()
    make = made.makers["b"]
    made.makers["b"] = lambda: may_end.wait() and make()

    async def does(models):
        for _ in range(3):
            with pytest.raises(RequestError, match="is being loaded") as told:
                await use(models, "b")
        may_end.set()
        assert told.value.status == 504
        while "b" not in models.loaded_names:
            await asyncio.sleep(0.001)
        await use(models, "b")
        assert made.begun == ["a", "b"]

    run(made, 1, does, timeout_s=0.02)


def test_a_model_of_just_the_name_comes_before_one_that_ends_so():
    made = Made("bge", "BAAI/bge")

    async def does(models):
        return models.named("BAAI/bge"), models.named("bge"), models.named("other/bge")

    assert run(made, 2, does) == ("BAAI/bge", "bge", "bge")


@pytest.mark.parametrize("asked", [None, "", "default", "rerank-v3.5"])
def test_a_request_that_names_none_of_them_gets_the_first(asked):
    made = Made("a", "b")

    async def does(models):
        return models.named(asked), models.named("b"), models.named("owner/b")

    assert run(made, 2, does) == ("a", "b", "b")


def test_one_that_cannot_be_loaded_is_told_and_left_alone_for_half_a_minute(caplog):
    made, clock = Made("a", "b", fails=["b"]), Clock()

    async def does(models):
        for passed, n_tries, retry_after_s in ((0, 1, 30), (0.5, 1, 30), (29, 1, 1), (0.5, 2, 30), (0, 2, 30)):
            clock.now += passed
            with pytest.raises(RequestError, match=r"the model b can't be loaded \(OSError: see the server's log\)") as told:
                await use(models, "b")
            assert (told.value.status, told.value.retry_after_s) == (503, retry_after_s)
            assert made.begun.count("b") == n_tries
            await use(models, "a")
        made.fails.clear()
        clock.now += 30
        await use(models, "b")
        assert made.begun == ["a", "b", "b", "b"]

    with caplog.at_level(logging.ERROR, "late_rerank.serve"):
        run(made, 2, does, clock)
    assert [record.getMessage() for record in caplog.records] == ["the model b can't be loaded: OSError: no such file"] * 2


def test_all_that_wait_for_one_that_cannot_be_loaded_are_told_of_one_try():
    made = Made("a", "b", fails=["b"])

    async def does(models):
        told = await asyncio.gather(*(use(models, "b") for _ in range(5)), return_exceptions=True)
        assert [(type(each), each.retry_after_s) for each in told] == [(RequestError, 30)] * 5
        assert made.begun == ["a", "b"]

    run(made, 2, does)


def test_a_try_that_fails_when_nobody_waits_any_more_is_remembered():
    made, clock = Made("a", "b", fails=["b"]), Clock()
    may_end = threading.Event()
    make = made.makers["b"]
    made.makers["b"] = lambda: may_end.wait() and make()

    async def does(models):
        with pytest.raises(RequestError, match="is being loaded"):
            await use(models, "b")
        may_end.set()
        while "b" in models._slots:
            await asyncio.sleep(0.001)
        with pytest.raises(RequestError, match="can't be loaded"):
            await use(models, "b")
        assert made.begun == ["a", "b"]

    run(made, 2, does, clock, timeout_s=0.02)


def test_at_the_end_all_are_closed_even_when_used():
    made = Made("a", "b", "c")

    async def does(models):
        stack = AsyncExitStack()
        for name in "abc":
            await stack.enter_async_context(models.using(name))

    run(made, 1, does)
