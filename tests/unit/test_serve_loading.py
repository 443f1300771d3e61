"""The model of a server is loaded whatever its store does."""

import asyncio
import warnings

import pytest

from late_rerank import Reranker
from late_rerank.cli import main
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


@pytest.mark.parametrize("query_fingerprint", [None, "of a student"])
def test_where_a_query_encoder_encodes_queries_the_model_is_warm_for_documents_too(query_fingerprint):
    encoder = FakeEncoder()
    encoder.query_fingerprint = query_fingerprint or encoder.fingerprint
    loaded(Reranker(encoder))
    assert (encoder.n_queries, encoder.n_documents) == (1, 0 if query_fingerprint is None else 1)


def test_a_store_that_is_down_is_told_by_the_server_and_not_by_the_command_as_well(monkeypatch, tmp_path):
    pytest.importorskip("obstore", reason='needs `pip install "late-rerank[remote]"`')
    told = {"AWS_ENDPOINT": "http://127.0.0.1:1", "AWS_ALLOW_HTTP": "true", "XDG_CACHE_HOME": str(tmp_path)}
    for name, value in (told | dict.fromkeys(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"), "a")).items():
        monkeypatch.setenv(name, value)
    served = []
    monkeypatch.setattr("late_rerank.serve.running.serve", lambda *given: served.append(given))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        main(["serve", "--store", "s3://bucket/p"])
    assert len(served) == 1
