"""SharedEncoding without an encoder, a store or a Reranker: each batch begins and ends when the test says so."""

import gc
import queue
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from forking import in_a_child, needs_fork

from late_rerank.processes.forks import engine_call
from late_rerank.vectors.contents import BATCH_CHARS
from late_rerank.vectors.documents import KeyedDocuments
from late_rerank.vectors.sharing import SHARED_BATCH, SharedEncoding

FAR = 1e9  # a deadline that never comes, of time.monotonic()
PAST = 0.0
NAME = "late-rerank encodes"


class Batch:
    """One call of `encode`: it waits until the test ends it."""

    def __init__(self, texts, stored):
        self.texts = list(texts.values())
        self.keys = list(texts)
        self.stored = {texts[key] for key in stored}
        self.thread = threading.current_thread()
        self.error = None
        self._may_end = threading.Event()

    def end(self, error=None):
        self.error = error
        self._may_end.set()

    def documents(self):
        assert self._may_end.wait(60), "the test never ended this batch"
        if self.error is not None:
            raise self.error
        if "bad" in self.texts:
            raise ValueError("bad")
        return documents(dict(zip(self.keys, self.texts, strict=True)))


class Encode:
    """The `encode` of a SharedEncoding. Once `all_end()` was called, no batch waits."""

    def __init__(self):
        self.batches = []
        self._begun = queue.Queue()
        self._waits = True

    def __call__(self, texts, stored):
        batch = Batch(texts, stored)
        self.batches.append(batch)
        if not self._waits:
            batch.end()
        self._begun.put(batch)
        return batch.documents()

    def next(self):
        """The batch that has begun after the last one that was asked for."""
        return self._begun.get(timeout=60)

    def none_begins(self):
        """Whether no batch has begun that wasn't asked for."""
        return self._begun.empty()

    def all_end(self):
        self._waits = False
        for batch in list(self.batches):
            batch.end(batch.error)

    @property
    def texts(self):
        return [text for batch in self.batches for text in batch.texts]


@pytest.fixture
def encode():
    encode = Encode()
    yield encode
    encode.all_end()


@pytest.fixture
def shared(encode):
    shared = SharedEncoding(encode, batch_size=32)
    yield shared
    shared.close()
    encode.all_end()
    until(lambda: not threads_of(encode))


def documents(texts):
    """What stands for the packed documents of texts: the texts."""
    return [KeyedDocuments(list(texts), np.array(list(texts.values()), dtype=object))]


def keyed(texts):
    return {text.encode(): text for text in texts}


def found(shared, texts, until=None, looked=None):
    """The texts whose documents a call is given, in the order of their batches."""
    given = []
    for documents in shared.documents(keyed(texts), until, looked=looked):
        assert documents.keys == [text.encode() for text in documents.packed]
        given += documents.packed.tolist()
    assert sorted(set(given) & set(texts)) == sorted(given), "a document was given twice, or is another call's"
    return given


def started(shared, texts, until=None, looked=None):
    """A Future of `found` in a thread of its own."""
    pool = ThreadPoolExecutor(1)
    future = pool.submit(found, shared, texts, until, looked)
    pool.shutdown(wait=False)
    return future


def until(condition):
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.001)


def threads_of(encode):
    """Living background threads in which `encode` was called."""
    return {batch.thread for batch in encode.batches if batch.thread.name == NAME and batch.thread.is_alive()}


def texts(name, n):
    return [f"{name} {i}" for i in range(n)]


class TestOneCallEncodesForAll:
    def test_a_call_alone_encodes_in_its_own_thread_in_batches_of_the_given_size(self, shared, encode):
        encode.all_end()
        before = set(threading.enumerate())
        assert found(shared, texts("a", 70)) == texts("a", 70)
        assert set(threading.enumerate()) <= before
        assert [len(batch.texts) for batch in encode.batches] == [32, 32, 6]
        assert {batch.thread for batch in encode.batches} == {threading.current_thread()}
        assert shared.n_waiting == 0

    def test_nothing_is_encoded_before_the_first_document_is_asked_for(self, shared, encode):
        documents = shared.documents(keyed(["a"]))
        assert (shared.n_waiting, encode.batches) == (0, [])
        encode.all_end()
        assert [d.packed.tolist() for d in documents] == [["a"]]

    def test_a_document_that_several_calls_want_is_encoded_once(self, shared, encode):
        calls = [started(shared, ["a", "b"])]
        first = encode.next()
        calls += [started(shared, ["b", "c"])]
        until(lambda: shared.n_waiting == 3)
        calls += [started(shared, ["c", "a", "d"])]
        until(lambda: shared.n_waiting == 4)
        first.end()
        second = encode.next()
        second.end()

        assert [sorted(call.result(60)) for call in calls] == [["a", "b"], ["b", "c"], ["a", "c", "d"]]
        assert (first.texts, sorted(second.texts)) == (["a", "b"], ["c", "d"])
        assert {first.thread.name, second.thread.name}.isdisjoint({NAME})
        assert (shared.n_waiting, len(encode.batches)) == (0, 2)

    def test_a_call_that_has_its_documents_hands_over_to_the_next(self, shared, encode):
        a = started(shared, ["a"])
        first = encode.next()
        b = started(shared, texts("b", 40))
        until(lambda: shared.n_waiting == 41)
        first.end()
        a.result(60)
        encode.all_end()
        assert sorted(b.result(60)) == sorted(texts("b", 40))
        assert encode.batches[1].thread is not first.thread

    def test_a_call_is_given_its_documents_as_batches_end(self, shared, encode):
        documents = shared.documents(keyed(texts("a", 40)))
        encode.all_end()
        assert next(documents).packed.tolist() == texts("a", 40)[:32]
        assert shared.n_waiting == 8
        assert next(documents).packed.tolist() == texts("a", 40)[32:]
        assert next(documents, None) is None

    def test_no_more_is_added_to_a_batch_once_it_is_long(self, shared, encode):
        encode.all_end()
        books = [f"{i}" + "x" * (BATCH_CHARS // 2) for i in range(5)]
        found(shared, books)
        assert [len(batch.texts) for batch in encode.batches] == [2, 2, 1]


class TestTurns:
    def waiting(self, shared, encode, *calls):
        """The batch after the one that runs, with these calls waiting for it."""
        futures = [started(shared, ["first"])]
        first = encode.next()
        n = 1
        for wanted in calls:
            futures.append(started(shared, wanted))
            n += len(wanted)
            until(lambda n=n: shared.n_waiting == n)
        first.end()
        batch = encode.next()
        encode.all_end()
        for future, wanted in zip(futures, (["first"], *calls), strict=True):
            assert sorted(future.result(60)) == sorted(wanted)
        return batch.texts

    def test_a_call_with_three_documents_is_not_held_up_by_one_with_a_thousand(self, shared, encode):
        batch = self.waiting(shared, encode, texts("many", 1000), texts("few", 3))
        assert len(batch) == SHARED_BATCH
        assert set(texts("few", 3)) < set(batch)

    def test_each_call_has_its_share_of_a_batch_in_its_own_order(self, shared, encode):
        batch = self.waiting(shared, encode, texts("a", 20), texts("b", 20), texts("c", 20))
        shares = [[text for text in batch if text.startswith(name)] for name in "abc"]
        assert sorted(map(len, shares)) == [5, 5, 6]
        assert all(share == texts(name, len(share)) for name, share in zip("abc", shares, strict=True))

    def test_a_batch_size_below_the_shared_one_stays(self, encode):
        shared = SharedEncoding(encode, batch_size=4)
        assert len(self.waiting(shared, encode, texts("a", 20), texts("b", 20))) == 4


class TestErrors:
    def test_an_error_reaches_the_call_alone(self, shared, encode):
        call = started(shared, ["a", "b"])
        encode.next().end(ValueError("the encoder's"))
        with pytest.raises(ValueError, match="the encoder's"):
            call.result(60)
        assert (shared.n_waiting, len(encode.batches)) == (0, 1)
        encode.all_end()
        assert found(shared, ["a", "b"]) == ["a", "b"]

    def test_what_is_wrong_with_one_calls_documents_is_no_others_error(self, shared, encode):
        first = started(shared, ["first"])
        batch = encode.next()
        good, bad = started(shared, texts("good", 3)), started(shared, ["bad", "beside"])
        until(lambda: shared.n_waiting == 6)
        encode.all_end()
        batch.end()
        assert first.result(60) == ["first"]
        assert sorted(good.result(60)) == texts("good", 3)
        with pytest.raises(ValueError, match="bad"):
            bad.result(60)
        assert shared.n_waiting == 0

    def test_one_that_waits_for_another_document_of_that_call_is_given_it(self, shared, encode):
        first = started(shared, ["first"])
        batch = encode.next()
        bad = started(shared, ["good", "bad"])
        until(lambda: shared.n_waiting == 3)
        good = started(shared, ["good", "mine"])
        until(lambda: shared.n_waiting == 4)
        encode.all_end()
        batch.end()
        assert sorted(good.result(60)) == ["good", "mine"]
        with pytest.raises(ValueError, match="bad"):
            bad.result(60)
        assert first.result(60) == ["first"]

    def test_all_who_wait_for_a_bad_document_are_told(self, shared, encode):
        first = started(shared, ["first"])
        batch = encode.next()
        calls = [started(shared, ["bad", name]) for name in "ab"]
        until(lambda: shared.n_waiting == 4)
        encode.all_end()
        batch.end()
        for call in calls:
            with pytest.raises(ValueError, match="bad"):
                call.result(60)
        assert first.result(60) == ["first"]
        assert shared.n_waiting == 0

    def test_an_interrupted_batch_is_encoded_by_another_call(self, shared, encode):
        interrupted = started(shared, ["a", "b"])
        first = encode.next()
        other = started(shared, ["b", "c"])
        until(lambda: shared.n_waiting == 3)
        first.end(KeyboardInterrupt())
        second = encode.next()
        assert sorted(second.texts) == ["b", "c"]
        second.end()

        with pytest.raises(KeyboardInterrupt):
            interrupted.result(60)
        assert sorted(other.result(60)) == ["b", "c"]
        assert shared.n_waiting == 0

    def test_an_interrupted_call_alone_leaves_nothing(self, shared, encode):
        interrupted = started(shared, texts("a", 40))
        encode.next().end(KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            interrupted.result(60)
        assert (shared.n_waiting, len(encode.batches)) == (0, 1)


class TestStoredMeanwhile:
    def test_a_document_finished_since_the_caller_looked_is_fetched(self, shared, encode):
        encode.all_end()
        looked = time.monotonic()
        found(shared, ["a"])
        assert found(shared, ["a", "b"], looked=looked) == ["a", "b"]
        assert [batch.stored for batch in encode.batches] == [set(), {"a"}]

    def test_one_finished_before_is_not(self, shared, encode):
        encode.all_end()
        found(shared, ["a"])
        found(shared, ["a"], looked=time.monotonic() + 1)
        found(shared, ["a"])
        assert [batch.stored for batch in encode.batches] == [set()] * 3

    def test_one_that_failed_is_not(self, shared, encode):
        encode.all_end()
        looked = time.monotonic()
        with pytest.raises(ValueError, match="bad"):
            found(shared, ["bad"])
        with pytest.raises(ValueError, match="bad"):
            found(shared, ["bad"], looked=looked)
        assert [batch.stored for batch in encode.batches] == [set()] * 2


class TestDeadlines:
    def test_a_call_whose_time_is_up_is_given_nothing_and_its_documents_are_encoded_in_the_background(self, shared, encode):
        assert found(shared, texts("a", 20), until=PAST) == []
        assert shared.n_waiting == 20
        encode.all_end()
        until(lambda: shared.n_waiting == 0)
        assert encode.texts == texts("a", 20)
        assert {batch.thread.name for batch in encode.batches} == {NAME}
        assert {len(batch.texts) for batch in encode.batches} == {1, SHARED_BATCH, 3}

    def test_a_call_with_time_left_is_encoded_for_by_a_daemon_thread(self, shared, encode):
        call = started(shared, texts("a", 3), until=FAR)
        shortest = encode.next()
        assert (shortest.thread.name, shortest.thread.daemon) == (NAME, True)
        encode.all_end()
        assert sorted(call.result(60)) == texts("a", 3)
        until(lambda: not threads_of(encode))

    def test_while_nothing_was_measured_the_shortest_document_goes_alone(self, shared, encode):
        call = started(shared, ["long one", "short", "longer than that"], until=FAR)
        assert encode.next().texts == ["short"]
        encode.all_end()
        assert sorted(call.result(60)) == ["long one", "longer than that", "short"]

    def test_a_call_leaves_at_its_deadline_while_its_batch_runs(self, shared, encode):
        assert found(shared, ["a", "b"], until=time.monotonic() + 0.05) == []
        assert encode.next().texts == ["a"]
        assert shared.n_waiting == 2
        encode.all_end()
        until(lambda: shared.n_waiting == 0)
        assert encode.texts == ["a", "b"]

    def test_documents_that_were_left_wait_until_no_call_does(self, shared, encode):
        call = started(shared, texts("now", 40))
        first = encode.next()
        assert found(shared, ["left"], until=PAST) == []
        assert encode.none_begins()
        first.end()
        second = encode.next()
        assert second.texts == texts("now", 40)[32:]
        assert encode.none_begins()
        second.end()
        assert sorted(call.result(60)) == sorted(texts("now", 40))
        last = encode.next()
        assert (last.texts, last.thread.name) == (["left"], NAME)

    def test_a_call_without_a_deadline_does_not_wait_for_what_was_left(self, shared, encode):
        found(shared, texts("left", 3), until=PAST)
        first = encode.next()
        call = started(shared, ["now"])
        second = encode.next()
        assert (second.texts, second.thread.name == NAME) == (["now"], False)
        second.end()
        assert call.result(60) == ["now"]
        first.end()
        encode.all_end()
        until(lambda: shared.n_waiting == 0)
        assert encode.texts == ["left 0", "now", "left 1", "left 2"]

    def test_a_document_that_was_left_is_given_to_a_later_call(self, shared, encode):
        found(shared, ["a"], until=PAST)
        batch = encode.next()
        call = started(shared, ["a", "b"])
        second = encode.next()
        batch.end()
        second.end()
        assert sorted(call.result(60)) == ["a", "b"]
        assert sorted(encode.texts) == ["a", "b"]

    def test_a_caller_encodes_what_was_left_and_not_begun_and_then_nobody_holds_it(self, shared, encode):
        first = started(shared, ["first"])
        batch = encode.next()
        for _ in range(3):
            found(shared, ["left"], until=PAST)
        call = started(shared, ["left", "mine"])
        until(lambda: shared.n_waiting == 3)
        encode.all_end()
        batch.end()
        assert sorted(call.result(60)) == ["left", "mine"]
        assert first.result(60) == ["first"]
        assert shared.n_waiting == 0
        assert sorted(encode.texts) == ["first", "left", "mine"]

    def test_a_call_with_a_deadline_is_encoded_for_beside_a_caller_whose_batch_does_not_end(self, shared, encode):
        caller = started(shared, ["both", "book"])
        book = encode.next()
        assert book.texts == ["both", "book"]
        hurried = started(shared, ["both", "mine"], until=FAR)
        batches = [encode.next()]
        batches[0].end()
        batches.append(encode.next())
        batches[1].end()
        assert sorted(hurried.result(60)) == ["both", "mine"]
        assert sorted(batches[0].texts + batches[1].texts) == ["both", "mine"]
        book.end()
        assert sorted(caller.result(60)) == ["book", "both"]
        assert shared.n_waiting == 0

    def test_an_error_in_the_background_reaches_the_call(self, shared, encode):
        call = started(shared, ["bad"], until=FAR)
        encode.all_end()
        with pytest.raises(ValueError, match="bad"):
            call.result(60)
        assert shared.n_waiting == 0

    @pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3)])
    def test_an_interruption_in_the_background_reaches_the_call(self, shared, encode, error):
        call = started(shared, ["a"], until=FAR)
        encode.next().end(error)
        with pytest.raises(type(error)):
            call.result(60)
        assert shared.n_waiting == 0

    def test_an_error_of_what_was_left_is_nobodys(self, shared, encode):
        found(shared, ["bad"], until=PAST)
        encode.all_end()
        until(lambda: shared.n_waiting == 0)
        assert found(shared, ["good"]) == ["good"]

    def test_a_thread_is_started_only_to_encode(self, shared, encode, monkeypatch):
        started_threads = []
        start = threading.Thread.start
        monkeypatch.setattr(threading.Thread, "start", lambda thread: (started_threads.append(thread), start(thread)))
        call = started(shared, texts("now", 3))
        first = encode.next()
        for _ in range(3):
            assert found(shared, texts("hurried", 2), until=time.monotonic() + 0.05) == []
        first.end()
        call.result(60)
        encode.all_end()
        until(lambda: shared.n_waiting == 0)
        behind = {thread for thread in started_threads if thread.name == NAME}
        assert behind == {batch.thread for batch in encode.batches} - {first.thread}

    def test_where_no_thread_can_be_started_a_call_with_a_deadline_leaves_at_once(self, shared, encode, monkeypatch):
        def refuse(thread):
            raise RuntimeError("can't start new thread")

        monkeypatch.setattr(threading.Thread, "start", refuse)
        assert found(shared, ["a"], until=FAR) == []
        assert (shared.n_waiting, encode.batches) == (1, [])
        encode.all_end()
        assert found(shared, ["a", "b"]) == ["a", "b"]
        assert shared.n_waiting == 0
        assert sorted(encode.texts) == ["a", "b"]


class TestBounds:
    def test_so_many_documents_are_left_behind_and_no_more(self, shared, encode):
        found(shared, texts("a", 9_990), until=PAST)
        found(shared, texts("b", 20), until=PAST)
        assert shared.n_waiting == 10_000
        shared.close()
        encode.next().end()
        until(lambda: shared.n_waiting == 0)
        assert len(encode.batches) == 1

    def test_so_many_characters_are_left_behind_and_no_more(self, shared, encode):
        long = [f"{i}" + "x" * 20_000_000 for i in range(4)]
        found(shared, long, until=PAST)
        assert shared.n_waiting == 2

    def test_where_nothing_is_kept_a_batch_is_left_behind_to_see_whether_the_next_one_is(self, encode):
        shared = SharedEncoding(encode, batch_size=32, is_kept=lambda: False)
        found(shared, texts("a", 40), until=PAST)
        assert shared.n_waiting == SHARED_BATCH
        encode.all_end()
        until(lambda: shared.n_waiting == 0)

    def test_others_encode_beside_threads_that_are_held_up_but_no_more_than_four(self, shared, encode):
        calls = [started(shared, [f"book {i}"], until=FAR) for i in range(8)]
        until(lambda: len(encode.batches) == 4)
        assert len(threads_of(encode)) == 4
        until(lambda: shared.n_waiting == 8)
        assert len(encode.batches) == 4
        encode.all_end()
        assert sorted(call.result(60) for call in calls) == [[f"book {i}"] for i in range(8)]

    def test_threads_end_when_nothing_is_to_do(self, shared, encode):
        encode.all_end()
        found(shared, texts("a", 40), until=PAST)
        until(lambda: shared.n_waiting == 0)
        assert len(encode.texts) == 40
        until(lambda: not threads_of(encode))


class TestClosing:
    def test_nothing_more_of_what_was_left_is_encoded(self, shared, encode):
        found(shared, texts("a", 40), until=PAST)
        batch = encode.next()
        shared.close()
        assert shared.n_waiting == len(batch.texts)
        batch.end()
        until(lambda: shared.n_waiting == 0)
        until(lambda: not threads_of(encode))
        assert len(encode.batches) == 1

    def test_what_runs_ends_before_the_next_call_of_an_engine(self):
        begun, may_go, n = threading.Event(), threading.Event(), []

        def windows(texts, stored):
            for _ in range(1000):
                with engine_call():
                    n.append(threading.current_thread())
                    begun.set()
                    assert may_go.wait(60)
            return documents(texts)

        shared = SharedEncoding(windows, batch_size=32)
        found(shared, ["a book", "b"], until=PAST)
        assert begun.wait(60)
        shared.close()
        may_go.set()
        n[0].join(60)
        assert not n[0].is_alive()
        assert (len(n), shared.n_waiting) == (1, 0)

    def test_not_so_while_a_call_waits_for_it(self):
        begun, may_go = threading.Event(), threading.Event()

        def windows(texts, stored):
            for _ in range(3):
                with engine_call():
                    begun.set()
                    assert may_go.wait(60)
            return documents(texts)

        shared = SharedEncoding(windows, batch_size=32)
        found(shared, ["a book"], until=PAST)
        assert begun.wait(60)
        waiting = started(shared, ["a book", "b"])
        until(lambda: shared.n_waiting == 2)
        shared.close()
        may_go.set()
        assert sorted(waiting.result(60)) == ["a book", "b"]

    def test_calls_that_wait_for_all_are_served_and_those_with_a_deadline_leave_at_once(self, shared, encode):
        encode.all_end()
        shared.close()
        assert found(shared, ["a"], until=FAR) == []
        assert (shared.n_waiting, encode.batches) == (0, [])
        assert found(shared, ["a", "b"]) == ["a", "b"]

    def test_a_call_that_waits_for_its_deadline_is_woken(self, shared, encode):
        call = started(shared, ["a"], until=FAR)
        encode.next()
        time.sleep(0.2)  # by now it doesn't look again before its deadline by itself
        shared.close()
        assert call.result(60) == []


class TestCallsThatLeave:
    @pytest.fixture(autouse=True)
    def quick_collections(self):
        """Collections look at what this test makes, not at all that is imported: that takes a second each."""
        gc.collect()
        gc.freeze()
        yield
        gc.unfreeze()

    def test_one_that_is_given_up_takes_along_what_nobody_else_wants(self, shared, encode):
        encode.all_end()
        documents = shared.documents(keyed(texts("a", 80)))
        next(documents)
        assert shared.n_waiting == 48
        documents.close()
        assert (shared.n_waiting, len(encode.batches)) == (0, 1)

    def test_what_another_call_wants_of_it_stays(self, shared, encode):
        encode.all_end()
        documents = shared.documents(keyed(texts("a", 33)))
        next(documents)
        other = shared.documents(keyed([*texts("a", 33)[32:], "b"]))
        documents.close()
        assert [d.packed.tolist() for d in other] == [["a 32", "b"]]

    def test_a_generator_that_is_collected_leaves(self, shared, encode):
        encode.all_end()
        self.in_a_cycle(shared)
        assert shared.n_waiting == 3
        gc.collect()
        assert shared.n_waiting == 0

    def test_also_while_the_same_thread_holds_the_lock_since_it_leaves(self, encode):
        shared = SharedEncoding(encode, batch_size=32, is_kept=lambda: bool(gc.collect()) or True)
        encode.all_end()
        self.in_a_cycle(shared)
        assert found(shared, texts("b", 3), until=PAST) == []
        until(lambda: shared.n_waiting == 0)
        assert found(shared, ["c"]) == ["c"]
        assert sorted(encode.texts) == sorted([*texts("a", 32), *texts("b", 3), "c"])

    def test_also_while_it_holds_the_lock_since_it_joins(self, shared, encode):
        class Collecting(dict):
            def items(self):
                for item in super().items():
                    gc.collect()
                    yield item

        encode.all_end()
        self.in_a_cycle(shared)
        given = [text for d in shared.documents(Collecting(keyed(["a 33", "b"]))) for text in d.packed]
        assert given == ["a 33", "b"]
        assert shared.n_waiting == 0

    def test_also_while_the_next_batch_is_chosen_from_its_documents_too(self, shared, encode):
        class Collecting(str):
            def __len__(self):
                gc.collect()
                return super().__len__()

        encode.all_end()
        self.in_a_cycle(shared)
        assert found(shared, [Collecting("b"), Collecting("c")]) == ["b", "c"]
        assert shared.n_waiting == 0

    def in_a_cycle(self, shared):
        documents = shared.documents(keyed(texts("a", 35)))
        next(documents)
        cycle = [documents]
        cycle.append(cycle)


class TestForks:
    def test_a_child_has_nothing_to_do(self, shared, encode):
        started(shared, texts("a", 32))
        running = encode.next()
        found(shared, texts("b", 40), until=PAST)
        shared.after_fork()
        assert shared.n_waiting == 0
        call = started(shared, texts("a", 2))
        batch = encode.next()
        assert batch.texts == texts("a", 2)
        batch.end()
        assert call.result(60) == texts("a", 2)
        assert running.texts == texts("a", 32)

    def test_a_call_that_a_fork_interrupts_between_two_batches_goes_on_in_the_child(self, shared, encode):
        encode.all_end()
        documents = shared.documents(keyed(texts("a", 40)))
        assert len(next(documents).packed) == 32
        shared.after_fork()
        assert next(documents).packed.tolist() == texts("a", 40)[32:]
        assert next(documents, None) is None
        assert shared.n_waiting == 0

    @needs_fork
    @pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
    def test_a_forked_child_encodes_in_calls_and_in_threads_of_its_own(self, shared, encode):
        found(shared, texts("a", 40), until=PAST)
        encode.next()
        waiting = started(shared, ["book"])
        encode.next()

        def child():
            encode.all_end()
            encode.batches.clear()
            found(shared, ["later"], until=PAST)
            until(lambda: shared.n_waiting == 0)
            return found(shared, ["book", *texts("a", 2)]), found(shared, ["now"], until=FAR), encode.texts

        assert in_a_child(child) == (["book", "a 0", "a 1"], ["now"], ["later", "book", "a 0", "a 1", "now"])
        encode.all_end()
        assert waiting.result(60) == ["book"]


def test_a_process_that_ends_waits_for_one_batch_at_most():
    code = """
import threading, time
from late_rerank.processes.forks import engine_call
from late_rerank.vectors.documents import KeyedDocuments
from late_rerank.vectors.sharing import SharedEncoding

begun = threading.Event()

def encode(texts, stored):
    with engine_call():
        print("begun", flush=True)
        begun.set()
        while threading.main_thread().is_alive():
            time.sleep(0.01)
        time.sleep(0.3)
        print("ended", flush=True)
    return [KeyedDocuments(list(texts), list(texts))]

shared = SharedEncoding(encode, batch_size=32)
assert not list(shared.documents({bytes([i]): "text" for i in range(200)}, 0.0))
begun.wait(60)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (run.returncode, run.stdout, run.stderr) == (0, "begun\nended\n", "")
