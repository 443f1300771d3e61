"""One test for each behaviour of LangChain that bites wrappers, and for each convention in the field."""

import asyncio
import copy
import json
import threading
from unittest.mock import MagicMock

import pytest
from langchain_classic.retrievers import ContextualCompressionRetriever
from langchain_core.documents import Document
from langchain_core.load import dumpd
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import ConfigurableField, RunnableLambda
from langchain_core.tracers import LangChainTracer
from langchain_late_rerank import LateRerankCompressor, LateRerankRetriever
from langsmith import Client
from support import BEST, QUERY, TEXTS, Spy, base, called, documents, texts, vector_store

from late_rerank.testing.fakes import FakeEncoder


def test_k_of_one_call_is_not_dropped(retriever):
    assert len(retriever.invoke(QUERY, k=1)) == 1
    assert len(retriever.invoke(QUERY, None, k=3)) == 3
    assert len(retriever.invoke(QUERY)) == 2


async def test_k_of_one_async_call_is_not_dropped(retriever):
    assert len(await retriever.ainvoke(QUERY, k=1)) == 1
    assert len(await retriever.ainvoke(QUERY, None, k=3)) == 3
    assert len(await retriever.ainvoke(QUERY)) == 2


async def test_unknown_arguments_of_one_call_raise(retriever):
    with pytest.raises(TypeError, match="top_k"):
        retriever.invoke(QUERY, top_k=1)
    with pytest.raises(TypeError, match="top_k"):
        await retriever.ainvoke(QUERY, top_k=1)


async def test_configurable_fields_never_load_the_model_again(loads):
    retriever = LateRerankRetriever(base_retriever=base(), name="mine", tags=["t"]).configurable_fields(
        k=ConfigurableField("k")
    )
    for k in (1, 3, 5):
        assert len(retriever.invoke(QUERY, {"configurable": {"k": k}})) == k
        assert len(await retriever.ainvoke(QUERY, {"configurable": {"k": k}})) == k
    assert loads == ["minilm"]


async def test_configured_numbers_are_checked(retriever):
    with pytest.raises(ValueError, match="k must be at least 1, got 0"):
        retriever.configurable_fields(k=ConfigurableField("k")).invoke(QUERY, {"configurable": {"k": 0}})


def mocked_langsmith():
    client = Client(api_url="http://localhost:1984", api_key="x", session=MagicMock(), auto_batch_tracing=False, info={})
    return client, LangChainTracer(client=client)


def test_the_model_name_is_in_our_run_and_not_in_the_bases(retriever):
    spy = Spy()
    retriever.invoke(QUERY, {"callbacks": [spy]})
    assert spy.metadata["LateRerankRetriever"]["late_rerank_model"] == "FakeEncoder"
    assert "late_rerank_model" not in spy.metadata["VectorStoreRetriever"]
    assert "ls_embedding_model" not in spy.metadata["LateRerankRetriever"]
    assert spy.metadata["VectorStoreRetriever"]["ls_embedding_provider"] == "DeterministicFakeEmbedding"


def test_a_langsmith_server_gets_both_runs_and_a_short_repr(retriever):
    client, tracer = mocked_langsmith()
    retriever.invoke(QUERY, {"callbacks": [tracer]})
    tracer.wait_for_futures()
    posts = [json.loads(call.kwargs["data"]) for call in client.session.request.call_args_list if call.args[0] == "POST"]
    ours, child = sorted(posts, key=lambda post: post["name"])
    assert (ours["name"], child["name"]) == ("LateRerankRetriever", "VectorStoreRetriever")
    assert child["parent_run_id"] == ours["id"]
    assert ours["extra"]["metadata"]["late_rerank_model"] == "FakeEncoder"
    assert "late_rerank_model" not in child["extra"]["metadata"]
    assert "FakeEncoder" not in json.dumps(child)
    patches = [json.loads(call.kwargs["data"]) for call in client.session.request.call_args_list if call.args[0] == "PATCH"]
    outputs = {patch["id"]: patch["outputs"]["documents"] for patch in patches}
    assert outputs[ours["id"]][0]["page_content"] == BEST
    assert "relevance_score" in outputs[ours["id"]][0]["metadata"]
    assert len(outputs[child["id"]]) == len(TEXTS)


def test_the_repr_that_traces_carry_is_short(reranker):
    class Big(BaseRetriever):
        found: list[Document]

        def _get_relevant_documents(self, query, *, run_manager):
            return self.found

    retriever = LateRerankRetriever(base_retriever=Big(found=documents() * 100), reranker=reranker, k=2)
    assert repr(retriever) == "LateRerankRetriever(base_retriever='Big', k=2, model='FakeEncoder')"
    assert dumpd(retriever)["repr"] == repr(retriever)
    assert LateRerankRetriever.model_fields["reranker"].repr is False
    with_fetch_k = LateRerankRetriever(base_retriever=base(), reranker=reranker, k=2, fetch_k=7)
    assert "fetch_k=7" in repr(with_fetch_k)


async def test_the_bases_run_is_nested_in_ours(retriever):
    for run in (retriever.invoke, retriever.ainvoke):
        spy = Spy()
        await called(run, QUERY, {"callbacks": [spy]})
        assert spy.events == [
            ("retriever_start", "LateRerankRetriever"),
            ("retriever_start", "VectorStoreRetriever"),
            ("retriever_end", 7),
            ("retriever_end", 2),
        ]
        assert spy.parents == {"LateRerankRetriever": None, "VectorStoreRetriever": "LateRerankRetriever"}


async def test_a_compressor_is_visible_in_traces(compressor):
    retriever = ContextualCompressionRetriever(base_compressor=compressor, base_retriever=base())
    for run in (retriever.invoke, retriever.ainvoke):
        spy = Spy()
        found = await called(run, QUERY, {"callbacks": [spy]})
        assert found[0].page_content == BEST
        assert ("chain_start", "LateRerank") in spy.events
        assert ("chain_end", "LateRerank") in spy.events
        assert spy.parents["LateRerank"] == "ContextualCompressionRetriever"
        assert [name for event, name in spy.events if event == "chain_start"] == ["LateRerank"]


def test_a_compressor_alone_reports_to_the_callbacks_it_is_given(compressor):
    spy = Spy()
    compressor.compress_documents(documents(), QUERY, callbacks=[spy])
    assert spy.events == [("chain_start", "LateRerank"), ("chain_end", "LateRerank")]


def test_contextual_compression_sends_k_to_the_base_and_not_to_the_compressor(compressor):
    retriever = ContextualCompressionRetriever(base_compressor=compressor, base_retriever=base())
    spy = Spy()
    assert len(retriever.invoke(QUERY, {"callbacks": [spy]}, k=5)) == 2
    assert ("retriever_end", 5) in spy.events


async def test_fetch_k_asks_the_base_for_more_than_its_default_of_4(reranker):
    retriever = LateRerankRetriever(base_retriever=vector_store().as_retriever(), reranker=reranker, fetch_k=6)
    for run in (retriever.invoke, retriever.ainvoke):
        spy = Spy()
        await called(run, QUERY, {"callbacks": [spy]})
        assert [n for event, n in spy.events if event == "retriever_end"] == [6, 3]


async def test_the_base_is_never_sent_a_k_unasked(reranker):
    lenient = LateRerankRetriever(base_retriever=RunnableLambda(lambda query: documents()), reranker=reranker)
    assert texts(lenient.invoke(QUERY, k=1)) == [BEST]  # a RunnableLambda that is sent k raises TypeError
    assert texts(await lenient.ainvoke(QUERY, k=1)) == [BEST]
    asking = LateRerankRetriever(base_retriever=RunnableLambda(lambda query: documents()), reranker=reranker, fetch_k=5)
    with pytest.raises(TypeError, match="'k'"):
        asking.invoke(QUERY)


async def test_stream_gives_one_chunk(retriever):
    (chunk,) = retriever.stream(QUERY)
    assert chunk == retriever.invoke(QUERY)
    (chunk,) = [chunk async for chunk in retriever.astream(QUERY)]
    assert chunk == retriever.invoke(QUERY)


async def test_batch_and_async_score_in_worker_threads(retriever):
    """Two at once: at the barrier each waits for another."""
    threads, pairs = set(), threading.Barrier(2)

    def meet(texts):
        threads.add(threading.current_thread().name)
        pairs.wait(60)

    expected = retriever.invoke(QUERY)
    retriever = LateRerankRetriever(base_retriever=base(), model=FakeEncoder(before_query=meet), k=2)
    assert retriever.batch([QUERY] * 4) == [expected] * 4
    assert await retriever.abatch([QUERY] * 4) == [expected] * 4
    assert await asyncio.gather(retriever.ainvoke(QUERY), retriever.ainvoke(QUERY)) == [expected] * 2
    assert threading.current_thread().name not in threads
    assert len(threads) > 1


def test_a_compressor_can_be_deep_copied_although_a_reranker_holds_locks(compressor):
    assert copy.deepcopy(compressor).reranker is compressor.reranker


def test_document_ids_survive(retriever, compressor):
    assert retriever.invoke(QUERY)[0].id == "d3"
    assert compressor.compress_documents(documents(), QUERY)[0].id == "d3"


def test_names_are_those_of_the_field(reranker):
    compressor = LateRerankCompressor(reranker=reranker)
    assert compressor.top_n == 3
    assert LateRerankRetriever(base_retriever=base(), reranker=reranker).k == 3
    assert type(compressor.compress_documents(documents(), QUERY)[0].metadata["relevance_score"]) is float
    assert compressor.rerank(TEXTS, QUERY, top_n=1)[0].keys() == {"index", "relevance_score"}
    for kind in (LateRerankCompressor, LateRerankRetriever):
        assert kind.model_config["extra"] == "forbid"
        assert kind.model_config["arbitrary_types_allowed"] is True
    with pytest.raises(TypeError, match="top_n"):
        LateRerankRetriever(base_retriever=base(), reranker=reranker, top_n=3)
    retriever = LateRerankRetriever(base_retriever=base(), reranker=reranker)
    with pytest.raises(ValueError, match="top_n"):
        retriever.top_n = 3
