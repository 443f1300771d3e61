"""What a store in Postgres and its spaces share: the server, its tables, failures, and the end of documents' time."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING

from late_rerank.errors import StoreError
from late_rerank.processes.forks import guarded
from late_rerank.stores.postgres.tables import Tables, is_absent
from late_rerank.stores.trouble import Failed, Trouble

if TYPE_CHECKING:  # `psycopg` is an extra
    from late_rerank.stores.postgres.server import Server

SWEPT_AT_ONCE = 1000
_SWEEP = (
    "DELETE FROM {schema}.record AS record USING (SELECT space, key FROM {schema}.record WHERE expires_at <= now() "
    f"LIMIT {SWEPT_AT_ONCE} FOR UPDATE SKIP LOCKED) AS due WHERE record.space = due.space AND record.key = due.key"
)


@dataclass(slots=True)
class Shared:
    """What a store and its spaces have in common: the server, its tables, and how to go on when it doesn't answer."""

    server: Server
    tables: Tables
    trouble: Trouble
    ttl_s: float | None
    check: bool
    _sweeps_at: float = 0.0
    _lock: Lock = field(default_factory=lambda: guarded(Lock()))

    def refuse_if_closed(self) -> None:
        """Raise a StoreError if the store was closed."""
        if self.server.is_closed:
            raise StoreError(f"the store at {self.trouble.place} was closed; open it again")

    def met(self, failures: Sequence[Failed], *, n_unreachable: int = 0, n_not_stored: int = 0) -> None:
        """Count failures, and warn or raise; see Trouble."""
        told = [self.tables.explained(failed) for failed in failures[:1]]
        self.trouble.met([*told, *failures[1:]], n_unreachable=n_unreachable, n_not_stored=n_not_stored)

    def sweep(self) -> None:
        """Delete some documents whose time is over, if it is time to; for stores that keep documents for a time."""
        if self.ttl_s is None or not self._is_due(min(60.0, self.ttl_s / 10)):
            return
        answer = self.server.change(self.tables.sql(_SWEEP))
        if isinstance(answer, Failed):
            if not is_absent(answer):
                self.met([answer])
        elif answer.n_changed == SWEPT_AT_ONCE:
            self._sweeps_at = 0.0  # there may be more

    def _is_due(self, every_s: float) -> bool:
        with self._lock:
            now = time.monotonic()
            if now < self._sweeps_at:
                return False
            self._sweeps_at = now + every_s
            return True
