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
from late_rerank.sharing import SHARED_BATCH
from late_rerank.stores import MemoryStore
from late_rerank.testing.fakes import FakeEncoder

TEXTS = [f"word{i} common" for i in range(60)]


class SlowEncoder(FakeEncoder):
    """Tells what it encodes, and waits when it is told to."""

    def __init__(self, seconds=0.0):
        super().__init__()
        self.batches = []
        self.seconds = seconds
        self.may_go = Event()
        self.may_go.set()

    def encode_document(self, texts):
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


class TestSeveralCallsAtOnce:
    def test_a_document_is_encoded_once_for_all_of_them(self, reranker, encoder):
        encoder.may_go.clear()
        futures = started(*[lambda: reranker.rerank("word7", TEXTS)] * 8)
        until(lambda: encoder.batches and reranker.stats()["n_waiting"] == len(TEXTS))
        time.sleep(0.1)  # the others have come to wait by then
        encoder.may_go.set()
        rankings = [future.result(60) for future in futures]

        assert sorted(encoder.encoded) == sorted(TEXTS)
        assert all(ranking[0].text == TEXTS[7] for ranking in rankings)
        assert all([d.score for d in ranking] == [d.score for d in rankings[0]] for ranking in rankings)
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
        (good,) = started(lambda: reranker.rerank("good", ["good word"]))
        time.sleep(0.1)  # it waits by then
        encoder.may_go.set()
        first[0].result(60)

        assert good.result(60)[0].text == "good word"
        with pytest.raises(ValueError, match="bad word"):
            bad.result(60)

    def test_one_with_long_documents_does_not_hold_up_the_others(self, reranker, encoder):
        encoder.may_go.clear()
        first = started(lambda: reranker.rerank("first", ["the first"]))
        until(lambda: encoder.batches)
        books = [f"book{i} " + "word " * 20_000 for i in range(10)]
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
        (waiting,) = started(lambda: reranker.rerank("word1", TEXTS[:5]))
        time.sleep(0.1)
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
        encoder.seconds = 3.0 / len(TEXTS)
        began = time.monotonic()
        ranking = reranker.rerank("word2", TEXTS, deadline_s=1.0)
        assert time.monotonic() - began < 2.5
        scored = [d.index for d in ranking if d.score is not None]
        assert sorted(scored) == list(range(len(scored)))
        assert 0 < len(scored) < len(TEXTS)

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

    def test_what_was_left_and_came_in_time_all_the_same_is_not_held(self, reranker, encoder):
        shared = reranker._misses._shared
        stop = Event()

        def goes_on(name):
            i = 0
            while not stop.is_set():
                i += 1
                texts = [f"{name} {i} {j}" for j in range(4)]
                reranker.rerank("word", texts, deadline_s=0.0)
                reranker.rerank("word", texts)

        calls = started(*(lambda name=name: goes_on(name) for name in "abcd"))
        time.sleep(0.5)
        held = len(shared._left), len(shared._calls)
        stop.set()
        for future in calls:
            future.result(60)
        assert len(encoder.encoded) > 100
        assert max(held) <= 16
        until(lambda: reranker.stats()["n_waiting"] == 0)

    def test_while_another_call_encodes_nothing_turns_behind(self, reranker, encoder, monkeypatch):
        runs = []
        behind = reranker._misses._shared._encode_behind
        monkeypatch.setattr(reranker._misses._shared, "_encode_behind", lambda: (runs.append(1), behind()))
        encoder.may_go.clear()
        (waiting,) = started(lambda: reranker.rerank("word", TEXTS[:3]))
        until(lambda: encoder.batches)
        reranker.rerank("word", TEXTS[3:], deadline_s=0.05)
        time.sleep(0.2)
        n = len(runs)
        encoder.may_go.set()
        waiting.result(60)
        until(lambda: reranker.stats()["n_waiting"] == 0)
        assert n <= 2

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

    def test_closing_ends_what_goes_on_behind(self, encoder):
        reranker = Reranker(encoder)
        encoder.may_go.clear()
        reranker.rerank("word", TEXTS, deadline_s=0.0)
        until(lambda: encoder.batches)
        threading.Timer(0.05, encoder.may_go.set).start()
        reranker.close()

        assert len(encoder.batches) == 1
        assert not [thread for thread in threading.enumerate() if "late-rerank" in thread.name]

    def test_a_process_that_ends_waits_for_one_batch_at_most(self):
        code = (
            "from test_sharing import *; encoder = SlowEncoder(0.01); reranker = Reranker(encoder)\n"
            "import atexit; atexit.register(lambda: print(len(encoder.encoded)))\n"
            "reranker.rerank('word', [f'w{i}' for i in range(2000)], deadline_s=0.05)\n"
        )
        run = subprocess.run(
            [sys.executable, "-c", code], cwd=__file__.rpartition("/")[0], capture_output=True, text=True, timeout=60
        )
        assert run.returncode == 0, run.stderr
        assert 0 < int(run.stdout) <= 2 * SHARED_BATCH

    @pytest.mark.parametrize("wrong", [-1, float("nan"), float("inf"), "1", True])
    def test_what_is_no_number_of_seconds_is_refused(self, reranker, wrong):
        with pytest.raises((ValueError, TypeError), match="deadline_s"):
            reranker.rerank("a", ["b"], deadline_s=wrong)


class TestFirstTokens:
    def test_only_so_many_of_each_document_count(self, reranker):
        texts = ["one two three", "three two one", "two"]
        ranking = reranker.rerank("one", texts, max_tokens=1)
        cut = reranker.rerank("one", ["one", "three", "two"])
        assert [(d.index, d.score) for d in ranking] == [(d.index, d.score) for d in cut]
        assert [d.truncated for d in sorted(ranking, key=lambda d: d.index)] == [True, True, False]
        assert ranking.n_tokens == 1 + 3
        assert reranker.rerank("one", texts, max_tokens=9).n_tokens == 1 + 7

    @pytest.mark.parametrize("wrong", [0, -1, 1.5, True])
    def test_what_is_no_number_of_tokens_is_refused(self, reranker, wrong):
        with pytest.raises((ValueError, TypeError), match="max_tokens"):
            reranker.rerank("a", ["b"], max_tokens=wrong)
