"""The model of a server is loaded whatever its store does."""

import asyncio

from late_rerank import Reranker
from late_rerank.errors import StoreConnectionError
from late_rerank.serve.limits import Limits
from late_rerank.serve.loading import ModelLoader
from late_rerank.stores import MemoryStore
from late_rerank.testing.fakes import FakeEncoder


class DownStore(MemoryStore):
    """A store that can't be counted now."""

    def stats(self):
        raise StoreConnectionError("no connection")


def loaded(reranker):
    async def ran():
        loader = ModelLoader(lambda: reranker, Limits())
        loader.begin_once()
        await loader.loaded()
        try:
            return loader.ready.about
        finally:
            await loader.close()

    return asyncio.run(ran())


def test_a_server_is_ready_though_its_store_is_down_and_its_store_is_never_counted():
    assert loaded(Reranker(FakeEncoder(), store=DownStore()))["store"] == "DownStore"


def test_what_a_server_tells_of_its_model_is_what_the_reranker_tells():
    reranker = Reranker(FakeEncoder())
    about, stats = loaded(reranker), reranker.stats()
    names = ("codec", "pooling", "backend", "kernel", "fingerprint", "modalities", "scoring")
    assert {name: about[name] for name in names} == {name: stats[name] for name in names}
