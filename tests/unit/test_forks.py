"""Forked children: locks, threads and engines that were the parent's. Without a model; end_to_end/test_forks.py has those."""

import asyncio
import os
import threading
from threading import Event, Lock

import pytest
from forking import in_a_child, needs_fork

from late_rerank import Reranker
from late_rerank.errors import ForkError, LateRerankError
from late_rerank.processes import forks as processes
from late_rerank.processes.forks import check_device, engine_call, guarded
from late_rerank.processes.threads import CallThreads
from late_rerank.retrieve import BM25Retriever
from late_rerank.stores import DiskStore, MemoryStore, TieredStore
from late_rerank.testing.fakes import FakeEncoder

pytestmark = needs_fork
TEXTS = [f"word{i} common" for i in range(20)]


class HeldEncoder(FakeEncoder):
    """Encodes documents once it may, in the process that made it; children may at once."""

    def __init__(self):
        super().__init__()
        self.process = os.getpid()
        self.is_encoding, self.may_go = Event(), Event()

    def encode_document(self, texts):
        if os.getpid() == self.process:
            self.is_encoding.set()
            assert self.may_go.wait(60)
        return super().encode_document(texts)


@pytest.fixture
def held():
    encoder = HeldEncoder()
    with Reranker(encoder) as reranker:
        yield reranker
        encoder.may_go.set()


def best(reranker, texts=TEXTS):
    ranking = reranker.rerank("word7", texts)
    return ranking[0].text, ranking.n_hits


def test_a_child_ranks_with_its_parents_reranker_and_what_its_memory_holds():
    with Reranker(FakeEncoder()) as reranker:
        reranker.index(TEXTS[:10])
        assert in_a_child(lambda: best(reranker)) == (TEXTS[7], 10)
        assert best(reranker) == (TEXTS[7], 10)


def test_a_child_does_not_wait_for_a_thread_of_its_parents_that_encodes(held):
    threading.Thread(target=held.rerank, args=("word", TEXTS), daemon=True).start()
    assert held.encoder.is_encoding.wait(60)
    assert in_a_child(lambda: (best(held), held.stats()["n_waiting"])) == ((TEXTS[7], 0), 0)


def test_nor_for_what_its_parent_left_at_a_deadline(held):
    held.rerank("word", TEXTS, deadline_s=0.0)
    assert held.encoder.is_encoding.wait(60)

    def in_time():
        ranking = held.rerank("word7", TEXTS, deadline_s=50)
        return ranking[0].text, ranking.n_unscored

    assert in_a_child(in_time) == (TEXTS[7], 0)


def test_a_child_of_a_child_ranks_too(held):
    assert in_a_child(lambda: in_a_child(lambda: best(held))) == (TEXTS[7], 0)


def test_arerank_has_threads_in_the_child_that_its_parents_do_not_stand_for():
    with Reranker(FakeEncoder()) as reranker:

        def first():
            return asyncio.run(reranker.arerank("word7", TEXTS))[0].text

        assert first() == TEXTS[7]
        assert in_a_child(first) == TEXTS[7]


def test_a_lock_that_a_thread_never_gives_back_is_free_in_the_child(monkeypatch):
    monkeypatch.setattr(processes, "_LONGEST_LOCK_S", 0.01)
    lock = guarded(Lock())
    with lock:
        assert in_a_child(lambda: lock.acquire(timeout=50))


def test_a_fork_waits_for_a_lock_so_that_what_it_guards_is_whole():
    lock, begun, whole = guarded(Lock()), Event(), []

    def change():
        with lock:
            whole.append(1)
            begun.set()
            threading.Event().wait(0.05)
            whole.append(2)

    thread = threading.Thread(target=change)
    thread.start()
    begun.wait(60)
    assert in_a_child(lambda: (whole, lock.acquire(timeout=50))) == ([1, 2], True)
    thread.join()
    assert lock.acquire(timeout=50)


class Told:
    """Notes what it is told of forks."""

    def __init__(self, *, fails=False):
        self.told, self.fails = [], fails
        processes.prepare(self)

    def before_fork(self):
        if self.fails:
            raise RuntimeError("before the fork")
        self.told.append("before")

    def after_fork_in_parent(self):
        self.told.append("parent")

    def after_fork_in_child(self):
        self.told.append("child")


def test_what_is_prepared_for_forks_is_told_before_and_on_both_sides():
    told = Told()
    assert in_a_child(lambda: told.told) == ["before", "child"]
    assert told.told == ["before", "parent"]


def test_what_is_forgotten_is_told_of_no_fork():
    told = Told()
    processes.forget(told)
    assert in_a_child(lambda: told.told) == []


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_what_fails_before_a_fork_is_told_no_more_and_engines_run_on_both_sides():
    told = Told(fails=True)

    def runs():
        with engine_call():
            return told.told

    assert in_a_child(runs) == []
    assert runs() == []


def test_a_fork_waits_for_the_engine_that_runs():
    begun, is_over = Event(), []

    def run():
        with engine_call():
            begun.set()
            threading.Event().wait(0.05)
            is_over.append(True)

    thread = threading.Thread(target=run)
    thread.start()
    begun.wait(60)

    def call_one():
        with engine_call():
            return is_over

    assert in_a_child(call_one) == [True]
    thread.join()
    with engine_call():
        pass


def test_a_thread_that_forks_in_an_engine_does_not_wait_for_itself():
    with engine_call():
        assert in_a_child(lambda: best(Reranker(FakeEncoder()))) == (TEXTS[7], 0)


def test_where_an_engine_did_not_end_in_time_its_use_in_the_child_is_an_error_at_once_that_says_what_to_do(monkeypatch):
    monkeypatch.setattr(processes, "_LONGEST_CALL_S", 0.01)
    begun, may_go = Event(), Event()

    def run():
        with engine_call():
            begun.set()
            may_go.wait(60)

    threading.Thread(target=run, daemon=True).start()
    begun.wait(60)

    def refused():
        with pytest.raises(ForkError) as error, engine_call():
            pass
        return str(error.value)

    message = in_a_child(refused)
    may_go.set()
    for word in ("spawn", "forkserver", "gunicorn without --preload", "worker_process_init", "multiprocessing"):
        assert word in message
    assert issubclass(ForkError, (LateRerankError, RuntimeError))


def test_a_model_on_an_accelerator_is_refused_in_a_child(monkeypatch):
    monkeypatch.setitem(processes.sys.modules, "torch", processes)

    def refused():
        with pytest.raises(ForkError, match=r"'cuda'.*spawn"):
            check_device("cuda")
        return check_device("cpu")

    assert in_a_child(refused) is None
    check_device("cuda")


@pytest.mark.parametrize("kind", ["memory", "disk", "tiered"])
def test_stores_and_a_first_stage_work_in_a_child(kind, tmp_path):
    store = {
        "memory": MemoryStore,
        "disk": lambda: DiskStore(tmp_path / "store"),
        "tiered": lambda: TieredStore(MemoryStore(), DiskStore(tmp_path / "store")),
    }[kind]()
    retriever = BM25Retriever(TEXTS)
    with store, Reranker(FakeEncoder(), store=store) as reranker:
        reranker.index(TEXTS)
        assert in_a_child(lambda: best(reranker, retriever.retrieve("word7", 20))) == (TEXTS[7], 20)
        assert best(reranker) == (TEXTS[7], 20)


def test_a_child_may_be_forked_while_threads_rank():
    with Reranker(FakeEncoder()) as reranker:
        stop = Event()

        def go_on(name):
            i = 0
            while not stop.is_set():
                i += 1
                reranker.rerank("word", [f"{name} {i}"], deadline_s=None if i % 2 else 0.0)

        threads = [threading.Thread(target=go_on, args=(name,)) for name in "abcd"]
        for thread in threads:
            thread.start()
        try:
            for _ in range(10):
                assert in_a_child(lambda: best(reranker)) == (TEXTS[7], 0)
        finally:
            stop.set()
            for thread in threads:
                thread.join()


def test_threads_of_an_executor_are_the_childs_own():
    threads = CallThreads(1)
    assert threads.submit(os.getpid).result(60) == os.getpid()
    child = in_a_child(lambda: threads.submit(os.getpid).result(50))
    assert child != os.getpid()
