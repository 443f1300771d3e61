"""What a RemoteStore and its spaces share: the newest snapshot, a service that fails, and looks for new manifests."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from threading import Lock
from typing import NoReturn, Protocol, TypeVar

from late_rerank.errors import StoreConnectionError, StoreError, StoreFormatError
from late_rerank.processes.forks import guarded, watch
from late_rerank.processes.threads import CallThreads
from late_rerank.stores.base import Edition
from late_rerank.stores.remote.committing import read_format
from late_rerank.stores.remote.failures import GoneError, RequestError
from late_rerank.stores.remote.manifest import newest
from late_rerank.stores.remote.objects import Objects
from late_rerank.stores.remote.snapshot import Snapshot
from late_rerank.stores.trouble import Breaker, Failed, Trouble
from late_rerank.warn import warn_caller


class _Told(Protocol):
    """What reading gives: what failed, what the service gave, and how many documents couldn't be read."""

    @property
    def errors(self) -> Sequence[StoreError]: ...

    @property
    def n_read(self) -> int: ...

    @property
    def n_unread(self) -> int: ...


_Outcome = TypeVar("_Outcome", bound=_Told)


class Shared:
    """The parts of one open RemoteStore. Safe to share between threads.

    Args:
        objects: Of the store, with a query's patience.
        trouble: Counts failures, and warns once or raises.
        pause_s: How long a service that failed is left alone at first.
        poll_s: Seconds between two looks for a new manifest.

    Raises:
        StoreError: If there is no store, or it can't be read. A service that can't be reached is an error only if `trouble`
            raises.
    """

    def __init__(self, objects: Objects, trouble: Trouble, *, pause_s: float, poll_s: float) -> None:
        self.objects, self.trouble = objects, trouble
        self.is_closed = False
        self._breaker = Breaker(pause_s)
        self._poll_s = poll_s
        self._threads = CallThreads(1)
        self._next_look = 0.0
        self._is_looking = False
        self._snapshot: Snapshot | None = None
        self._id = ""
        self._has_warned = False
        self._lock = guarded(Lock())
        watch(self)
        try:
            self.snapshot()
        except StoreConnectionError as error:
            self._failed([error], 0)

    def after_fork(self) -> None:
        """Let a child look for manifests itself: the parent's look isn't its own."""
        self._is_looking = False

    def refuse_if_closed(self) -> None:
        """Raise a StoreError if the store was closed."""
        if self.is_closed:
            raise StoreError(f"the store {self.objects.url} was closed; open it again")

    def refuse_change(self) -> NoReturn:
        """Raise the StoreError that says why nothing can be changed here, and what to do instead."""
        self.refuse_if_closed()
        raise StoreError(
            f"{self.objects.url} is read-only here: it changes by commits of whole runs. Use `late-rerank index PATH --store "
            "URL`, `late-rerank store publish DIR URL` or `late-rerank store drop URL`"
        )

    def snapshot(self) -> Snapshot:
        """Give the newest snapshot that this store knows; read it if it knows none.

        Raises:
            StoreConnectionError: If the service can't be reached.
            StoreError: If there is no store, or its manifest is damaged.
        """
        self.refuse_if_closed()
        known = self._snapshot
        if known is None:
            name = read_format(self.objects)
            if name is None:
                raise StoreError(f"{self.objects.url} holds no store; `late-rerank store publish DIR URL` makes one")
            self._id = name
            known = self._take(Snapshot(self.objects, newest(self.objects)))
        return known

    def known(self) -> Snapshot | None:
        """Give the newest snapshot that is known, for a question that mustn't wait for the service; None if none is known.

        Raises:
            StoreError: If the store can't be read, and `trouble` raises.
        """
        self.refuse_if_closed()
        if self.trouble.on_error == "raise":
            return self.snapshot()
        self._look()
        return self._snapshot

    def edition(self) -> Edition | None:
        """Name what the known manifest holds, and look behind the call for a newer one, if it is time."""
        self._look()
        known = self._snapshot
        return None if known is None else Edition(self._id, known.manifest.generation)

    def names(self) -> list[str]:
        """Name the spaces, oldest first; none while the service can't be reached."""
        try:
            return list(self.snapshot().spaces())
        except StoreConnectionError as error:
            self._failed([error], 0)
            return []

    def ask(self, work: Callable[[Snapshot], _Outcome], n_keys: int) -> _Outcome | None:
        """Ask the service; None if it can't be asked.

        Args:
            work: Reads from a snapshot, and says what failed. If an object was gone, it is called again, with a newer snapshot.
            n_keys: How many documents are asked for, to be counted.
        """
        self.refuse_if_closed()
        if not self._breaker.lets_through():
            self._tell([Failed("it failed a moment ago, and is left alone for some seconds.")], n_keys)
            return None
        try:
            outcome = self._first(work)
            if outcome is None or any(isinstance(error, GoneError) for error in outcome.errors):
                outcome = work(self._newer())
        except StoreError as error:
            self.refuse_if_closed()
            self._failed([error], n_keys)
            return None
        if outcome.errors:
            # A service that answers 99 of 100 requests isn't left alone.
            self._failed(outcome.errors, outcome.n_unread, is_down=not outcome.n_read)
        else:
            self._breaker.succeeded()
        self._look()
        return outcome

    def _first(self, work: Callable[[Snapshot], _Outcome]) -> _Outcome | None:
        try:
            return work(self.snapshot())
        except GoneError:
            return None

    def count_damage(self, n: int) -> None:
        """Count damaged documents, and warn of the first."""
        if not n:
            return
        self.trouble.damaged(n)
        with self._lock:
            first, self._has_warned = not self._has_warned, True
        if first:
            warn_caller(
                f"{self.objects.url}: documents or keys are damaged, and count as missing; "
                "`late-rerank store verify URL` names them. This is said once",
                RuntimeWarning,
            )

    def close(self) -> None:
        """Use nothing any more."""
        self.is_closed = True
        self._threads.shutdown()
        self._snapshot = None

    def _newer(self) -> Snapshot:
        """Read the newest manifest now: an object that the known one names is gone."""
        before = self.snapshot()
        manifest = newest(self.objects, known=before.manifest)
        return before if manifest is before.manifest else self._take(Snapshot(self.objects, manifest, before))

    def _take(self, new: Snapshot) -> Snapshot:
        with self._lock:
            known = self._snapshot
            if known is None or new.manifest.number >= known.manifest.number:
                self._snapshot = known = new
            self._next_look = time.monotonic() + self._poll_s
        return known

    def _look(self) -> None:
        """Look for a new manifest in the background, if it is time."""
        with self._lock:
            if self._is_looking or self.is_closed or time.monotonic() < self._next_look:
                return
            self._is_looking = True
        try:
            self._threads.submit(self._look_now)
        except RuntimeError:  # the interpreter is ending
            self._is_looking = False

    def _look_now(self) -> None:
        try:
            before = self.snapshot()
            manifest = newest(self.objects, known=before.manifest)
            if manifest is not before.manifest:
                new = Snapshot(self.objects, manifest, before)
                for space in before.in_use():
                    new.keys_of(space)  # so that no query waits for it
                self._take(new)
        except StoreError as error:
            if not self.is_closed:
                self.trouble.noted(_text(error))
        finally:
            with self._lock:
                self._next_look = time.monotonic() + self._poll_s
                self._is_looking = False

    def _failed(self, errors: Sequence[StoreError], n_keys: int, *, is_down: bool = True) -> None:
        if is_down and any(isinstance(error, RequestError) for error in errors):
            self._breaker.failed()
        elif not is_down:
            self._breaker.succeeded()
        self._tell([Failed(f"{_text(error)}.", error=_kind(error)) for error in errors], n_keys)

    def _tell(self, failures: list[Failed], n_keys: int) -> None:
        self.trouble.met(failures, n_unreachable=n_keys)


def _kind(error: StoreError) -> type[StoreError]:
    """Give what is raised: damage and lost objects stay what they are, whoever waits for the service to come back."""
    return next((kind for kind in (StoreFormatError, StoreConnectionError) if isinstance(error, kind)), StoreError)


def _text(error: StoreError) -> str:
    return error.text if isinstance(error, (RequestError, GoneError)) else str(error)
