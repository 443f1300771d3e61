"""Documents that several calls need at once, and deadlines: encoded once, in shared batches, by a moment or behind it."""

import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from late_rerank import Reranker
from late_rerank.errors import StoreError
from late_rerank.processes.forks import engine_call
from late_rerank.stores import MemoryStore
from late_rerank.testing.fakes import FakeEncoder
from late_rerank.vectors.sharing import SHARED_BATCH

TEXTS = [f"word{i} common" for i in range(60)]


class SlowEncoder(FakeEncoder):
    """Tells what it encodes, and waits when it is told to."""

    def __init__(self, seconds=0.0):
        super().__init__()
        self.batches = []
        self.threads = set()
        self.seconds = seconds
        self.may_go = Event()
        self.may_go.set()

    def encode_document(self, texts):
        self.threads.add(threading.current_thread())
        self.batches.append(list(texts))
        self.may_go.wait(60)
        time.sleep(self.seconds * len(texts))
        if any("interrupt" in text for text in texts):
            raise KeyboardInterrupt
        vectors = super().encode_document(texts)
        if any("bad" in text for text in texts):
            vectors.values[:] = np.nan
        return vectors

    @property
    def encoded(self):
        return [text for batch in self.batches for text in batch]


@pytest.fixture
def encoder():
    return SlowEncoder()


@pytest.fixture
def reranker(encoder):
    with Reranker(encoder) as reranker:
        yield reranker


def started(*calls):
    """Futures of calls in threads of their own."""
    pool = ThreadPoolExecutor(len(calls))
    futures = [pool.submit(call) for call in calls]
    pool.shutdown(wait=False)
    return futures


def until(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.002)


def background(encoder):
    """The living threads, other than the test's, in which an encoder was called."""
    return {thread for thread in encoder.threads if thread.is_alive()} - {threading.current_thread()}


class TestSeveralCallsAtOnce:
    def test_a_document_is_encoded_once_for_all_of_them(self, reranker, encoder):
        encoder.may_go.clear()
        own = [f"own{i}" for i in range(8)]
        futures = started(*(lambda text=text: reranker.rerank("word7", [*TEXTS, text]) for text in own))
        until(lambda: encoder.batches and reranker.stats()["n_waiting"] == len(TEXTS) + 8)
        encoder.may_go.set()
        rankings = [future.result(60) for future in futures]

        assert sorted(encoder.encoded) == sorted([*TEXTS, *own])
        assert all(ranking[0].text == TEXTS[7] for ranking in rankings)
        scores = [{d.index: d.score for d in ranking if d.index < len(TEXTS)} for ranking in rankings]
        assert all(found == pytest.approx(scores[0], abs=1e-6) for found in scores)
        assert reranker.stats()["n_waiting"] == 0

    def test_they_share_batches_and_take_turns(self, reranker, encoder):
        encoder.may_go.clear()
        first = started(lambda: reranker.rerank("first", ["the first"]))
        until(lambda: encoder.batches)
        many = started(lambda: reranker.rerank("word", TEXTS))
        until(lambda: reranker.stats()["n_waiting"] == 61)
        few = started(lambda: reranker.rerank("few", ["few 1", "few 2", "few 3"]))
        until(lambda: reranker.stats()["n_waiting"] == 64)
        encoder.may_go.set()
        for future in first + many + few:
            future.result(60)

        assert {"few 1", "few 2", "few 3"} < set(encoder.batches[1])
        assert len(encoder.batches[1]) == SHARED_BATCH

    def test_what_is_wrong_with_one_calls_documents_is_no_others_error(self, reranker, encoder):
        encoder.may_go.clear()
        first = started(lambda: reranker.rerank("first", ["the first"]))
        until(lambda: encoder.batches)
        good, bad = started(lambda: reranker.rerank("word1", TEXTS[:5]), lambda: reranker.rerank("bad", ["bad word"]))
        until(lambda: reranker.stats()["n_waiting"] == 7)
        encoder.may_go.set()
        first[0].result(60)

        assert good.result(60)[0].text == TEXTS[1]
        with pytest.raises(ValueError, match="bad word"):
            bad.result(60)
        assert reranker.stats()["n_waiting"] == 0
        assert reranker.rerank("word1", TEXTS[:5]).n_hits == 5

    def test_nor_is_it_the_error_of_a_call_that_waits_for_another_of_them(self, reranker, encoder):
        encoder.may_go.clear()
        first = started(lambda: reranker.rerank("first", ["the first"]))
        until(lambda: encoder.batches)
        (bad,) = started(lambda: reranker.rerank("bad", ["good word", "bad word"]))
        until(lambda: reranker.stats()["n_waiting"] == 3)
        (good,) = started(lambda: reranker.rerank("good", ["good word", "mine"]))
        until(lambda: reranker.stats()["n_waiting"] == 4)
        encoder.may_go.set()
        first[0].result(60)

        assert good.result(60)[0].text == "good word"
        with pytest.raises(ValueError, match="bad word"):
            bad.result(60)

    def test_one_with_long_documents_does_not_hold_up_the_others(self, reranker, encoder):
        encoder.may_go.clear()
        first = started(lambda: reranker.rerank("first", ["the first"]))
        until(lambda: encoder.batches)
        books = [f"book{i} " + "x" * 100_000 for i in range(10)]
        calls = started(lambda: reranker.rerank("book", books), lambda: reranker.rerank("few", ["few 1", "few 2"]))
        until(lambda: reranker.stats()["n_waiting"] == 13)
        encoder.may_go.set()
        for future in first + calls:
            future.result(60)

        assert max(sum(map(len, batch)) for batch in encoder.batches) <= 200_050

    def test_when_the_call_that_encodes_is_interrupted_another_goes_on(self, reranker, encoder):
        encoder.may_go.clear()
        (interrupted,) = started(lambda: reranker.rerank("x", ["interrupt me"]))
        until(lambda: encoder.batches)
        (waiting,) = started(lambda: reranker.rerank("word1", TEXTS[:5]))
        until(lambda: reranker.stats()["n_waiting"] == 6)
        encoder.may_go.set()

        with pytest.raises(KeyboardInterrupt):
            interrupted.result(60)
        assert waiting.result(60)[0].text == TEXTS[1]
        assert reranker.stats()["n_waiting"] == 0

    def test_what_an_interrupted_call_began_for_others_is_encoded_for_them(self, reranker, encoder):
        stop = Event()
        encode = encoder.encode_document

        def interrupted_once(texts):
            if not stop.is_set():
                encoder.batches.append(list(texts))
                stop.wait(60)
                raise KeyboardInterrupt
            return encode(texts)

        encoder.encode_document = interrupted_once
        (interrupted,) = started(lambda: reranker.rerank("word1", TEXTS[:5]))
        until(lambda: encoder.batches)
        (waiting,) = started(lambda: reranker.rerank("word1", TEXTS[:6]))
        until(lambda: reranker.stats()["n_waiting"] == 6)
        stop.set()

        with pytest.raises(KeyboardInterrupt):
            interrupted.result(60)
        assert waiting.result(60)[0].text == TEXTS[1]
        assert reranker.stats()["n_waiting"] == 0

    @settings(max_examples=15, deadline=None)
    @given(st.lists(st.lists(st.integers(0, 30), min_size=1, max_size=20), min_size=1, max_size=6))
    def test_the_answers_are_those_of_each_call_alone(self, calls):
        alone = [Reranker(FakeEncoder()).rerank("word3 word9", [TEXTS[i] for i in call]) for call in calls]
        with Reranker(SlowEncoder(1e-4)) as shared:
            futures = started(*(lambda call=call: shared.rerank("word3 word9", [TEXTS[i] for i in call]) for call in calls))
            for future, expected in zip(futures, alone, strict=True):
                found = future.result(60)
                assert [(d.index, d.score) for d in found] == [(d.index, d.score) for d in expected]


class TestDeadline:
    def test_stored_documents_are_scored_and_the_others_follow_unscored_in_their_order(self, reranker, encoder):
        reranker.index(TEXTS[:3])
        encoder.may_go.clear()
        ranking = reranker.rerank("word2", TEXTS[:6], deadline_s=0.05)

        assert [d.text for d in ranking] == [TEXTS[2], TEXTS[0], TEXTS[1], *TEXTS[3:6]]
        assert [d.score is None for d in ranking] == [False] * 3 + [True] * 3
        assert [d.relevance for d in ranking[3:]] == [None] * 3
        assert (ranking.n_hits, ranking.n_misses, ranking.n_unscored) == (3, 3, 3)
        encoder.may_go.set()

    def test_what_was_left_is_there_for_the_next_query(self, reranker, encoder):
        encoder.may_go.clear()
        assert reranker.rerank("word2", TEXTS, deadline_s=0.0).n_unscored == len(TEXTS)
        encoder.may_go.set()
        until(lambda: reranker.stats()["n_waiting"] == 0)

        ranking = reranker.rerank("word2", TEXTS, deadline_s=0.0)
        assert (ranking.n_hits, ranking.n_unscored, ranking[0].text) == (len(TEXTS), 0, TEXTS[2])
        assert encoder.encoded == TEXTS

    def test_documents_are_encoded_in_the_candidates_order_until_the_time_is_up(self, reranker, encoder):
        encode = encoder.encode_document

        def held_up(texts):
            if len(encoder.batches) == 2:
                encoder.may_go.clear()
            return encode(texts)

        encoder.encode_document = held_up
        ranking = reranker.rerank("word2", TEXTS, deadline_s=1.0)
        scored = [d.index for d in ranking if d.score is not None]
        assert sorted(scored) == list(range(len(scored)))
        assert 0 < len(scored) <= 1 + SHARED_BATCH
        encoder.may_go.set()

    def test_a_call_that_waits_comes_before_what_others_left(self, reranker, encoder):
        encoder.may_go.clear()
        reranker.rerank("word", TEXTS, deadline_s=0.0)
        until(lambda: encoder.batches)
        (waiting,) = started(lambda: reranker.rerank("now", ["now 1", "now 2"]))
        until(lambda: reranker.stats()["n_waiting"] == 62)
        encoder.may_go.set()
        waiting.result(60)
        until(lambda: reranker.stats()["n_waiting"] == 0)

        assert encoder.batches[1] == ["now 1", "now 2"]
        assert sorted(encoder.encoded) == sorted([*TEXTS, "now 1", "now 2"])

    def test_what_was_left_and_is_waited_for_then_is_encoded_once(self, reranker, encoder):
        def goes_on(name):
            for i in range(25):
                texts = [f"{name} {i} {j}" for j in range(4)]
                reranker.rerank("word", texts, deadline_s=0.0)
                reranker.rerank("word", texts)

        for future in started(*(lambda name=name: goes_on(name) for name in "abcd")):
            future.result(60)
        until(lambda: reranker.stats()["n_waiting"] == 0)
        assert len(encoder.encoded) == len(set(encoder.encoded)) == 400

    def test_where_nothing_is_kept_hardly_anything_is_encoded_behind(self, tmp_path, encoder):
        class Full(MemoryStore):
            def space(self, *arguments):
                space = super().space(*arguments)
                space.put = lambda keys, packed: (_ for _ in ()).throw(StoreError("full"))
                return space

        with Reranker(encoder, store=Full()) as reranker:
            with pytest.warns(UserWarning, match="full"):
                reranker.rerank("word", TEXTS[:3])
            reranker.rerank("word", TEXTS[3:], deadline_s=0.0)
            until(lambda: reranker.stats()["n_waiting"] == 0)
        assert len(encoder.encoded) == 3 + SHARED_BATCH

    def test_one_in_time_gives_what_none_gives(self, reranker):
        with Reranker(FakeEncoder()) as plain:
            expected = plain.rerank("word2 common", TEXTS)
        found = reranker.rerank("word2 common", TEXTS, deadline_s=30)
        assert [(d.index, d.score) for d in found] == [(d.index, d.score) for d in expected]
        assert found.n_unscored == 0

    def test_closing_ends_what_goes_on_behind_and_waits_for_nothing(self, encoder):
        reranker = Reranker(encoder)
        encoder.may_go.clear()
        reranker.rerank("word", TEXTS, deadline_s=0.0)
        until(lambda: encoder.batches)
        reranker.close()
        assert len(encoder.batches) == 1
        encoder.may_go.set()
        until(lambda: not background(encoder))
        assert len(encoder.batches) == 1

    def test_closing_ends_one_long_document_between_its_windows(self):
        class Windows(FakeEncoder):
            n, may_go, threads = 0, Event(), set()

            def encode_document(self, texts):
                self.threads.add(threading.current_thread())
                for _ in range(1000):
                    with engine_call():
                        self.n += 1
                        self.may_go.wait(60)
                return super().encode_document(texts)

        encoder = Windows()
        reranker = Reranker(encoder)
        reranker.rerank("word", ["a book"], deadline_s=0.0)
        until(lambda: encoder.n)
        reranker.close()
        encoder.may_go.set()
        until(lambda: not background(encoder))
        assert encoder.n == 1

    def test_what_was_left_starts_no_thread_that_stays(self, reranker, encoder):
        reranker.rerank("word", TEXTS, deadline_s=0.0)
        until(lambda: reranker.stats()["n_waiting"] == 0)
        assert len(encoder.encoded) == len(TEXTS)
        until(lambda: not background(encoder))

    @pytest.mark.parametrize("kind", ["pure Python", "windows"])
    def test_a_process_that_ends_does_not_wait_for_a_long_document(self, kind):
        code = f"""
import time
from threading import Event
from late_rerank import Reranker
from late_rerank.processes.forks import engine_call
from late_rerank.testing.fakes import FakeEncoder
begun = Event()
class Slow(FakeEncoder):
    def encode_document(self, texts):
        begun.set()
        for _ in range(10_000):
            if {kind == "windows"}:
                with engine_call():
                    time.sleep(0.01)
            else:
                time.sleep(100)
        print("encoded to the end")
Reranker(Slow()).rerank("a", ["b", "c"], deadline_s=0.01)
begun.wait(60)
print("main ends")
"""
        run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
        assert (run.returncode, run.stdout, run.stderr) == (0, "main ends\n", "")

    @pytest.mark.parametrize("wrong", [-1, float("nan"), float("inf"), "1", True])
    def test_what_is_no_number_of_seconds_is_refused(self, reranker, wrong):
        with pytest.raises((ValueError, TypeError), match="deadline_s"):
            reranker.rerank("a", ["b"], deadline_s=wrong)


class BookEncoder(FakeEncoder):
    """Books take until they may end; all else takes what its words say, and next to nothing to compute."""

    def __init__(self, seconds_a_word=0.0):
        super().__init__(dim=4)
        self.seconds_a_word = seconds_a_word
        self.begun = []
        self.threads = set()
        self.may_end = Event()

    def encode_document(self, texts):
        self.threads.add(threading.current_thread())
        self.begun += texts
        if any(text.startswith("book") for text in texts):
            assert self.may_end.wait(60)
        time.sleep(self.seconds_a_word * sum(map(n_words, texts)))
        return super().encode_document([text[:20] for text in texts])


def n_words(text):
    return text.count(" ") + 1


BOOK = "book " * 50_000
SHORT = [f"short {i}" for i in range(20)]


@pytest.fixture
def books():
    with Reranker(BookEncoder()) as reranker:
        yield reranker
        reranker.encoder.may_end.set()


def scored(ranking):
    return {d.text for d in ranking if d.score is not None}


class TestWhatFitsIntoTheTimeIsScored:
    """With books that never end in time: whether a test passes doesn't depend on how fast the machine is."""

    def test_short_documents_in_the_same_call_as_a_long_one_that_comes_first(self, books):
        assert scored(books.rerank("short", [BOOK, *SHORT], deadline_s=1.0)) == set(SHORT)

    def test_also_when_the_pace_is_known(self, books):
        books.index(["anything"])
        assert scored(books.rerank("short", ["one first"], deadline_s=20)) == {"one first"}
        assert scored(books.rerank("short", [BOOK, *SHORT], deadline_s=1.0)) == set(SHORT)

    def test_a_call_beside_one_that_waits_for_a_book(self, books):
        started(lambda: books.rerank("book", [BOOK]))
        until(lambda: BOOK in books.encoder.begun)
        assert scored(books.rerank("short", SHORT, deadline_s=20)) == set(SHORT)

    def test_documents_that_another_call_waits_for_together_with_a_book(self, books):
        (waiting,) = started(lambda: books.rerank("book", [*SHORT, BOOK]))
        until(lambda: BOOK in books.encoder.begun)
        assert scored(books.rerank("short", SHORT, deadline_s=20)) == set(SHORT)
        books.encoder.may_end.set()
        assert scored(waiting.result(60)) == {*SHORT, BOOK}
        until(lambda: books.stats()["n_waiting"] == 0)

    def test_a_call_behind_others_that_left_books_at_their_deadlines(self, books):
        for i in range(3):
            books.rerank("book", [f"{BOOK} {i}", f"little {i}"], deadline_s=0.05)
        assert scored(books.rerank("short", SHORT, deadline_s=20)) == set(SHORT)

    def test_a_call_beside_one_with_a_deadline_that_is_far_off(self, books):
        started(lambda: books.rerank("book", [BOOK], deadline_s=50))
        until(lambda: BOOK in books.encoder.begun)
        assert scored(books.rerank("short", SHORT, deadline_s=20)) == set(SHORT)

    def test_threads_are_few_however_many_books_there_are(self, books):
        for i in range(10):
            books.rerank("book", [f"{BOOK} {i}"], deadline_s=0.02)
        assert len(background(books.encoder)) <= 4

    @settings(max_examples=8, deadline=None)
    @given(st.lists(st.one_of(st.integers(1, 300), st.integers(1, 50_000)), min_size=1, max_size=15, unique=True))
    def test_whatever_the_mix(self, sizes):
        deadline_s, a_word = 0.8, 4e-5
        texts = ["word " * (size - 1) + str(size) for size in sizes]
        with Reranker(BookEncoder(a_word)) as reranker:
            found = scored(reranker.rerank("word", texts, deadline_s=deadline_s))
        fits, words = set(), 0
        for text in sorted(texts, key=n_words):  # a quarter of the time: the other three are for slow machines
            words += n_words(text)
            if words * a_word <= deadline_s / 4:
                fits.add(text)
        assert found >= fits
