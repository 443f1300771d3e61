"""RedisStore: documents as records in Redis, shared by every process that reaches it."""

from __future__ import annotations

import re
from collections import Counter
from threading import Lock
from typing import Any

from late_rerank.errors import MissingDependencyError, StoreFormatError
from late_rerank.processes.forks import guarded
from late_rerank.stores.base import Space, Store
from late_rerank.stores.checks import check_count, check_on_error, check_pause, check_seconds
from late_rerank.stores.record import parse_space, space_json
from late_rerank.stores.redis.address import checked_url, shown_url
from late_rerank.stores.redis.space import RedisSpace, Shared
from late_rerank.stores.trouble import OnError, Trouble
from late_rerank.types import CodecSpec

# stats() looks up the size of so many documents a server.
MEASURED_DOCUMENTS = 100_000
_PREFIX = re.compile(r"[A-Za-z0-9_.:-]+")
_DOCUMENT = re.compile(rb"[0-9a-f]{16}:[0-9a-f]{32}")


class RedisStore(Store):
    """Token vectors in Redis or a Redis Cluster, shared between processes and machines. Safe to share between threads.

    A RedisStore is a cache. A document that Redis lost, or can't give in time, counts as missing and is encoded again. The
    store sends GET, MGET, SET, TOUCH, ZADD, ZRANGE, EXISTS and CLUSTER SLOTS. For counts and deletions it sends SCAN, STRLEN,
    UNLINK and ZREM. A pickled store takes its arguments along, the password included, and connects anew.

    Args:
        url: "redis://user:password@host:port/db", "rediss://..." (TLS) or "unix:///path". For a cluster, give any one server.
            redis-py's options may follow: "?ssl_ca_certs=...".
        prefix: The beginning of every name in Redis: letters, digits and "_.:-".
        ttl_s: Seconds for which a document is kept after it was put. None keeps it as long as Redis does.
        timeout_s: Seconds to wait for a connection, and for the server to go on with a reply.
        retries: How often a broken connection is tried again. The first try waits 25 to 50 ms, each further one twice as long.
            A timeout isn't tried again.
        pause_s: Seconds for which a server that failed is left alone. Each further failure doubles them, up to 30 s. Other
            servers of the cluster are used meanwhile.
        on_error: "miss" counts documents as missing, with one RuntimeWarning, and `stats` counts the failures. "raise" raises
            the error.
        check: Compare each document's checksum. This costs 0.7 ms for 100 documents. Key and size are always compared.
        cluster: Whether the server is part of a cluster. None asks the server.

    Raises:
        ValueError: If an argument is wrong.
        MissingDependencyError: If redis isn't installed.
        StoreConnectionError: If the server can't be reached and `on_error` is "raise". Then every method may raise it.
    """

    def __init__(
        self,
        url: str,
        *,
        prefix: str = "late-rerank",
        ttl_s: float | None = None,
        timeout_s: float = 1.0,
        retries: int = 1,
        pause_s: float = 1.0,
        on_error: OnError = "miss",
        check: bool = False,
        cluster: bool | None = None,
    ) -> None:
        _check_arguments(url, prefix, on_error, cluster=cluster)
        _check_numbers(ttl_s, timeout_s, retries, pause_s)
        self.url = shown_url(url)
        self.prefix = prefix
        self._given = (
            url,
            {
                "prefix": prefix,
                "ttl_s": ttl_s,
                "timeout_s": timeout_s,
                "retries": retries,
                "pause_s": pause_s,
                "on_error": on_error,
                "check": check,
                "cluster": cluster,
            },
        )
        servers = _load_servers()
        self._shared = Shared(
            servers.Servers(url, timeout_s=timeout_s, retries=retries, pause_s=pause_s, cluster=cluster),
            Trouble("Redis", self.url, on_error, store="RedisStore"),
            f"{prefix}:spaces".encode(),
            None if ttl_s is None else max(1, round(ttl_s * 1000)),
            check,
        )
        self._spaces: dict[str, RedisSpace] = {}
        self._lock = guarded(Lock())
        if on_error == "raise":
            self._shared.command("EXISTS", self._shared.registry)

    def space(self, fingerprint: str, codec: CodecSpec) -> Space:
        self._shared.refuse_if_closed()
        return self._space(space_json(fingerprint, codec), fingerprint, codec)

    def spaces(self) -> list[Space]:
        """List every space that any process put documents into, oldest first. Spaces that were only opened here follow."""
        return list(self._every_space())

    def drop(self, fingerprint: str) -> int:
        """Forget every space of that encoder, by walking over all names in Redis. Return how many documents they held."""
        n = 0
        for space in self._every_space():
            if space.fingerprint == fingerprint:
                n += space.clear()
                with self._lock:
                    self._spaces.pop(space.described, None)
        return n

    def stats(self) -> dict[str, Any]:
        """Count documents and bytes of all spaces of this prefix, and failures in this process.

        For n_documents, size_bytes (values and names) and spaces, the store walks over all names in Redis. This takes about a
        second for a million names. The store looks up the sizes of 100,000 documents of each server. Further documents count as
        equally long, and "estimated" is true.

        - n_errors counts calls that met an error.
        - n_unreachable counts documents that were asked for in vain.
        - n_not_stored counts documents that could not be put.
        - n_damaged counts values that aren't a record of their key.
        - last_error is a text or None.
        """
        self._shared.refuse_if_closed()
        n_documents = size_bytes = 0
        by_space: Counter[bytes] = Counter()
        estimated = False
        for batches in self._shared.walk(f"{self.prefix}:*"):
            n, size, looked = 0, 0, 0
            for names in batches:
                documents = [name for name in names if self._names_document(name)]
                n += len(documents)
                by_space.update(name.rpartition(b":")[0] for name in documents)
                if looked < MEASURED_DOCUMENTS:
                    looked += len(documents)
                    size += self._shared.sizes(documents)
            n_documents += n
            size_bytes += size if looked == n else size * n // looked
            estimated = estimated or looked < n
        spaces = [
            {
                "fingerprint": space.fingerprint,
                "codec": space.codec.name,
                "dim": space.codec.dim,
                "n_documents": by_space[space.name],
            }
            for space in self._every_space()
        ]
        return {
            "n_documents": n_documents,
            "size_bytes": size_bytes,
            "estimated": estimated,
            "url": self.url,
            **self._shared.trouble.counts(),
            "spaces": spaces,
        }

    def close(self) -> None:
        """Close the connections. The documents stay in Redis."""
        self._shared.servers.close()

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopen, self._given

    def _space(self, described: str, fingerprint: str, codec: CodecSpec) -> RedisSpace:
        with self._lock:
            if described not in self._spaces:
                self._spaces[described] = RedisSpace(self._shared, self.prefix, described, fingerprint, codec)
            return self._spaces[described]

    def _every_space(self) -> list[RedisSpace]:
        self._shared.refuse_if_closed()
        members = self._shared.command("ZRANGE", self._shared.registry, 0, -1) or []
        registered = [space for space in map(self._registered, members) if space is not None]
        with self._lock:
            return list(dict.fromkeys([*registered, *self._spaces.values()]))

    def _registered(self, member: bytes) -> RedisSpace | None:
        try:
            fingerprint, codec = parse_space(member.decode(errors="replace"))
        except StoreFormatError:  # a later version's
            self._shared.trouble.damaged(1)
            return None
        return self._space(space_json(fingerprint, codec), fingerprint, codec)

    def _names_document(self, name: bytes) -> bool:
        return _DOCUMENT.fullmatch(name, len(self.prefix) + 1) is not None


def _reopen(url: str, options: dict[str, Any]) -> RedisStore:
    return RedisStore(url, **options)


def _load_servers() -> Any:
    try:
        from late_rerank.stores.redis import servers  # noqa: PLC0415 - `redis` is an extra, and takes 0.1 s
    except ModuleNotFoundError as error:
        if error.name != "redis":
            raise
        raise MissingDependencyError("RedisStore", "redis", "redis") from error
    return servers


def _check_arguments(url: str, prefix: str, on_error: str, *, cluster: bool | None) -> None:
    parts = checked_url(url)
    if cluster and (parts.scheme == "unix" or parts.path not in ("", "/", "/0")):
        raise ValueError("a cluster has no database but 0 and no unix socket; give the host and port of one of its servers")
    if not isinstance(prefix, str) or not _PREFIX.fullmatch(prefix):
        # A brace would put every document on one server of a cluster, a star would match other names.
        raise ValueError(f'prefix must be made of letters, digits and "_.:-", got {prefix!r}')
    check_on_error(on_error)


def _check_numbers(ttl_s: float | None, timeout_s: float, retries: int, pause_s: float) -> None:
    if ttl_s is not None:
        check_seconds("ttl_s", ttl_s, otherwise=", or None to keep documents")
    check_seconds("timeout_s", timeout_s)
    check_count("retries", retries, 0)
    check_pause(pause_s)
