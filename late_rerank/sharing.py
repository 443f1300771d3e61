"""Documents that several calls need at once: each encoded once, in batches that the calls share; by a deadline, or after it."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Condition

from late_rerank.pool import KeyedDocuments

# Documents a batch where more than one call waits, or one that won't wait for long. A processor encodes as fast in small ones.
SHARED_BATCH = 16
# No more documents are added to a batch of so many characters: nothing interrupts one, and a document may be as long as a book.
BATCH_CHARS = 150_000
# What calls left behind at their deadlines is encoded after them, no more than so many documents, of so many characters.
_MOST_LEFT = 10_000
_MOST_LEFT_CHARS = 50_000_000
# Batches that are remembered as finished: a call's look into the store was at most so many ago when it comes to wait.
_REMEMBERED = 32


@dataclass(eq=False)
class _Miss:
    """A document to be encoded, for so many calls, or only to be fetched. `documents` or `error` is what became of it."""

    key: bytes
    text: str
    n_calls: int = 0
    is_taken: bool = False
    is_stored: bool = False
    documents: KeyedDocuments | None = None
    error: Exception | None = None

    @property
    def is_done(self) -> bool:
        return self.documents is not None or self.error is not None


@dataclass(eq=False)
class _Call:
    """What a call waits for; of that what nobody has begun with; and what it encodes itself, as it was taken from each call."""

    waiting: dict[bytes, _Miss] = field(default_factory=dict)
    todo: deque[_Miss] = field(default_factory=deque)
    taken: list[list[_Miss]] = field(default_factory=list)

    def next(self) -> _Miss | None:
        while self.todo:
            miss = self.todo.popleft()
            if miss.n_calls and not miss.is_taken:
                return miss
        return None

    def done(self) -> list[KeyedDocuments]:
        """Batches with documents of this call that it hasn't been given, each once."""
        found: dict[int, KeyedDocuments] = {}
        for miss in [miss for miss in self.waiting.values() if miss.is_done]:
            if miss.error is not None:
                raise miss.error
            if miss.documents is not None:
                found[id(miss.documents)] = miss.documents
            self.waiting.pop(miss.key).n_calls -= 1
        return list(found.values())


class SharedEncoding:
    """Encodes documents for calls of many threads, one batch at a time. Safe to share between them.

    One of the waiting calls encodes for all of them; when its own documents are there, the next one goes on. Calls take turns
    in a batch, so that one with a thousand documents doesn't hold up one with three. For calls that wait until a moment a
    thread of this object's encodes, which goes on when they have left.

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
        self._changed = Condition()
        # All below are read and written under `_changed`.
        self._misses: dict[bytes, _Miss] = {}
        self._calls: deque[_Call] = deque()  # of which something is to do
        self._left: dict[bytes, _Miss] = {}  # what calls left behind, in their order
        self._finished: deque[tuple[float, frozenset[bytes]]] = deque(maxlen=_REMEMBERED)
        self._is_encoding = False
        self._behind: ThreadPoolExecutor | None = None
        self._is_behind = False
        self._is_closed = False

    def documents(
        self, texts: Mapping[bytes, str], until: float | None = None, *, looked: float | None = None
    ) -> Iterator[KeyedDocuments]:
        """The documents of these keys, batch by batch, possibly with others among them.

        Args:
            texts: Key -> text; encoded in this order.
            until: Of `time.monotonic()`: what isn't there by then is not given, but encoded later. None to wait for all.
            looked: When the caller found that they aren't stored, of `time.monotonic()`; None for now. What another call has
                finished since is stored by now.

        Raises:
            Exception: What `encode` raised for one of them.
        """
        call = self._joined(texts, time.monotonic() if looked is None else looked)
        try:
            while found := self._next(call, until):
                yield from found
        finally:
            self._leave(call, later=until is not None)

    @property
    def n_waiting(self) -> int:
        """Documents that are being encoded or wait for it."""
        return len(self._misses)

    def close(self) -> None:
        """Encode no more of what calls left behind; a batch that was begun is finished."""
        with self._changed:
            self._is_closed = True
            self._drop(_Call(self._left))
            behind, self._behind = self._behind, None
        if behind is not None:
            behind.shutdown(wait=True)

    def _joined(self, texts: Mapping[bytes, str], looked: float) -> _Call:
        with self._changed:
            since = frozenset().union(*(keys for finished, keys in self._finished if finished >= looked))
            misses = {key: self._misses.setdefault(key, _Miss(key, text)) for key, text in texts.items()}
            for miss in misses.values():
                miss.n_calls += 1
                miss.is_stored = miss.is_stored or miss.key in since
            call = _Call(misses, deque(misses.values()))
            self._calls.append(call)
            return call

    def _next(self, call: _Call, until: float | None) -> list[KeyedDocuments]:
        """What is new for this call, when there is something; nothing when no more will come."""
        while call.waiting:
            with self._changed:
                found = call.done()
                if found or not call.waiting:
                    return found
                if until is None and not self._is_encoding:
                    call.taken = self._take_batch(self._batch_size)
                elif not (self._is_encoding or self._go_on_behind()) or not self._waited(until):
                    return []
            if call.taken:
                self._encode_taken(call)
        return []

    def _waited(self, until: float | None) -> bool:
        """Wait for a change; whether there was time left."""
        remaining = None if until is None else until - time.monotonic()
        if remaining is not None and remaining <= 0:
            return False
        self._changed.wait(remaining)
        return True

    def _take_batch(self, size: int) -> list[list[_Miss]]:
        """What this thread encodes next, the only one until it is done: from each call in turn; or else what calls left."""
        if len(self._calls) > 1:
            size = min(size, SHARED_BATCH)
        by_call: dict[_Call, list[_Miss]] = {}
        n_chars = 0
        while size and n_chars < BATCH_CHARS and self._calls:
            call = self._calls.popleft()
            miss = call.next()
            if miss is not None:
                by_call.setdefault(call, []).append(miss)
                self._calls.append(call)
                miss.is_taken = True
                size -= 1
                n_chars += len(miss.text)
        taken = list(by_call.values()) or self._take_left()
        self._is_encoding = bool(taken)
        return taken

    def _take_left(self) -> list[list[_Miss]]:
        taken: list[_Miss] = []
        n_chars = 0
        for miss in self._left.values():
            if len(taken) == SHARED_BATCH or n_chars >= BATCH_CHARS:
                break
            if not miss.is_taken:
                miss.is_taken = True
                taken.append(miss)
                n_chars += len(miss.text)
        return [taken] if taken else []

    def _encode_taken(self, call: _Call) -> None:
        """Encode what this call took."""
        self._encode_apart(call.taken)
        with self._changed:
            self._finish(call)

    def _encode_apart(self, taken: list[list[_Miss]]) -> None:
        """Encode what was taken from each call. What is wrong with one call's documents is no other's."""
        misses = [miss for of_call in taken for miss in of_call]
        try:
            self._encode_some(misses)
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

    def _encode_some(self, misses: list[_Miss]) -> None:
        by_key = {miss.key: miss for miss in misses}
        stored = {miss.key for miss in misses if miss.is_stored}
        for documents in self._encode({miss.key: miss.text for miss in misses}, stored):
            for key in documents.keys:
                by_key[key].documents = documents

    def _finish(self, call: _Call) -> None:
        """What a call took is done; or else, if it was interrupted, is to be encoded by another."""
        taken = [miss for of_call in call.taken for miss in of_call]
        again = _Call(todo=deque(miss for miss in taken if not miss.is_done))
        for miss in taken:
            miss.is_taken = miss.is_done
            if miss.is_done and self._left.pop(miss.key, None) is not None:
                miss.n_calls -= 1
            if miss.is_done or not miss.n_calls:
                self._misses.pop(miss.key, None)
        if again.todo:
            self._calls.append(again)
        self._finished.append((time.monotonic(), frozenset(miss.key for miss in taken if miss.documents is not None)))
        call.taken = []
        self._is_encoding = False
        self._changed.notify_all()

    def _leave(self, call: _Call, *, later: bool) -> None:
        with self._changed:
            if later and not self._is_closed:
                self._leave_behind(miss for miss in call.waiting.values() if not miss.is_done)
            self._drop(call)
            if call.taken:
                self._finish(call)
            if self._left and not self._is_encoding:  # else who encodes sees to it when it leaves
                self._go_on_behind()

    def _leave_behind(self, misses: Iterable[_Miss]) -> None:
        most = _MOST_LEFT if self._is_kept() else SHARED_BATCH
        n_chars = sum(len(miss.text) for miss in self._left.values())
        for miss in misses:
            n_chars += len(miss.text)
            if len(self._left) >= most or n_chars > _MOST_LEFT_CHARS:
                return
            if miss.key not in self._left:
                self._left[miss.key] = miss
                miss.n_calls += 1

    def _drop(self, call: _Call) -> None:
        """A call waits no more."""
        for miss in call.waiting.values():
            miss.n_calls -= 1
            if not miss.n_calls and not miss.is_taken:
                self._misses.pop(miss.key, None)
        call.waiting.clear()
        call.todo.clear()

    def _go_on_behind(self) -> bool:
        """See to it that the thread of this object's encodes; False if it may not any more."""
        if self._is_closed:
            return False
        if self._behind is None:
            self._behind = ThreadPoolExecutor(1, "late-rerank encodes")
        if not self._is_behind:
            try:
                self._behind.submit(self._encode_behind)
            except RuntimeError:  # the interpreter is ending
                return False
            self._is_behind = True
        return True

    def _encode_behind(self) -> None:
        """One batch; then the next one in its turn, so that an interpreter that ends waits for no more than one."""
        call = _Call()
        try:
            with self._changed:
                self._is_behind = False
                if not self._is_encoding:
                    call.taken = self._take_batch(SHARED_BATCH)
            if call.taken:
                self._encode_taken(call)
                with self._changed:
                    if self._calls or self._left:
                        self._go_on_behind()
        finally:
            self._leave(call, later=False)
