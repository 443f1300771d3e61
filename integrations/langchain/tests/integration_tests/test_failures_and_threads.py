"""Errors, cancellation, threads, and the event loop."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from langchain_classic.retrievers import ContextualCompressionRetriever
from langchain_core.documents import Document
from langchain_core.runnables import RunnableLambda
from langchain_core.tracers.run_collector import RunCollectorCallbackHandler
from langchain_late_rerank import LateRerankCompressor, LateRerankRetriever
from support import BEST, QUERY, TEXTS, Spy, base, called, documents, fails, texts

from late_rerank import Reranker
from late_rerank.errors import MissingDocumentsError
from late_rerank.testing.fakes import FakeEncoder, Gate


async def test_a_retriever_encodes_and_scores_beside_the_event_loop():
    gate = Gate()
    retriever = LateRerankRetriever(base_retriever=base(), model=FakeEncoder(before_query=gate, before_document=gate))
    found = await gate.opened_during(retriever.ainvoke(QUERY))
    assert found[0].page_content == BEST
    assert threading.current_thread().name not in gate.threads


async def test_a_compressor_encodes_and_scores_beside_the_event_loop():
    gate = Gate()
    compressor = LateRerankCompressor(model=FakeEncoder(before_query=gate, before_document=gate))
    found = await gate.opened_during(compressor.acompress_documents(documents(), QUERY))
    assert found[0].page_content == BEST
    assert threading.current_thread().name not in gate.threads


async def test_a_base_retriever_is_asked_asynchronously_too(reranker):
    where = []

    async def search(query):
        where.append(threading.current_thread().name)
        await asyncio.sleep(0)
        return documents()

    def never(query):
        raise AssertionError("the sync way was taken")

    retriever = LateRerankRetriever(base_retriever=RunnableLambda(never, search), reranker=reranker)
    assert (await retriever.ainvoke(QUERY))[0].page_content == BEST
    assert where == [threading.current_thread().name]


def calls(n):
    """For each of n callers a query of its own and documents, some of whose texts other callers have too."""
    words = [word for text in TEXTS for word in text.rstrip(".").split()]
    for i in range(n):
        found = [Document(f"{text} {words[(i + j) % len(words)]} {i % 4}", id=f"{i}-{j}") for j, text in enumerate(TEXTS)]
        yield f"{words[i % len(words)]} {words[(3 * i + 1) % len(words)]} {i}", found


def test_32_threads_share_one_reranker_and_get_the_single_threaded_answers():
    found_by = dict(calls(32))
    expected = [
        LateRerankCompressor(model=FakeEncoder(), top_n=7).compress_documents(found, query) for query, found in found_by.items()
    ]
    shared = Reranker(FakeEncoder())
    compressor = LateRerankCompressor(reranker=shared, top_n=7)
    retriever = LateRerankRetriever(base_retriever=RunnableLambda(found_by.get), reranker=shared, k=7)
    together = threading.Barrier(32)

    def call(number, query):
        together.wait(30)
        return retriever.invoke(query) if number % 2 else compressor.compress_documents(found_by[query], query)

    with ThreadPoolExecutor(32) as pool:
        answers = list(pool.map(call, range(32), found_by))
    for answer, alone in zip(answers, expected, strict=True):
        assert [document.id for document in answer] == [document.id for document in alone]
        scores = [document.metadata["late_rerank_score"] for document in answer]
        assert scores == pytest.approx([document.metadata["late_rerank_score"] for document in alone], abs=1e-4)


async def test_many_async_calls_share_one_retriever(retriever):
    expected = retriever.invoke(QUERY)
    assert await asyncio.gather(*(retriever.ainvoke(QUERY) for _ in range(32))) == [expected] * 32


async def test_an_error_of_the_base_reaches_the_tracer_from_both_runs(reranker):
    def fail(query):
        raise ConnectionError("the database is gone")

    retriever = LateRerankRetriever(base_retriever=RunnableLambda(fail, name="base"), reranker=reranker)
    for run in (retriever.invoke, retriever.ainvoke):
        spy, collector = Spy(), RunCollectorCallbackHandler()
        with pytest.raises(ConnectionError, match="the database is gone"):
            await called(run, QUERY, {"callbacks": [spy, collector]})
        assert [(kind, name) for kind, name, _ in spy.errors] == [("chain", "base"), ("retriever", "LateRerankRetriever")]
        assert "the database is gone" in collector.traced_runs[0].error


async def test_an_error_of_the_reranker_reaches_the_tracer_from_our_run_only():
    retriever = LateRerankRetriever(base_retriever=base(), model=FakeEncoder(before_query=fails))
    for run in (retriever.invoke, retriever.ainvoke):
        spy = Spy()
        with pytest.raises(RuntimeError, match="the encoder is broken"):
            await called(run, QUERY, {"callbacks": [spy]})
        assert spy.errors == [("retriever", "LateRerankRetriever", "RuntimeError('the encoder is broken')")]
        assert ("retriever_end", 7) in spy.events


async def test_an_error_in_a_compressor_reaches_the_tracer_by_its_name():
    broken = LateRerankCompressor(model=FakeEncoder(before_query=fails))
    retriever = ContextualCompressionRetriever(base_compressor=broken, base_retriever=base())
    for run in (retriever.invoke, retriever.ainvoke):
        spy = Spy()
        with pytest.raises(RuntimeError, match="the encoder is broken"):
            await called(run, QUERY, {"callbacks": [spy]})
        assert [(kind, name) for kind, name, _ in spy.errors] == [
            ("chain", "LateRerank"),
            ("retriever", "ContextualCompressionRetriever"),
        ]


def test_missing_documents_raise_where_the_reranker_says_so():
    reranker = Reranker(FakeEncoder(), on_missing="raise")
    with pytest.raises(MissingDocumentsError, match="7 candidate"):
        LateRerankRetriever(base_retriever=base(), reranker=reranker).invoke(QUERY)


def test_a_trace_shows_a_blank_query_as_a_run_that_found_nothing(retriever):
    spy = Spy()
    assert retriever.invoke(" ", {"callbacks": [spy]}) == []
    assert spy.events == [("retriever_start", "LateRerankRetriever"), ("retriever_end", 0)]
    assert spy.errors == []


async def test_batch_can_return_errors(retriever, reranker):
    def sometimes(query):
        if query == "bad":
            raise ValueError("no")
        return documents()

    retriever = LateRerankRetriever(base_retriever=RunnableLambda(sometimes), reranker=reranker)
    for found in (
        retriever.batch([QUERY, "bad", QUERY], return_exceptions=True),
        await retriever.abatch([QUERY, "bad", QUERY], return_exceptions=True),
    ):
        assert texts(found[0])[0] == texts(found[2])[0] == BEST
        assert isinstance(found[1], ValueError)


async def test_a_cancelled_call_leaves_the_reranker_usable():
    gate = Gate()
    gate.open()
    reranker = Reranker(FakeEncoder(before_query=lambda texts: gate()))
    retriever = LateRerankRetriever(base_retriever=base(), reranker=reranker)
    compressor = LateRerankCompressor(reranker=reranker)
    expected = retriever.invoke(QUERY)
    calls = [
        lambda: retriever.ainvoke(QUERY),
        lambda: compressor.acompress_documents(documents(), QUERY),
        lambda: retriever.ainvoke("another query"),
    ]
    for call in calls:
        gate = Gate()
        task = asyncio.ensure_future(call())
        await gate.reached(task)
        assert threading.current_thread().name not in gate.threads
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        gate.open()
    assert await retriever.ainvoke(QUERY) == expected
    assert retriever.invoke(QUERY) == expected


async def test_a_call_that_takes_too_long_leaves_the_reranker_usable():
    gate = Gate()
    retriever = LateRerankRetriever(base_retriever=base(), model=FakeEncoder(before_query=gate))
    task = asyncio.ensure_future(retriever.ainvoke(QUERY))
    await gate.reached(task)
    assert threading.current_thread().name not in gate.threads
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(task, 0.01)
    gate.open()
    assert await retriever.ainvoke(QUERY) == retriever.invoke(QUERY)
