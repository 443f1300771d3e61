"""A server that doesn't answer: how long it is left alone, the counts, and the one warning or the error."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Literal

from late_rerank.errors import StoreConnectionError, StoreError
from late_rerank.processes.forks import guarded
from late_rerank.warn import warn_caller

OnError = Literal["miss", "raise"]

# A server that is down for an hour is asked 120 times; a server that is back is used again within this time.
LONGEST_PAUSE_S = 30.0


@dataclass(frozen=True, slots=True)
class Failed:
    """A failure, in the place of a reply.

    Attributes:
        text: What happened and what to do; no password in it.
        moved: Whether another server of the cluster owns the key now.
        again: Whether trying again at once is worth while.
        refused: Whether the server answered with a refusal.
        stale: Whether another server may own the key by now.
        error: What is raised with `on_error="raise"`.
    """

    text: str
    moved: bool = False
    again: bool = False
    refused: bool = False
    stale: bool = False
    error: type[StoreError] = StoreConnectionError


class Unanswered(Exception):  # noqa: N818 - never leaves the store
    """One server gave no reply; carries the Failed that says why."""

    def __init__(self, failed: Failed) -> None:
        super().__init__(failed.text)
        self.failed = failed


class Breaker:
    """Leaves a server alone after a failure: a second, then twice as long each time, up to half a minute.

    Without it every query would wait the whole timeout for a server that hangs.
    """

    def __init__(self, pause_s: float) -> None:
        self._first_s = pause_s
        self._pause_s = 0.0  # 0: closed
        self._until = 0.0
        self._trying = False
        self._lock = guarded(Lock())

    @property
    def open(self) -> bool:
        """Whether the server failed when it was last tried."""
        return self._pause_s > 0

    def lets_through(self) -> bool:
        """Whether to try the server. After a pause one caller tries, the others go on as if it were down."""
        if not self._pause_s:
            return True
        with self._lock:
            now = time.monotonic()
            if now < self._until:
                return False
            self._until, self._trying = now + self._pause_s, True
            return True

    def failed(self) -> None:
        """Note that the server didn't answer."""
        with self._lock:
            if not self._pause_s:
                self._pause_s = self._first_s
            elif self._trying:
                self._pause_s = min(self._pause_s * 2, LONGEST_PAUSE_S)
            else:
                return  # ten threads that fail together are one failure
            self._until, self._trying = time.monotonic() + self._pause_s, False

    def succeeded(self) -> None:
        """Note that the server answered."""
        if self._pause_s:
            with self._lock:
                self._pause_s, self._trying = 0.0, False


class Trouble:
    """Counts failures; warns once, or raises each time.

    Args:
        server: What the server is, as messages begin: "Redis".
        place: The server's URL as messages show it.
        on_error: "miss" to count and go on, "raise" for a StoreConnectionError.
        store: The class whose `stats` has the counts.
    """

    def __init__(self, server: str, place: str, on_error: OnError, *, store: str) -> None:
        self.place = place
        self._server, self._store = server, store
        self.on_error = on_error
        self._counts = Counter({"n_errors": 0, "n_unreachable": 0, "n_not_stored": 0, "n_damaged": 0})
        self._last_error: str | None = None
        self._warned = False
        self._lock = guarded(Lock())

    def met(self, failures: Sequence[Failed], *, n_unreachable: int = 0, n_not_stored: int = 0) -> None:
        """Count the failures that one call met, and warn or raise; do nothing if there are none.

        Args:
            failures: In the place of replies.
            n_unreachable: Documents that were asked for in vain.
            n_not_stored: Documents that could not be put.

        Raises:
            StoreError: If there are failures, with `on_error="raise"`; of the first one's kind.
        """
        if not failures:
            return
        text = f"{self._server} at {self.place}: {failures[0].text}"
        with self._lock:
            self._counts.update(n_errors=1, n_unreachable=n_unreachable, n_not_stored=n_not_stored)
            self._last_error = text
            first, self._warned = not self._warned, True
        if self.on_error == "raise":
            raise failures[0].error(text)
        if first:
            warn_caller(
                f"{text} Documents count as missing meanwhile, and are encoded again. This is said once; "
                f'{self._store}.stats() counts on ("n_errors", "last_error").',
                RuntimeWarning,
            )

    def noted(self, text: str) -> None:
        """Count a failure that no call met: in the background, say."""
        with self._lock:
            self._counts.update(n_errors=1)
            self._last_error = f"{self._server} at {self.place}: {text}"

    def damaged(self, n: int) -> None:
        """Count values that are no record of their key."""
        with self._lock:
            self._counts["n_damaged"] += n

    def counts(self) -> dict[str, int | str | None]:
        """Give n_errors (calls that met one), n_unreachable, n_not_stored, n_damaged (documents), last_error."""
        with self._lock:
            return {**self._counts, "last_error": self._last_error}
