"""One reranker for all threads; the event loop is never blocked."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from helpers import QUERY, TEXTS, scores
from llama_index.postprocessor.late_rerank import LateRerank, LateRerankRetriever

from late_rerank.testing.fakes import FakeEncoder, Gate

QUERIES = [" ".join(TEXTS[i].split()[:3] + TEXTS[(i + j) % 7].split()[1:]) for i in range(7) for j in range(1, 7)]


@pytest.fixture
def gate():
    return Gate()


@pytest.fixture
def held(gate):
    """Its model waits at the gate, for queries and documents, until the event loop opens it."""
    return LateRerank(2, model=FakeEncoder(before_query=gate, before_document=gate))


def beside_the_loop(gate):
    return threading.current_thread().name not in gate.threads


async def test_the_postprocessor_works_beside_the_event_loop(gate, held, nodes):
    await gate.opened_during(held.apostprocess_nodes(nodes, query_str=QUERY))

    assert beside_the_loop(gate)


async def test_the_retriever_works_beside_the_event_loop(gate, held, index):
    """The framework's default `_aretrieve` would work on it."""
    retriever = LateRerankRetriever(index.as_retriever(similarity_top_k=7), 2, reranker=held.reranker)
    await gate.opened_during(retriever.aretrieve(QUERY))

    assert beside_the_loop(gate)


@pytest.mark.parametrize("mode", ["context", "condense_plus_context"])
async def test_a_chat_engine_works_beside_the_event_loop(mode, gate, held, index):
    chat = index.as_chat_engine(chat_mode=mode, similarity_top_k=7, node_postprocessors=[held])
    await gate.opened_during(chat.achat(QUERY))

    assert beside_the_loop(gate)


async def test_four_awaited_together_are_encoded_together(nodes):
    """Each waits in its thread for the other three."""
    all_four = threading.Barrier(4)
    rerank = LateRerank(2, model=FakeEncoder(before_query=lambda texts: all_four.wait(60)))
    found = await asyncio.gather(*(rerank.apostprocess_nodes(nodes, query_str=QUERY) for _ in range(4)))

    assert found == [found[0]] * 4


def test_32_threads_get_the_answers_of_one(nodes):
    alone = LateRerank(3, model=FakeEncoder(), keep_retrieval_score=True)
    expected = [scores(alone.postprocess_nodes(nodes, query_str=query)) for query in QUERIES]
    shared = LateRerank(3, model=FakeEncoder(), keep_retrieval_score=True)

    def ask(turn):
        return scores(shared.postprocess_nodes(nodes, query_str=QUERIES[turn % len(QUERIES)]))

    with ThreadPoolExecutor(32) as pool:
        found = list(pool.map(ask, range(320)))
    assert found == [expected[turn % len(QUERIES)] for turn in range(320)]


def test_32_threads_and_the_real_model_get_the_answers_of_one(minilm, nodes):
    rerank = LateRerank(3, reranker=minilm)
    expected = [scores(rerank.postprocess_nodes(nodes, query_str=query)) for query in QUERIES]

    with ThreadPoolExecutor(32) as pool:
        found = list(pool.map(lambda query: scores(rerank.postprocess_nodes(nodes, query_str=query)), QUERIES))
    assert [list(answer) for answer in found] == [list(answer) for answer in expected]
    assert all(answer == pytest.approx(other, abs=1e-4) for answer, other in zip(found, expected, strict=True))


async def test_threads_and_tasks_together_leave_the_nodes_alone(nodes):
    before = [node.model_dump_json() for node in nodes]
    rerank = LateRerank(3, model=FakeEncoder(), keep_retrieval_score=True, keep_late_rerank_score=True)
    await asyncio.gather(*(rerank.apostprocess_nodes(nodes, query_str=query) for query in QUERIES))

    assert [node.model_dump_json() for node in nodes] == before
