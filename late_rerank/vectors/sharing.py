"""Documents that several calls need at once: each encoded once, in batches that the calls share; by a deadline, or after it."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import partial
from threading import Condition, RLock, Thread, current_thread

from late_rerank.processes.forks import StoppedError, background_work, guarded, stoppable, watch
from late_rerank.vectors.documents import KeyedDocuments
from late_rerank.vectors.turns import BATCH_CHARS, SHARED_BATCH, Call, Miss, Pace, Unit, first_left, in_time, in_turn

__all__ = ["BATCH_CHARS", "SHARED_BATCH", "SharedEncoding"]

# What calls left behind at their deadlines is encoded after them, no more than so many documents, of so many characters.
_MOST_LEFT = 10_000
_MOST_LEFT_CHARS = 50_000_000
# Batches that are remembered as finished: a call's look into the store was at most so many ago when it comes to wait.
_REMEMBERED = 32
# Threads that encode for calls with deadlines: one, and others where it is held up by a document that takes longer than that.
_MOST_THREADS = 4
# A document that probably takes too long is tried all the same while no more threads than this are held up.
_MOST_TRIES = 1


class SharedEncoding:
    """Encodes documents for calls of many threads. Safe to share between them.

    One of the calls that wait for all their documents encodes for all of them; when its own documents are there, the next one
    goes on. Calls take turns in a batch, so that one with a thousand documents doesn't hold up one with three. For calls that
    wait until a moment threads of this object's encode, which go on when they have left, and end when nothing is to do.

    Args:
        encode: Encodes and keeps documents, given as key -> text; of some, named beside them, it should ask the store first.
        batch_size: Documents a batch where one call is alone.
        is_kept: Whether what was encoded last is found again. If not, no more than a batch is encoded behind the calls, to see
            whether the next one is.
    """

    def __init__(
        self,
        encode: Callable[[Mapping[bytes, str], set[bytes]], list[KeyedDocuments]],
        batch_size: int,
        is_kept: Callable[[], bool] = lambda: True,
    ) -> None:
        self._encode = encode
        self._batch_size = batch_size
        self._is_kept = is_kept
        self._is_closed = False
        self._pace = Pace()
        self._begin()
        watch(self)

    def _begin(self) -> None:
        # Reentrant: a generator of `documents` may be collected anywhere, and leaves.
        self._changed = Condition(guarded(RLock()))
        # All below are read and written under `_changed`.
        self._misses: dict[bytes, Miss] = {}
        self._calls: deque[Call] = deque()  # that wait for all their documents
        self._hurried: deque[Call] = deque()  # that wait until a moment
        self._left: dict[bytes, Miss] = {}  # what calls left behind, in their order
        self._finished: deque[tuple[float, frozenset[bytes]]] = deque(maxlen=_REMEMBERED)
        self._is_encoding = False  # one of `_calls`
        self._threads: dict[Thread, Unit] = {}

    def after_fork(self) -> None:
        """Begin with nothing to do: the calls and threads are the parent's."""
        self._begin()

    def documents(
        self, texts: Mapping[bytes, str], until: float | None = None, *, looked: float | None = None
    ) -> Iterator[KeyedDocuments]:
        """Give the documents of these keys, batch by batch, possibly with others among them.

        Args:
            texts: Key -> text; encoded in this order, but with `until` those that don't fit into the time come last.
            until: Of `time.monotonic()`: what isn't there by then is not given, but encoded later. None to wait for all.
            looked: When the caller found that they aren't stored, of `time.monotonic()`; None for now. What another call has
                finished since is stored by now.

        Raises:
            Exception: If `encode` raised one for one of them.
        """
        call = self._joined(texts, until, time.monotonic() if looked is None else looked)
        try:
            while found := self._next(call):
                yield from found
        finally:
            self._leave(call)

    @property
    def n_waiting(self) -> int:
        """Documents that are being encoded or wait for it."""
        return len(self._misses)

    def close(self) -> None:
        """Encode no more of what calls left behind. What runs is not waited for: it ends with its batch of windows."""
        with self._changed:
            self._is_closed = True
            self._drop(self._left)
            self._left.clear()
            self._changed.notify_all()

    def _joined(self, texts: Mapping[bytes, str], until: float | None, looked: float) -> Call:
        with self._changed:
            since = frozenset().union(*(keys for finished, keys in self._finished if finished >= looked))
            misses = {key: self._misses.setdefault(key, Miss(key, text)) for key, text in texts.items()}
            for miss in misses.values():
                miss.n_calls += 1
                miss.is_stored = miss.is_stored or miss.key in since
            call = Call(until, misses, dict(misses))
            (self._calls if until is None else self._hurried).append(call)
            return call

    def _next(self, call: Call) -> list[KeyedDocuments]:
        """What is new for this call, when there is something; nothing when no more will come."""
        while call.waiting:
            unit = None
            with self._changed:
                found = call.done()
                if found or not call.waiting:
                    return found
                if call.until is None:
                    unit = self._batch()
                    if unit is None:
                        self._changed.wait()
                elif not self._waited(call.until):
                    return []
            if unit is not None:
                self._encode_for_all(unit)
        return []

    def _batch(self) -> Unit | None:
        """What the calling thread encodes for all calls that wait; None if another does, or nothing is to do."""
        if self._is_encoding:
            return None
        size = min(self._batch_size, SHARED_BATCH) if len(self._calls) + len(self._hurried) > 1 else self._batch_size
        unit = self._begun(Unit(in_turn(self._calls, size)))
        self._is_encoding = unit is not None
        return unit

    def _waited(self, until: float) -> bool:
        """See to it that a thread encodes, and wait for a change; whether there was time left."""
        now = time.monotonic()
        if now >= until or not (self._go_on_behind() or self._is_encoding):
            return False
        held_up = [unit.late for unit in self._threads.values() if unit.late > now]
        self._changed.wait(min([until, *held_up]) - now)
        return True

    def _begun(self, unit: Unit) -> Unit | None:
        if not unit.taken:
            return None
        unit.began = time.monotonic()
        unit.expected_s = self._pace.seconds(unit.misses)
        for miss in unit.misses:
            miss.unit = unit
        return unit

    def _encode_for_all(self, unit: Unit) -> None:
        try:
            self._encode_apart(unit.taken)
        finally:
            with self._changed:
                self._is_encoding = False
                self._finish(unit)
                self._go_on_behind()

    def _encode_apart(self, taken: list[list[Miss]]) -> None:
        """Encode what was taken from each call. What is wrong with one call's documents is no other's."""
        misses = [miss for of_call in taken for miss in of_call]
        try:
            self._encode_some(misses)
        except StoppedError:
            raise
        except Exception as error:  # noqa: BLE001 - whoever waits for one of them is told
            if len(taken) > 1:
                parts = [[of_call] for of_call in taken]
            elif len(misses) > 1 and any(miss.n_calls > 1 for miss in misses):
                parts = [[[miss]] for miss in misses]
            else:
                for miss in misses:
                    miss.error = error
                return
            for part in parts:
                self._encode_apart(part)

    def _encode_some(self, misses: list[Miss]) -> None:
        by_key = {miss.key: miss for miss in misses}
        stored = {miss.key for miss in misses if miss.is_stored}
        began = time.monotonic()
        for documents in self._encode({miss.key: miss.text for miss in misses}, stored):
            for key in documents.keys:
                by_key[key].documents = documents
        if not stored:
            self._pace.measured(misses, time.monotonic() - began)

    def _finish(self, unit: Unit) -> None:
        """Mark what is done."""
        for miss in unit.misses:
            if miss.is_done and self._left.pop(miss.key, None) is not None:
                miss.n_calls -= 1
        self._put_back(unit)
        self._finished.append((time.monotonic(), frozenset(miss.key for miss in unit.misses if miss.documents is not None)))
        self._changed.notify_all()

    def _put_back(self, unit: Unit) -> None:
        """What isn't done, since its thread was interrupted, is to be encoded by another."""
        for miss in unit.misses:
            miss.unit = None if miss.unit is unit else miss.unit
            if (miss.is_done or not miss.n_calls) and self._misses.get(miss.key) is miss:
                del self._misses[miss.key]
            for call in [*self._calls, *self._hurried]:
                if not miss.is_done and miss.key in call.waiting:
                    call.todo[miss.key] = miss

    def _leave(self, call: Call) -> None:
        with self._changed:
            calls = self._calls if call.until is None else self._hurried
            if call in calls:
                calls.remove(call)
            if call.until is not None and not self._is_closed:
                self._leave_behind(miss for miss in call.waiting.values() if not miss.is_done)
            self._drop(call.waiting)
            call.waiting.clear()
            self._go_on_behind()

    def _leave_behind(self, misses: Iterable[Miss]) -> None:
        most = _MOST_LEFT if self._is_kept() else SHARED_BATCH
        n_chars = sum(len(miss.text) for miss in self._left.values())
        for miss in misses:
            n_chars += len(miss.text)
            if len(self._left) >= most or n_chars > _MOST_LEFT_CHARS:
                return
            if miss.key not in self._left:
                self._left[miss.key] = miss
                miss.n_calls += 1

    def _drop(self, waiting: Mapping[bytes, Miss]) -> None:
        """Nobody waits for these any more, but other calls."""
        for miss in waiting.values():
            miss.n_calls -= 1
            if not miss.n_calls and miss.unit is None and self._misses.get(miss.key) is miss:
                del self._misses[miss.key]

    # What goes on behind the calls, in threads of this object's.

    def _go_on_behind(self) -> bool:
        """See to it that what is due by a moment, or was left, is encoded in a thread; False if nothing is any more."""
        if self._is_closed:
            return False
        if len(self._threads) < _MOST_THREADS and all(map(self._is_held_up, self._threads.values())):
            unit = self._due(self._threads.values())
            if unit is not None:
                thread = Thread(target=self._encode_behind, args=[unit], name="late-rerank encodes", daemon=True)
                self._threads[thread] = unit
                try:
                    thread.start()
                except RuntimeError:  # the interpreter is ending, or the system has no more threads
                    del self._threads[thread]
                    self._put_back(unit)
        return bool(self._threads) or not self._hurried_todo()

    def _is_held_up(self, unit: Unit) -> bool:
        """Whether a unit takes longer than others can wait, or nobody in a hurry waits for it."""
        now = time.monotonic()
        waiting = [call for call in self._hurried if any(miss.key in call.waiting for miss in unit.misses)]
        if not waiting or now >= unit.late:
            return True
        others = [call.until or now for call in self._hurried if call.todo and call not in waiting]
        return any(unit.end - now > (until - now) / 2 for until in others)

    def _hurried_todo(self) -> bool:
        return any(call.todo for call in self._hurried)

    def _due(self, others: Collection[Unit]) -> Unit | None:
        """What a thread of this object's encodes next, while others do the rest."""
        if self._is_closed:
            return None
        in_a_hurry = in_time(self._hurried, self._pace, may_be_late=len(others) <= _MOST_TRIES)
        if in_a_hurry or self._calls or others or self._hurried_todo():
            return self._begun(Unit(in_a_hurry, for_deadlines=True))
        return self._begun(Unit(first_left(self._left, self._pace)))

    def _encode_behind(self, first: Unit) -> None:
        """The body of a thread: unit after unit, until there is none."""
        unit: Unit | None = first
        while unit is not None:
            with background_work():  # to the end: what an exception holds is native
                is_stopped = self._is_stopped(unit)
            with self._changed:
                del self._threads[current_thread()]
                self._finish(unit)
                unit = None if is_stopped else self._due(self._threads.values())
                if unit is not None:
                    self._threads[current_thread()] = unit

    def _is_stopped(self, unit: Unit) -> bool:
        """Encode a unit; whether it was stopped, since nobody wants it any more."""
        try:
            with stoppable(partial(self._is_unwanted, unit)):
                self._encode_apart(unit.taken)
        except StoppedError:
            return True
        except BaseException as error:  # noqa: BLE001 - an interruption, for whoever waits
            for miss in unit.misses:
                miss.error = miss.error or error
        return False

    def _is_unwanted(self, unit: Unit) -> bool:
        return self._is_closed and not any(miss.n_calls for miss in unit.misses)
