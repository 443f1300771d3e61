"""One reranker for all threads; the event loop is never blocked."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from helpers import QUERY, TEXTS, scores
from llama_index.postprocessor.late_rerank import LateRerank, LateRerankRetriever

from late_rerank.testing.fakes import FakeEncoder

QUERIES = [" ".join(TEXTS[i].split()[:3] + TEXTS[(i + j) % 7].split()[1:]) for i in range(7) for j in range(1, 7)]


class Slow(FakeEncoder):
    def encode_query(self, texts):
        time.sleep(0.3)
        return super().encode_query(texts)


async def ticks_during(awaitable):
    """How often a ticker of 10 ms came to its turn meanwhile."""
    n_ticks = 0

    async def tick():
        nonlocal n_ticks
        while True:
            await asyncio.sleep(0.01)
            n_ticks += 1

    ticker = asyncio.create_task(tick())
    await awaitable
    ticker.cancel()
    return n_ticks


@pytest.fixture
def slow():
    return LateRerank(2, model=Slow())


async def test_the_postprocessor_never_blocks_the_event_loop(slow, nodes):
    n_ticks = await ticks_during(slow.apostprocess_nodes(nodes, query_str=QUERY))

    assert n_ticks > 10


async def test_the_retriever_never_blocks_the_event_loop(slow, index):
    """The framework's default `_aretrieve` would: 0 or 1 ticks."""
    retriever = LateRerankRetriever(index.as_retriever(similarity_top_k=7), 2, reranker=slow.reranker)
    n_ticks = await ticks_during(retriever.aretrieve(QUERY))

    assert n_ticks > 10


@pytest.mark.parametrize("mode", ["context", "condense_plus_context"])
async def test_a_chat_engine_never_blocks_the_event_loop(mode, slow, index):
    chat = index.as_chat_engine(chat_mode=mode, similarity_top_k=7, node_postprocessors=[slow])
    n_ticks = await ticks_during(chat.achat(QUERY))

    assert n_ticks > 10


async def test_four_awaited_together_take_less_than_four_times_as_long(slow, nodes):
    start = time.perf_counter()
    await asyncio.gather(*(slow.apostprocess_nodes(nodes, query_str=QUERY) for _ in range(4)))

    assert time.perf_counter() - start < 4 * 0.3


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
