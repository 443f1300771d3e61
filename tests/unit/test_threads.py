"""Threads for event loops: `arerank` has its own, bounded, that nobody waits for."""

import asyncio
import contextvars
import gc
import subprocess
import sys
import threading
import time
from threading import Event

import pytest

from late_rerank import Reranker
from late_rerank.processes.threads import CallThreads
from late_rerank.testing.fakes import FakeEncoder


class HeldEncoder(FakeEncoder):
    def __init__(self):
        super().__init__()
        self.may_go, self.begun = Event(), Event()

    def encode_document(self, texts):
        self.begun.set()
        assert self.may_go.wait(60)
        return super().encode_document(texts)


def until(condition):
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.002)


def test_the_loops_own_threads_stay_free_while_many_calls_rerank():
    encoder = HeldEncoder()

    async def chatbot():
        calls = [asyncio.create_task(reranker.arerank("q", [f"doc {i}"])) for i in range(100)]
        await asyncio.to_thread(encoder.begun.wait, 60)
        await asyncio.wait_for(asyncio.get_running_loop().getaddrinfo("127.0.0.1", 80), 60)
        done = sum(call.done() for call in calls)
        encoder.may_go.set()
        return done, await asyncio.gather(*calls)

    with Reranker(encoder) as reranker:
        done, rankings = asyncio.run(chatbot())
    assert done == 0
    assert [ranking[0].text for ranking in rankings] == [f"doc {i}" for i in range(100)]


def test_context_variables_are_the_callers():
    asked = contextvars.ContextVar("asked", default="nobody")

    class Asks(FakeEncoder):
        def encode_query(self, texts):
            found.append(asked.get())
            return super().encode_query(texts)

    async def ask(name):
        asked.set(name)
        await reranker.arerank("q", ["a"])

    async def all_of_them():
        await asyncio.gather(*map(ask, "xyz"))

    found = []
    with Reranker(Asks()) as reranker:
        asyncio.run(all_of_them())
    assert sorted(found) == ["x", "y", "z"]


def test_a_cancelled_call_that_waits_for_a_thread_never_begins():
    threads, may_go, begun = CallThreads(1), Event(), []
    first = threads.submit(may_go.wait, 60)
    second = threads.submit(begun.append, 2)
    third = threads.submit(begun.append, 3)
    assert second.cancel()
    may_go.set()
    third.result(60)
    assert first.result(60)
    assert begun == [3]


def test_errors_come_back_and_leave_the_thread():
    threads = CallThreads(1)
    with pytest.raises(ZeroDivisionError):
        threads.submit(lambda: 1 // 0).result(60)
    assert threads.submit(lambda: 1).result(60) == 1


def test_threads_are_begun_when_needed_and_are_no_more_than_asked_for():
    threads, may_go = CallThreads(3), Event()
    for _ in range(5):
        threads.submit(int).result(60)
        until(lambda: threads._line.n_idle)
    assert threads._line.n_threads == 1
    futures = [threads.submit(may_go.wait, 60) for _ in range(10)]
    assert threads._line.n_threads == 3
    may_go.set()
    assert all(future.result(60) for future in futures)


@pytest.mark.parametrize("end", ["close", "collect"])
def test_threads_end_with_their_reranker(end):
    def alive():
        return [
            thread for thread in threading.enumerate() if thread.name.startswith("late-rerank reranks") and thread not in old
        ]

    old = threading.enumerate()
    reranker = Reranker(FakeEncoder())
    asyncio.run(reranker.arerank("q", ["a"]))
    assert alive()
    if end == "close":
        reranker.close()
        assert asyncio.run(reranker.arerank("q", ["a"]))[0].text == "a"  # as rerank
        reranker.close()
    else:
        del reranker
        gc.collect()
    until(lambda: not alive())


def test_a_process_that_ends_does_not_wait_for_them():
    code = """
import asyncio, time
from late_rerank import Reranker
from late_rerank.testing.fakes import FakeEncoder
class Slow(FakeEncoder):
    def encode_document(self, texts):
        time.sleep(100)
async def main():
    reranker = Reranker(Slow())
    calls = [asyncio.create_task(reranker.arerank("q", [f"doc {i}"])) for i in range(50)]
    await asyncio.sleep(0.01)
asyncio.run(main())
print("main ends")
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (run.returncode, run.stdout, run.stderr) == (0, "main ends\n", "")
