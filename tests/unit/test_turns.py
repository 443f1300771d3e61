"""Which documents are encoded next, without threads and without a clock."""

import math
from collections import deque

import pytest

from late_rerank.vectors.contents import BATCH_CHARS
from late_rerank.vectors.jobs import Batch, Call, Job, Kind, Leftovers
from late_rerank.vectors.turns import SHARED_BATCH, Pace, first_left, in_time, in_turn

NOW = 100.0


def filled(wanted, texts):
    for text in texts:
        wanted.add(text if isinstance(text, Job) else Job(text.encode(), text))
    return wanted


def calls(*texts, left_s=10.0):
    return deque([filled(Call(NOW + left_s), texts)])


def pace(seconds_a_char):
    pace = Pace()
    pace.measured(1000, 1000 * seconds_a_char)
    return pace


def texts(parts):
    return [job.content for part in parts for job in part]


def taken(waiting, pace, *, may_be_late=True):
    """The texts that are chosen for calls with deadlines, and taken by a batch that is done at once."""
    parts = in_time(waiting, pace, NOW, may_be_late=may_be_late)
    batch = Batch(Kind.DEADLINES, tuple(map(tuple, parts)), NOW, 0.0)
    for job in batch.jobs:
        job.take(batch)
    return texts(parts)


class TestWithDeadlines:
    def test_the_first_documents_that_fit_in_their_order_and_no_more_than_a_short_batch(self):
        waiting = calls("a" * 10, "b" * 5, "c" * 10, "d" * 4)
        assert taken(waiting, pace(0.01)) == ["a" * 10, "b" * 5, "c" * 10]
        assert taken(waiting, pace(0.01)) == ["d" * 4]

    def test_a_long_one_goes_alone_in_its_turn_if_it_fits(self):
        waiting = calls("a", "b" * 300, "c")
        assert taken(waiting, pace(0.01)) == ["a"]
        assert taken(waiting, pace(0.01)) == ["b" * 300]

    def test_one_that_does_not_fit_comes_last_and_only_if_it_may_be_late(self):
        waiting = calls("a" * 3000, "b" * 2000, "c")
        assert taken(waiting, pace(0.01)) == ["c"]
        assert taken(waiting, pace(0.01), may_be_late=False) == []
        assert taken(waiting, pace(0.01)) == ["b" * 2000]

    def test_the_shortest_is_tried_where_nothing_is_known(self):
        assert taken(calls("a" * 3000, "b", "c" * 20), Pace(), may_be_late=False) == ["b"]

    def test_calls_take_turns_each_by_its_own_time(self):
        waiting = calls("a", "b", "c") + calls("d" * 50, "e", left_s=0.1)
        assert taken(waiting, pace(0.01)) == ["a", "b", "c", "e"]

    def test_nothing_is_tried_for_a_call_whose_time_is_up(self):
        assert taken(calls("a", left_s=0.0), Pace()) == []

    def test_no_more_than_a_shared_batch(self):
        assert len(taken(calls(*map(str, range(40))), pace(1e-6))) == SHARED_BATCH

    def test_a_document_of_two_calls_is_taken_once(self):
        job = Job(b"both", "both")
        waiting = deque([filled(Call(NOW + 9), [job, "a"]), filled(Call(NOW + 9), [job, "b"])])
        assert taken(waiting, pace(1e-6)) == ["both", "a", "b"]

    def test_one_that_a_caller_encodes_is_taken_if_that_ends_too_late(self):
        for expected_s, expected in ((5.0, ["b"]), (50.0, ["a", "b"]), (math.inf, ["a", "b"])):
            waiting = calls("a", "b")
            batch = Batch(Kind.CALLERS, ((waiting[0].jobs[b"a"], Job(b"c", "c")),), NOW, expected_s)
            batch.jobs[0].take(batch)
            assert taken(waiting, pace(0.01)) == expected


class TestCallersInTurn:
    def test_one_document_of_each_call_then_the_next(self):
        waiting = deque(filled(Call(), [f"{name}{i}" for i in range(n)]) for name, n in (("a", 9), ("b", 2), ("c", 9)))
        parts = [[job.content for job in part] for part in in_turn(waiting, 7)]
        assert parts == [["a0", "a1", "a2"], ["b0", "b1"], ["c0", "c1"]]

    def test_the_next_batch_goes_on_with_the_next_call(self):
        waiting = deque(filled(Call(), [f"{name}{i}" for i in range(3)]) for name in "abc")
        assert [texts(in_turn(waiting, 1)) for _ in range(4)] == [["a0"], ["b0"], ["c0"], ["a0"]]

    def test_a_document_of_two_calls_is_taken_once(self):
        job = Job(b"both", "both")
        waiting = deque([filled(Call(), [job, "a"]), filled(Call(), [job, "b"])])
        assert texts(in_turn(waiting, 16)) == ["both", "a", "b"]

    def test_nothing_is_added_to_a_long_batch(self):
        waiting = deque([filled(Call(), ["a" * (BATCH_CHARS - 1), "b" * BATCH_CHARS, "c"])])
        assert list(map(len, texts(in_turn(waiting, 16)))) == [BATCH_CHARS - 1, BATCH_CHARS]


class TestLeftovers:
    def test_in_their_order_and_no_more_than_a_shared_batch(self):
        left = filled(Leftovers(), map(str, range(40)))
        assert texts(first_left(left, pace(1e-6))) == list(map(str, range(16)))

    def test_no_more_than_a_short_batch_but_one_at_least(self):
        left = filled(Leftovers(), ["a" * 10, "b" * 10, "c" * 10])
        assert texts(first_left(left, pace(0.01))) == ["a" * 10, "b" * 10]
        assert texts(first_left(left, pace(1.0))) == ["a" * 10]
        assert texts(first_left(left, Pace())) == ["a" * 10]

    def test_nothing_is_added_to_a_long_batch(self):
        left = filled(Leftovers(), ["a" * BATCH_CHARS, "b"])
        assert list(map(len, texts(first_left(left, pace(1e-9))))) == [BATCH_CHARS]

    def test_an_error_of_one_would_be_its_own(self):
        assert [len(part) for part in first_left(filled(Leftovers(), "abc"), pace(1e-9))] == [1, 1, 1]


class TestPace:
    def test_it_is_unknown_at_first(self):
        assert (Pace().is_known, Pace().seconds([Job(b"", "x")])) == (False, math.inf)
        assert pace(0.5).is_known

    def test_documents_take_as_long_as_their_characters(self):
        assert pace(0.5).seconds([Job(b"a", "x" * 10), Job(b"b", "x" * 20)]) == pytest.approx(15.0)

    def test_the_pace_is_that_of_the_last_batches(self):
        changing = pace(1.0)
        for _ in range(10):
            changing.measured(1000, 1.0)
        assert changing.seconds([Job(b"", "x" * 1000)]) == pytest.approx(1.5, rel=0.01)
