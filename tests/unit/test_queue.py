"""The queue of shared encoding: without threads, locks or a clock. First single laws, then any order of events."""

import gc
import math
import weakref

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, precondition, rule

from late_rerank.vectors.documents import KeyedDocuments
from late_rerank.vectors.jobs import Batch, Call, Done, Dropped, Failed, Job, Kind, Outcome, Taken, Waiting
from late_rerank.vectors.queue import Bounds, Queue
from late_rerank.vectors.turns import SHARED_BATCH


def keyed(texts):
    return {text.encode(): text for text in texts}


def joined(queue, texts, until=None, looked=0.0):
    call = Call(until)
    queue.join(call, keyed(texts), looked)
    return call


def encoded(batch):
    """The outcome of a batch whose documents are all done, in a second."""
    keys = [job.key for job in batch.jobs]
    done = Done(KeyedDocuments(keys, np.array(keys, dtype=object)))
    return Outcome(dict.fromkeys(keys, done), sum(len(job.content) for job in batch.jobs), 1.0)


def given(queue, call):
    return [key.decode() for documents in queue.given(call) for key in documents.keys]


def texts(batch):
    return [job.content for job in batch.jobs]


SEVERAL = ((Job(b"j", "one"), Job(b"k", "text")),)


class TestJob:
    """The table of a job's states: each transition that it has, and none else."""

    def jobs(self):
        """A job in each state."""
        caller = Batch(Kind.CALLERS, SEVERAL, 0.0)
        found = {state: Job(b"k", "text") for state in (Waiting, Taken, Done, Failed, Dropped)}
        for state in (Taken, Done, Failed):
            found[state].take(caller)
        found[Done].settle(Done(KeyedDocuments([], None)))
        found[Failed].settle(Failed(ValueError()))
        found[Dropped].drop()
        return caller, found

    @pytest.mark.parametrize(
        ("event", "legal"),
        [
            ("take", {Waiting: Taken, Taken: Taken}),
            ("give_back", {Taken: Waiting}),
            ("done", {Taken: Done}),
            ("failed", {Taken: Failed}),
            ("drop", {Waiting: Dropped}),
        ],
    )
    def test_transitions(self, event, legal):
        caller, jobs = self.jobs()
        events = {
            "take": lambda job: job.take(Batch(Kind.DEADLINES, (), 0.0)),
            "give_back": lambda job: job.give_back(caller),
            "done": lambda job: job.settle(Done(KeyedDocuments([], None))),
            "failed": lambda job: job.settle(Failed(ValueError())),
            "drop": lambda job: job.drop(),
        }
        for state, job in jobs.items():
            assert type(job.state) is state
            if state in legal:
                events[event](job)
                assert type(job.state) is legal[state]
            else:
                with pytest.raises(RuntimeError, match="can't"):
                    events[event](job)
                assert type(job.state) is state

    @pytest.mark.parametrize(
        ("first", "second", "legal"),
        [
            (Kind.CALLERS, Kind.DEADLINES, True),
            (Kind.LEFTOVERS, Kind.DEADLINES, True),
            (Kind.DEADLINES, Kind.DEADLINES, False),
            (Kind.DEADLINES, Kind.CALLERS, False),
            (Kind.CALLERS, Kind.LEFTOVERS, False),
        ],
    )
    def test_only_a_batch_for_deadlines_takes_it_from_another_and_only_once(self, first, second, legal):
        job, one, two = Job(b"k", "text"), Batch(first, SEVERAL, 0.0), Batch(second, SEVERAL, 0.0)
        job.take(one)
        if not legal:
            with pytest.raises(RuntimeError, match="can't take"):
                job.take(two)
            return
        job.take(two)
        with pytest.raises(RuntimeError, match="can't take"):
            job.take(Batch(Kind.DEADLINES, (), 0.0))
        job.give_back(one)
        assert job.state == Taken((two,))
        job.give_back(two)
        assert job.state == Waiting()


class TestQueue:
    def test_a_finished_batch_is_given_to_its_call_once_and_without_other_calls_documents(self):
        queue = Queue(4)
        first, second = joined(queue, "ab"), joined(queue, "bc")
        batch = queue.take_for_callers(first, 0.0)
        assert sorted(texts(batch)) == ["a", "b", "c"]
        assert given(queue, first) == []
        queue.finish(batch, encoded(batch), 1.0)
        assert (sorted(given(queue, first)), sorted(given(queue, second))) == (["a", "b"], ["b", "c"])
        assert (given(queue, first), queue.n_waiting) == ([], 0)

    def test_one_call_encodes_at_once(self):
        queue = Queue(1)
        first, second = joined(queue, "a"), joined(queue, "b")
        batch = queue.take_for_callers(first, 0.0)
        assert queue.take_for_callers(second, 0.0) is None
        queue.finish(batch, encoded(batch), 1.0)
        assert texts(queue.take_for_callers(second, 0.0)) == ["b"]

    def test_a_call_with_a_deadline_never_encodes(self):
        queue = Queue(1)
        assert queue.take_for_callers(joined(queue, "a", until=9.0), 0.0) is None

    def test_an_interrupted_batch_is_taken_by_the_next_call_except_what_it_finished(self):
        queue = Queue(4)
        first, second = joined(queue, "abc"), joined(queue, "abc")
        batch = queue.take_for_callers(first, 0.0)
        outcome = encoded(batch)
        outcome.states = {b"a": outcome.states[b"a"]}
        queue.finish(batch, outcome, 1.0)
        queue.leave(first, 1.0, is_kept=True)
        assert given(queue, second) == ["a"]
        assert texts(queue.take_for_callers(second, 1.0)) == ["b", "c"]

    def test_a_call_that_leaves_before_it_finished_its_batch_gives_it_back(self):
        queue = Queue(4)
        first, second = joined(queue, "ab"), joined(queue, "bc")
        batch = queue.take_for_callers(first, 0.0)
        assert queue.leave(first, 1.0, is_kept=True)
        assert texts(queue.take_for_callers(second, 1.0)) == ["b", "c"]
        queue.finish(batch, encoded(batch), 2.0)  # too late: it isn't its batch any more
        assert given(queue, second) == []
        assert not queue.leave(first, 3.0, is_kept=True)

    def test_of_two_batches_with_one_document_the_first_to_finish_counts(self):
        queue = Queue(4)
        caller, hurried = joined(queue, ["both", "book"]), joined(queue, ["both"], until=9.0)
        slow = queue.take_for_callers(caller, 0.0)
        quick = queue.take_behind(1.0)
        assert (texts(slow), texts(quick)) == (["both", "book"], ["both"])
        queue.finish(quick, encoded(quick), 2.0)
        assert (given(queue, hurried), given(queue, caller)) == (["both"], ["both"])
        queue.finish(slow, encoded(slow), 3.0)
        assert given(queue, caller) == ["book"]
        assert queue.n_waiting == 0

    def test_a_document_that_is_alone_in_its_batch_is_not_taken_again(self):
        queue = Queue(4)
        queue.leave(joined(queue, ["one", "two"], until=0.0), 0.0, is_kept=True)
        alone = queue.take_behind(0.0)  # nothing was measured, so it is one
        hurried = joined(queue, ["one"], until=9.0)
        assert (alone.end, texts(alone), queue.take_behind(5.0)) == (math.inf, ["one"], None)
        queue.finish(alone, encoded(alone), 6.0)
        assert given(queue, hurried) == ["one"]

    def test_if_the_second_gives_it_back_the_first_goes_on(self):
        queue = Queue(4)
        caller, _ = joined(queue, ["both", "book"]), joined(queue, ["both"], until=9.0)
        slow = queue.take_for_callers(caller, 0.0)
        queue.finish(queue.take_behind(1.0), Outcome(), 2.0)
        queue.finish(slow, encoded(slow), 3.0)
        assert sorted(given(queue, caller)) == ["book", "both"]

    def test_documents_finished_since_a_call_looked_may_be_stored(self):
        queue = Queue(4)
        call = joined(queue, "a")
        batch = queue.take_for_callers(call, 0.0)
        queue.finish(batch, encoded(batch), 5.0)
        queue.leave(call, 5.0, is_kept=True)
        for looked, expected in ((4.0, True), (5.0, True), (6.0, False)):
            late = joined(queue, "ab", looked=looked)
            assert [job.may_be_stored for job in late.jobs.values()] == [expected, False]
            queue.leave(late, 7.0, is_kept=True)

    def test_a_batch_is_measured(self):
        queue = Queue(4)
        call = joined(queue, ["ten chars.", "b"])
        batch = queue.take_for_callers(call, 0.0)
        assert (batch.end, batch.late) == (math.inf, 0.125)
        queue.finish(batch, encoded(batch), 1.0)
        joined(queue, ["x" * 22])
        batch = queue.take_for_callers(call, 10.0)
        assert (batch.end, batch.late) == (12.0, 14.125)

    def test_a_call_that_has_left_is_not_held(self):
        queue = Queue(4)
        queue.leave(joined(queue, "ab", until=0.0), 0.0, is_kept=True)
        call = joined(queue, "ab")
        batch = queue.take_for_callers(call, 0.0)
        queue.finish(batch, encoded(batch), 1.0)
        assert given(queue, call) == ["a", "b"]
        queue.leave(call, 1.0, is_kept=True)
        held = [weakref.ref(call), weakref.ref(batch)]
        del call, batch
        gc.collect()
        assert [reference() for reference in held] == [None, None]


class TestInTheBackground:
    def paced(self, **bounds):
        """A queue in which a character takes a hundredth of a second."""
        queue = Queue(4, Bounds(**bounds))
        queue.pace.measured(1000, 10.0)
        return queue

    def test_what_a_call_left_is_encoded_when_nobody_waits(self):
        queue = self.paced()
        call = joined(queue, "a")
        left = joined(queue, "bc", until=1.0)
        queue.leave(left, 1.0, is_kept=True)
        assert queue.take_behind(1.0) is None
        queue.leave(call, 1.0, is_kept=True)
        batch = queue.take_behind(1.0)
        assert (batch.kind, texts(batch)) == (Kind.LEFTOVERS, ["b", "c"])
        queue.finish(batch, encoded(batch), 2.0)
        assert (queue.n_waiting, queue.take_behind(2.0)) == (0, None)

    def test_a_call_with_a_deadline_comes_before_what_was_left(self):
        queue = self.paced()
        queue.leave(joined(queue, "a", until=1.0), 1.0, is_kept=True)
        joined(queue, "b", until=9.0)
        assert texts(queue.take_behind(1.0)) == ["b"]

    def test_a_second_batch_begins_only_while_the_first_is_held_up(self):
        queue = self.paced()
        joined(queue, ["x" * 100], until=90.0)
        first = queue.take_behind(0.0)
        other = joined(queue, "a", until=90.0)
        assert (first.end, first.late) == (1.0, 2.125)
        assert queue.take_behind(1.0) is None
        assert queue.next_look(other, 1.0) == first.late
        assert texts(queue.take_behind(2.2)) == ["a"]

    def test_or_while_another_call_cannot_wait_for_it(self):
        queue = self.paced()
        joined(queue, ["x" * 100], until=90.0)
        queue.take_behind(0.0)
        joined(queue, "a", until=1.5)
        assert texts(queue.take_behind(0.1)) == ["a"]

    def test_no_more_than_so_many_batches_at_once(self):
        queue = self.paced(n_behind=3)
        for i in range(5):
            joined(queue, [f"{i}" + "x" * 100], until=9.0 * (i + 1))
        found = [queue.take_behind(3.0 * i) for i in range(6)]
        assert [batch is None for batch in found] == [False] * 3 + [True] * 3

    @pytest.mark.parametrize("is_kept", [True, False])
    def test_so_many_documents_are_left_behind_the_first_ones(self, is_kept):
        queue = Queue(4, Bounds(n_left=20))
        queue.leave(joined(queue, map(str, range(30)), until=1.0), 1.0, is_kept=is_kept)
        assert queue.n_waiting == (20 if is_kept else SHARED_BATCH)

    def test_so_many_characters_are_left_behind_and_room_comes_back(self):
        queue = self.paced(n_left_chars=10)
        queue.leave(joined(queue, ["aaaa", "bbbbbb", "c"], until=1.0), 1.0, is_kept=True)
        assert queue.n_waiting == 2
        batch = queue.take_behind(1.0)
        queue.finish(batch, encoded(batch), 2.0)
        queue.leave(joined(queue, ["d" * 10, "e"], until=2.0), 2.0, is_kept=True)
        assert queue.n_waiting == 1

    def test_a_document_is_left_behind_once(self):
        queue = self.paced(n_left_chars=10)
        for _ in range(3):
            queue.leave(joined(queue, ["aaaa", "bbb"], until=1.0), 1.0, is_kept=True)
        assert queue.n_waiting == 2

    def test_closing_forgets_what_was_left_and_leaves_what_runs(self):
        queue = Queue(4)
        queue.leave(joined(queue, "ab", until=1.0), 1.0, is_kept=True)
        running = queue.take_behind(1.0)
        assert not queue.is_unwanted(running)
        queue.close()
        assert queue.is_unwanted(running)
        assert queue.n_waiting == 1
        waiting = joined(queue, "a")
        assert not queue.is_unwanted(running)
        queue.finish(running, encoded(running), 2.0)
        assert (given(queue, waiting), queue.n_waiting, queue.take_behind(2.0)) == (["a"], 0, None)

    def test_a_call_waits_while_there_is_time_and_a_batch_runs(self):
        queue = Queue(4)
        call = joined(queue, "a", until=5.0)
        assert not queue.may_come(call, 1.0)
        batch = queue.take_behind(1.0)
        assert queue.may_come(call, 4.9)
        assert not queue.may_come(call, 5.0)
        queue.close()
        assert not queue.may_come(call, 1.0)
        queue.finish(batch, encoded(batch), 2.0)
        assert given(queue, call) == ["a"]


KEYS = [name * length for name in "abcdef" for length in (1, 2, 40)]
BOUNDS = Bounds(n_left=5, n_left_chars=90, n_behind=2)


class AnyOrder(RuleBasedStateMachine):
    """Calls come and go, batches begin and end, and time passes, in any order."""

    calls = Bundle("calls")
    batches = Bundle("batches")

    def __init__(self):
        super().__init__()
        self.queue = Queue(8, BOUNDS)
        self.now = 0.0
        self.waiting = {}  # call -> texts that it hasn't been given
        self.running = []
        self.n_begun = self.n_ended = 0

    @rule(seconds=st.sampled_from([0.01, 0.3, 5.0]))
    def time_passes(self, seconds):
        self.now += seconds

    @rule(
        target=calls, wanted=st.lists(st.sampled_from(KEYS), unique=True), left_s=st.sampled_from([None, None, 0.0, 1.0, 30.0])
    )
    def join(self, wanted, left_s):
        call = joined(self.queue, wanted, None if left_s is None else self.now + left_s, looked=self.now)
        self.waiting[call] = set(wanted)
        return call

    @rule(call=consumes(calls), is_kept=st.booleans())
    def leave(self, call, is_kept):
        if call not in self.waiting:
            return None
        if any(batch.caller is call for batch in self.running):  # its thread is busy
            return self.interrupt(next(batch for batch in self.running if batch.caller is call))
        self.queue.leave(call, self.now, is_kept=is_kept)
        del self.waiting[call]
        return None

    @rule(call=calls)
    def give(self, call):
        if call not in self.waiting:
            return
        failed = {job.content for job in call.jobs.values() if isinstance(job.state, Failed)}
        if failed:
            assert failed <= self.waiting[call]
            with pytest.raises(ValueError, match="|".join(failed)):
                self.queue.given(call)
            self.queue.leave(call, self.now, is_kept=True)
            del self.waiting[call]
            return
        found = given(self.queue, call)
        assert len(found) == len(set(found))
        assert set(found) <= self.waiting[call]
        self.waiting[call] -= set(found)

    @rule(target=batches, call=calls)
    def encode_for_all(self, call):
        if call not in self.waiting or not call.jobs:
            return None
        before = {other: self.untaken(other) for other in self.waiting if other.until is None}
        is_busy = any(batch.kind is Kind.CALLERS for batch in self.running)
        batch = self.queue.take_for_callers(call, self.now)
        # Deadlines never delay a call without one: it encodes whenever no other does.
        assert (batch is not None) == (call.until is None and not is_busy and any(before.values()))
        if batch is not None:
            self.check_turns(batch, before)
        return self.begun(batch)

    @rule(target=batches)
    def encode_behind(self):
        batch = self.queue.take_behind(self.now)
        if batch is not None and batch.kind is Kind.LEFTOVERS:
            assert not any(call.until is None for call in self.waiting)
        return self.begun(batch)

    @rule(batch=consumes(batches), failing=st.sets(st.sampled_from(KEYS)))
    def finish(self, batch, failing):
        if batch not in self.running:
            return
        outcome = encoded(batch)
        failed = {key: Failed(ValueError(key.decode())) for key in outcome.states if key.decode() in failing}
        outcome.states.update(failed)
        self.ended(batch, outcome)

    @rule(batch=consumes(batches), data=st.data())
    def interrupt(self, batch, data=None):
        if batch not in self.running:
            return
        outcome = Outcome()
        if data is not None:
            reached = data.draw(st.sets(st.sampled_from(texts(batch))))
            outcome.states = {key: state for key, state in encoded(batch).states.items() if key.decode() in reached}
        caller = batch.caller
        self.ended(batch, outcome)
        if caller is not None and caller in self.waiting:
            self.queue.leave(caller, self.now, is_kept=True)
            del self.waiting[caller]

    @precondition(lambda self: self.n_begun > 5)
    @rule()
    def close(self):
        self.queue.close()

    def begun(self, batch):
        if batch is None:
            return None
        self.n_begun += 1
        assert batch.jobs
        for job in batch.jobs:
            others = [other for other in self.running if job in other.jobs]
            # Encoded twice at once only where a caller's batch, or one of leftovers, ends too late for a deadline.
            assert not others or (batch.kind is Kind.DEADLINES and [o.kind is not Kind.DEADLINES for o in others] == [True])
            for other in others:
                assert any(call.until < other.end for call in self.waiting if call.until is not None and job.key in call.jobs)
        assert len(set(texts(batch))) == len(batch.jobs)
        self.running.append(batch)
        return batch

    def ended(self, batch, outcome):
        self.running.remove(batch)
        self.queue.finish(batch, outcome, self.now)

    def untaken(self, call):
        return [job for job in call.jobs.values() if isinstance(job.state, Waiting)]

    def check_turns(self, batch, before):
        """No call has two documents more in a batch than one that had to leave some out."""
        counts = {call: sum(job in jobs for job in batch.jobs) for call, jobs in before.items()}
        parts = {id(job): len(part) for part in batch.parts for job in part}
        most = max(parts.values())
        for call in before:
            if self.untaken(call):
                assert counts[call] >= most - 1

    @invariant()
    def nothing_is_lost(self):
        unsettled = set()
        for call, wanted in self.waiting.items():
            assert {job.content for job in call.jobs.values()} == wanted
            unsettled |= {job.content for job in call.jobs.values() if not job.is_settled}
        for batch in self.running:
            unsettled |= {job.content for job in batch.jobs if not job.is_settled}
        left = self.queue.n_waiting - len(unsettled)
        assert 0 <= left <= BOUNDS.n_left

    @invariant()
    def bounds_hold(self):
        kinds = [batch.kind for batch in self.running]
        assert kinds.count(Kind.CALLERS) <= 1
        assert len(kinds) - kinds.count(Kind.CALLERS) <= BOUNDS.n_behind
        assert kinds.count(Kind.LEFTOVERS) <= 1

    @invariant()
    def a_deadline_is_kept(self):
        for call in self.waiting:
            if call.until is not None:
                assert not (self.queue.may_come(call, self.now) and self.now >= call.until)
                assert self.queue.next_look(call, self.now) <= call.until

    def teardown(self):
        """End what runs, and let all calls wait to their end: each is given all that it wants."""
        for batch in list(self.running):
            self.ended(batch, encoded(batch))
        for call in list(self.waiting):
            self.give(call)
            while call in self.waiting and call.until is None and self.waiting[call]:
                batch = self.queue.take_for_callers(call, self.now)
                assert batch is not None
                self.queue.finish(batch, encoded(batch), self.now)
                self.give(call)
        for call in list(self.waiting):
            self.queue.leave(call, self.now, is_kept=True)
        while (batch := self.queue.take_behind(self.now)) is not None:
            self.queue.finish(batch, encoded(batch), self.now)
        assert self.queue.n_waiting == 0


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)
