"""The server: sessions kept for the next use, retries, and whether to ask it at all."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from threading import Condition, Lock
from typing import TypeVar

from late_rerank.processes.forks import guarded, watch
from late_rerank.stores.postgres.connections import Connection, LostError, RefusedError, targets_of
from late_rerank.stores.postgres.refusals import Busy, is_slow, loss, refusal
from late_rerank.stores.postgres.statements import Answer, Statement
from late_rerank.stores.trouble import Breaker, Failed

BACK_OFF_S = 0.05

_Got = TypeVar("_Got")


@dataclass(frozen=True, slots=True)
class Limits:
    """How long and how often to try.

    Attributes:
        timeout_s: To connect, and until the server goes on with an answer to a query.
        write_timeout_s: The same for what changes documents.
        retries: How often a broken session is tried again.
        pause_s: See Breaker.
        max_connections: At most so many sessions at once.
    """

    timeout_s: float
    write_timeout_s: float
    retries: int
    pause_s: float
    max_connections: int


class Server:
    """One server, or the first that answers of several. Connects when it is first used. Safe to share between threads.

    Sessions are kept by us, since psycopg_pool's pool has threads of its own, which a fork loses.

    Raises:
        ValueError: If libpq doesn't know an option of the URL.

    Attributes:
        limits: How long and how often it is tried.
        is_closed: Whether the sessions were closed for good.
    """

    def __init__(self, url: str, name: str, limits: Limits) -> None:
        self._targets, self._name = targets_of(url), name
        self.limits = limits
        self.is_closed = False
        # A write that waits for a lock says nothing of reads.
        self._reads, self._writes = Breaker(limits.pause_s), Breaker(limits.pause_s)
        self._failure = ""  # the last one, as a sentence
        self._begin()
        watch(self)

    def _begin(self) -> None:
        self._idle: list[Connection] = []
        self._n_open = 0
        self._changed = Condition(guarded(Lock()))

    def after_fork(self) -> None:
        """Begin without sessions: the parent's are its own, and libpq's wrapper ends no session that another process began."""
        self._inherited = self._idle  # kept, not freed
        self._begin()

    def ask(self, statement: Statement, timeout_s: float | None = None) -> Answer | Failed:
        """Run one statement that reads, as a transaction of its own."""
        timeout_s = self.limits.timeout_s if timeout_s is None else timeout_s
        return self._work(lambda connection: connection.run(statement, timeout_s), writes=False)

    def change(self, statement: Statement) -> Answer | Failed:
        """Run one statement that writes, as a transaction of its own."""
        return self.work(lambda connection: connection.run(statement, self.limits.write_timeout_s))

    def work(self, call: Callable[[Connection], _Got]) -> _Got | Failed:
        """Do some work that writes in one session. A session that is left in a transaction is closed.

        Returns:
            What `call` gave; Failed if the server didn't answer after retries, refused a statement, or is left alone.
        """
        return self._work(call, writes=True)

    def _work(self, call: Callable[[Connection], _Got], *, writes: bool) -> _Got | Failed:
        if (writes and not self._writes.lets_through()) or not self._reads.lets_through():
            return Failed(f"{self._failure} It is left alone for a while after that.")
        outcome: _Got | Failed
        for attempt in range(self.limits.retries + 1):
            if attempt:
                time.sleep(BACK_OFF_S * 2 ** (attempt - 1) * random.uniform(0.5, 1))
            outcome = self._once(call)
            if not isinstance(outcome, Failed) or not outcome.again:
                break
        self._note(outcome, writes=writes)
        return outcome

    def _note(self, outcome: object, *, writes: bool) -> None:
        """Leave the server alone for a while, or no longer."""
        if isinstance(outcome, Busy):
            return
        if isinstance(outcome, Failed) and not outcome.refused:
            self._failure = outcome.text
            of_writes_alone = writes and is_slow(outcome) and not self._reads.open
            (self._writes if of_writes_alone else self._reads).failed()
            return
        self._reads.succeeded()
        if writes:
            self._writes.succeeded()

    def close(self) -> None:
        """Close every session for good; one in use is closed when its work is done."""
        with self._changed:
            self.is_closed = True
        self._forget_idle()

    def _once(self, call: Callable[[Connection], _Got]) -> _Got | Failed:
        connection: Connection | None = None
        try:
            connection = self._take()
            if connection is None:
                return Busy(
                    f"all {self.limits.max_connections} connections with {self._name} were in use for "
                    f"{self.limits.timeout_s:g} s. max_connections is below the number of threads."
                )
            return call(connection)
        except RefusedError as error:
            return refusal(self._name, error.code, str(error))
        except LostError as error:
            self._forget_idle()  # they broke with it
            return loss(self._name, str(error), hung=error.hung)
        finally:
            if connection is not None:
                self._give_back(connection)

    def _take(self) -> Connection | None:
        """Take an idle session or make one; None if there are as many as may be, all in use.

        Raises:
            LostError: If none can be made.
        """
        with self._changed:
            if not self._changed.wait_for(
                lambda: self._idle or self._n_open < self.limits.max_connections, self.limits.timeout_s
            ):
                return None
            kept = self._idle.pop() if self._idle else None
            self._n_open += kept is None
        if kept is not None and not kept.is_gone:
            return kept
        try:
            if kept is not None:
                kept.close()
            return self._connected()
        except BaseException:
            self._one_less()
            raise

    def _connected(self) -> Connection:
        for target in self._targets[:-1]:
            with suppress(LostError):
                return Connection(target, self.limits.timeout_s)
        return Connection(self._targets[-1], self.limits.timeout_s)

    def _give_back(self, connection: Connection) -> None:
        with self._changed:
            if connection.is_idle and not self.is_closed:
                self._idle.append(connection)
                self._changed.notify()
                return
        connection.close()
        self._one_less()

    def _one_less(self) -> None:
        with self._changed:
            self._n_open -= 1
            self._changed.notify()

    def _forget_idle(self) -> None:
        with self._changed:
            idle, self._idle = self._idle, []
            self._n_open -= len(idle)
            self._changed.notify_all()
        for connection in idle:
            connection.close()
