"""PostgresStore: documents as records in Postgres, shared by every process that reaches it."""

from __future__ import annotations

import re
from threading import Lock
from typing import Any

from late_rerank.errors import MissingDependencyError, StoreFormatError
from late_rerank.processes.forks import guarded
from late_rerank.stores.base import Space, Store
from late_rerank.stores.checks import check_count, check_on_error, check_pause, check_seconds
from late_rerank.stores.postgres.address import checked_url, shown_url
from late_rerank.stores.postgres.shared import Shared
from late_rerank.stores.postgres.sizes import sizes_of
from late_rerank.stores.postgres.space import PostgresSpace
from late_rerank.stores.postgres.tables import Tables
from late_rerank.stores.record import parse_space, space_json
from late_rerank.stores.trouble import Failed, OnError, Trouble
from late_rerank.types import CodecSpec

_SCHEMA = re.compile(r"[a-z_][a-z0-9_]{0,39}")


class PostgresStore(Store):
    """Token vectors in Postgres, shared between processes and machines. Safe to share between threads.

    The store makes its tables at the first put, in a schema of its own. While the server doesn't answer, documents count as
    missing and are encoded again. The store prepares no statement and keeps nothing in a session, so PgBouncer may stand before
    the server, by transaction or by session. A pickled store takes its arguments along, the password included, and connects
    anew.

    Args:
        url: "postgresql://user:password@host:port/database", or "postgres://...". libpq's options may follow:
            "?sslmode=verify-full". Several hosts, as "host1,host2", are tried in turn.
        schema: The schema in which the tables are: lower-case letters, digits and "_". Stores of different schemas know
            nothing of each other.
        ttl_s: Seconds for which a document is kept after it was put. None keeps it until it is deleted.
        timeout_s: Seconds to wait for a connection, and until the server goes on with an answer to a query. A put or a
            deletion waits as long for documents that another session holds, at most half of `write_timeout_s`.
        write_timeout_s: Seconds to wait until the server goes on with a put or a deletion.
        retries: How often a broken connection is tried again. The first try waits 25 to 50 ms, each further one twice as long.
            A timeout isn't tried again.
        pause_s: Seconds for which a server that failed is left alone. Each further failure doubles them, up to 30 s. Where
            only puts took too long, only puts and deletions are left out.
        max_connections: How many connections this store opens at most in this process. A thread waits `timeout_s` for one.
        on_error: "miss" counts documents as missing, with one RuntimeWarning, and `stats` counts the failures. "raise" raises
            the error.
        check: Compare each document's checksum. This costs 0.7 ms for 100 documents. Key and size are always compared.

    Raises:
        ValueError: If an argument is wrong.
        MissingDependencyError: If psycopg isn't installed.
        StoreConnectionError: If the server can't be reached and `on_error` is "raise". Then every method may raise it.
        StoreFormatError: If the tables are a later version's and `on_error` is "raise".
    """

    def __init__(
        self,
        url: str,
        *,
        schema: str = "late_rerank",
        ttl_s: float | None = None,
        timeout_s: float = 1.0,
        write_timeout_s: float = 10.0,
        retries: int = 1,
        pause_s: float = 1.0,
        max_connections: int = 16,
        on_error: OnError = "miss",
        check: bool = False,
    ) -> None:
        limits = {
            "timeout_s": timeout_s,
            "write_timeout_s": write_timeout_s,
            "retries": retries,
            "pause_s": pause_s,
            "max_connections": max_connections,
        }
        checked_url(url)
        _check_arguments(schema, ttl_s, on_error)
        _check_limits(**limits)  # type: ignore[arg-type]
        self.url = shown_url(url)
        self.schema = schema
        self._given = (url, {"schema": schema, "ttl_s": ttl_s, "on_error": on_error, "check": check, **limits})
        servers = _load_server()
        server = servers.Server(url, _place(url), servers.Limits(**limits))
        trouble = Trouble("Postgres", self.url, on_error, store="PostgresStore")
        self._shared = Shared(server, Tables(server, schema), trouble, ttl_s, check)
        self._spaces: dict[str, PostgresSpace] = {}
        self._lock = guarded(Lock())
        if on_error == "raise":
            self._registered()

    def space(self, fingerprint: str, codec: CodecSpec) -> Space:
        self._shared.refuse_if_closed()
        return self._space(space_json(fingerprint, codec), fingerprint, codec)

    def spaces(self) -> list[Space]:
        """List every space that any process put documents into, oldest first. Spaces that were only opened here follow."""
        self._shared.refuse_if_closed()
        return list(self._every_space())

    def drop(self, fingerprint: str) -> int:
        """Forget every space of that encoder, and give their room back at once. Return how many documents they held."""
        self._shared.refuse_if_closed()
        n = 0
        for space in self._every_space():
            if space.fingerprint == fingerprint:
                n += space.clear()
                with self._lock:
                    self._spaces.pop(space.described, None)
        return n

    def stats(self) -> dict[str, Any]:
        """Count documents and bytes of all spaces of this schema, and failures in this process.

        The bytes are the tables' on the server's disk: with their indexes, and with the room of deleted and replaced documents
        until the server has vacuumed. Documents are counted up to about a million a space. Of larger spaces the server's own
        estimate is given, and "estimated" is true.

        - n_errors counts calls that met an error.
        - n_unreachable counts documents that were asked for in vain.
        - n_not_stored counts documents that could not be put.
        - n_damaged counts values that aren't a record of their key.
        - last_error is a text or None.
        """
        self._shared.refuse_if_closed()
        spaces, by_number = self._every_space(), sizes_of(self._shared)
        each, estimated = [], False
        for space in spaces:
            size = by_number.get(space.described)
            each.append(
                {
                    "fingerprint": space.fingerprint,
                    "codec": space.codec.name,
                    "dim": space.codec.dim,
                    "n_documents": 0 if size is None else size.n_documents,
                    "size_bytes": 0 if size is None else size.size_bytes,
                }
            )
            estimated = estimated or (size is not None and size.is_estimated)
        return {
            "n_documents": sum(space["n_documents"] for space in each),
            "size_bytes": sum(space["size_bytes"] for space in each),
            "estimated": estimated,
            "url": self.url,
            **self._shared.trouble.counts(),
            "spaces": each,
        }

    def close(self) -> None:
        """Close the connections. The documents stay in Postgres."""
        self._shared.server.close()

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopen, self._given

    def _space(self, described: str, fingerprint: str, codec: CodecSpec) -> PostgresSpace:
        with self._lock:
            if described not in self._spaces:
                self._spaces[described] = PostgresSpace(self._shared, described, fingerprint, codec)
            return self._spaces[described]

    def _every_space(self) -> list[PostgresSpace]:
        registered = self._registered()
        with self._lock:
            return list(dict.fromkeys([*registered, *self._spaces.values()]))

    def _registered(self) -> list[PostgresSpace]:
        listed = self._shared.tables.spaces()
        if isinstance(listed, Failed):
            self._shared.met([listed])
            return []
        found = []
        for _, described in listed:
            try:
                fingerprint, codec = parse_space(described)
            except StoreFormatError:  # a later version's
                self._shared.trouble.damaged(1)
                continue
            found.append(self._space(space_json(fingerprint, codec), fingerprint, codec))
        return found


def _reopen(url: str, options: dict[str, Any]) -> PostgresStore:
    return PostgresStore(url, **options)


def _load_server() -> Any:
    try:
        from late_rerank.stores.postgres import server  # noqa: PLC0415 - `psycopg` is an extra, and takes 0.1 s
    except ImportError as error:
        # Without "[binary]" psycopg may be there, but find no libpq.
        if isinstance(error, ModuleNotFoundError) and error.name != "psycopg":
            raise
        raise MissingDependencyError("PostgresStore", "psycopg", "postgres") from error
    return server


def _place(url: str) -> str:
    """Name the server for messages: host and port."""
    return checked_url(url).netloc.rpartition("@")[2] or "the server"


def _check_arguments(schema: str, ttl_s: float | None, on_error: str) -> None:
    if not isinstance(schema, str) or not _SCHEMA.fullmatch(schema):
        raise ValueError(f'schema must be made of lower-case letters, digits and "_", at most 40, got {schema!r}')
    if ttl_s is not None:
        check_seconds("ttl_s", ttl_s, otherwise=", or None to keep documents")
    check_on_error(on_error)


def _check_limits(*, timeout_s: float, write_timeout_s: float, retries: int, pause_s: float, max_connections: int) -> None:
    check_seconds("timeout_s", timeout_s)
    check_seconds("write_timeout_s", write_timeout_s)
    check_count("retries", retries, 0)
    check_count("max_connections", max_connections, 1)
    check_pause(pause_s)
