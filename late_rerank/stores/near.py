"""What a near store has of a far one: a space for each edition, and copies that never come after a change."""

from __future__ import annotations

import re
import threading
from collections import Counter
from collections.abc import Callable

from late_rerank.processes.forks import guarded, watch
from late_rerank.stores.base import UNNUMBERED, Edition, Space, Store
from late_rerank.types import CodecSpec

# What a query encodes while nobody knows the edition is kept as well.
_UNKNOWN = Edition("unknown", 0)
_NAME = re.compile(r"(?P<fingerprint>.*) of (?P<store>\w+)-(?P<generation>\d+)", re.DOTALL)


def fingerprint_of(name: str) -> str:
    """Give the encoder's fingerprint in the name under which its copies lie in a near store."""
    found = _NAME.fullmatch(name)
    return found["fingerprint"] if found else name


class NearSpace:
    """The copies of one far space. Each edition has a space of its own, since processes may know different ones.

    Args:
        near: The near store.
        fingerprint: The encoder's.
        codec: The space's.
        forget: Does what frees the room of older editions, now or soon.
    """

    def __init__(
        self, near: Store, fingerprint: str, codec: CodecSpec, *, forget: Callable[[Callable[[], object]], None]
    ) -> None:
        self._near, self._fingerprint, self._codec, self._forget = near, fingerprint, codec, forget
        self._opened: tuple[Edition | None, Space] | None = None

    def of(self, edition: Edition | None) -> Space:
        """Open the space of the copies that are good for an edition. For None, of the last one that was kept."""
        opened = self._opened
        if opened is None or opened[0] != edition:
            space = self._near.space(self._name(self._last() if edition is None else edition), self._codec)
            self._opened = opened = edition, space
            if edition is not None and edition != UNNUMBERED:
                self._forget(lambda: self._drop_older(edition))
        return opened[1]

    def _name(self, edition: Edition) -> str:
        if edition == UNNUMBERED:
            return self._fingerprint
        return f"{self._fingerprint} of {edition.store}-{edition.generation}"

    def _kept(self) -> list[tuple[Edition, Space]]:
        """List the editions of which copies of this encoder are kept, oldest first."""
        found = [(_NAME.fullmatch(space.fingerprint), space) for space in self._near.spaces()]
        return [
            (Edition(name["store"], int(name["generation"])), space)
            for name, space in found
            if name and name["fingerprint"] == self._fingerprint
        ]

    def _last(self) -> Edition:
        kept = [edition for edition, space in self._kept() if space.codec == self._codec]
        return kept[-1] if kept else _UNKNOWN

    def _drop_older(self, now: Edition) -> None:
        for edition, space in self._kept():
            if edition == _UNKNOWN or (edition.store == now.store and edition.generation < now.generation):
                self._near.drop(space.fingerprint)


class Copying:
    """Copies into a near store, and changes: a copy of what was read before a change never comes after it. For threads.

    Attributes:
        n_changes: Note it before the far store is read.
    """

    def __init__(self) -> None:
        self.n_changes = 0
        self.after_fork()
        watch(self)

    def after_fork(self) -> None:
        """Begin without copies: those on their way were the parent's."""
        self._running: Counter[int] = Counter()
        self._changed = threading.Condition(guarded(threading.Lock()))

    def copy(self, work: Callable[[], object], since: int) -> None:
        """Do what copies, unless there was a change since then."""
        with self._changed:
            if since != self.n_changes:
                return
            self._running[since] += 1
        try:
            work()
        finally:
            with self._changed:
                self._running[since] -= 1
                self._changed.notify_all()

    def change(self) -> None:
        """Note a change of the far store: wait for copies that run, and let none begin that is older."""
        with self._changed:
            self.n_changes += 1
            self._changed.wait_for(lambda: not any(n for since, n in self._running.items() if since < self.n_changes))
            self._running = +self._running
