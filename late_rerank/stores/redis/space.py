"""A space in Redis: its names and values, and what it shares with its store."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from late_rerank.errors import StoreError
from late_rerank.stores.base import Space
from late_rerank.stores.record import pack_records
from late_rerank.stores.trouble import Failed, Trouble, Unanswered
from late_rerank.stores.values import parts_of, read_values
from late_rerank.types import I64, CodecSpec, Fetched, PackedVectors

if TYPE_CHECKING:  # `redis` is an extra
    from late_rerank.stores.redis.connections import Node
    from late_rerank.stores.redis.servers import Servers

# Records sent before replies are read: bounds the memory that a put takes on top of its documents.
_PUT_BYTES = 4 * 2**20
_PUT_DOCUMENTS = 255  # with the registration of the space 256 commands, one batch


@dataclass(frozen=True, slots=True)
class Shared:
    """What a store and its spaces have in common: the servers, and how to go on when they don't answer."""

    servers: Servers
    trouble: Trouble
    registry: bytes
    ttl_ms: int | None
    check: bool

    def refuse_if_closed(self) -> None:
        """Raise a StoreError if the store was closed."""
        if self.servers.is_closed:
            raise StoreError(f"the store at {self.trouble.place} was closed; open it again")

    def command(self, *command: Any) -> Any:
        """Send one command on one name. Returns the reply; None if none came."""
        reply = self.servers.each([command])[0]
        self.trouble.met(_failures([reply]))
        return None if isinstance(reply, Failed) else reply

    def walk(self, pattern: str) -> Iterator[Iterator[list[bytes]]]:
        """Give the names that match, in batches, for each server that answers."""
        try:
            nodes = self.servers.nodes()
        except Unanswered as error:
            self.trouble.met([error.failed])
            return
        for node in nodes:
            yield self._walk_one(node, pattern)

    def _walk_one(self, node: Node, pattern: str) -> Iterator[list[bytes]]:
        try:
            yield from self.servers.walk(node, pattern)
        except Unanswered as error:
            self.trouble.met([error.failed])

    def sizes(self, names: Sequence[bytes]) -> int:
        """Sum up the bytes of values and names; names without a value count alone."""
        replies = self.servers.each([("STRLEN", name) for name in names])
        self.trouble.met(_failures(replies))
        return sum(map(len, names)) + sum(reply for reply in replies if isinstance(reply, int))

    def unlink(self, names: Sequence[bytes]) -> int:
        """Forget values, their memory freed in the background. Returns how many were there."""
        replies = self.servers.each([("UNLINK", name) for name in names])
        self.trouble.met(_failures(replies))
        return sum(reply for reply in replies if isinstance(reply, int))


class RedisSpace(Space):
    """Values named <prefix>:<digest of the space>:<key>, in hexadecimal.

    The names have no hash tags, so a cluster spreads them.
    """

    def __init__(self, shared: Shared, prefix: str, described: str, fingerprint: str, codec: CodecSpec) -> None:
        super().__init__(fingerprint, codec)
        self.described = described
        self._shared = shared
        self._prefix = f"{prefix}:{hashlib.blake2b(described.encode(), digest_size=8).hexdigest()}:"
        self.name = self._prefix[:-1].encode()  # what its documents' names begin with

    def _put(self, keys: Sequence[bytes], packed: PackedVectors) -> None:
        self._shared.refuse_if_closed()
        failures: list[Failed] = []
        n_not_stored = 0
        for part in parts_of(packed, _PUT_BYTES, _PUT_DOCUMENTS):
            replies = self._shared.servers.each(self._put_commands(keys[part], packed.take(part)))
            failures += _failures(replies)
            n_not_stored += len(_failures(replies[1:]))
        self._shared.trouble.met(failures, n_not_stored=n_not_stored)

    def _put_commands(self, keys: Sequence[bytes], packed: PackedVectors) -> list[tuple[Any, ...]]:
        now = time.time()
        records = pack_records(keys, packed, sequence=0, stored_at=int(now))
        whole, offsets = records.bytes.data, records.offsets.tolist()
        expiry = () if self._shared.ttl_ms is None else ("PX", self._shared.ttl_ms)
        # The space is registered with each put, not once: whoever empties Redis empties the registry too.
        return [("ZADD", self._shared.registry, "NX", now, self.described)] + [
            ("SET", name, bytes(whole[start:end]), *expiry)
            for name, (start, end) in zip(self._names(keys), pairwise(offsets), strict=True)
        ]

    def get(self, keys: Sequence[bytes]) -> Fetched:
        self._shared.refuse_if_closed()
        values = self._shared.servers.values(self._names(keys))
        failures = _failures(values)
        self._shared.trouble.met(failures, n_unreachable=len(failures))
        if failures:
            values = [None if isinstance(value, Failed) else value for value in values]
        fetched, n_damaged = read_values(self.codec, keys, values, check=self._shared.check)
        if n_damaged:
            self._shared.trouble.damaged(n_damaged)
        return fetched

    def missing(self, keys: Sequence[bytes]) -> I64:
        """Find out which documents are missing, without fetching. A damaged value counts as present until a query meets it."""
        self._shared.refuse_if_closed()
        # TOUCH, not EXISTS: with allkeys-lru a document that is indexed again must outlive one that nobody asked for.
        replies = self._shared.servers.each([("TOUCH", name) for name in self._names(keys)])
        failures = _failures(replies)
        self._shared.trouble.met(failures, n_unreachable=len(failures))
        return np.array([i for i, reply in enumerate(replies) if reply != 1], dtype=np.int64)

    def delete(self, keys: Sequence[bytes]) -> int:
        self._shared.refuse_if_closed()
        return self._shared.unlink(self._names(keys))

    def clear(self) -> int:
        """Forget every document, and the space itself. Return how many documents it held."""
        n = sum(self._shared.unlink(names) for batches in self._walk() for names in batches)
        self._shared.command("ZREM", self._shared.registry, self.described)
        return n

    def __len__(self) -> int:
        """Count the documents here, by walking over all names in Redis. This takes about a second for a million names."""
        self._shared.refuse_if_closed()
        return sum(len(names) for batches in self._walk() for names in batches)

    def _walk(self) -> Iterator[Iterator[list[bytes]]]:
        return self._shared.walk(f"{self._prefix}*")

    def _names(self, keys: Sequence[bytes]) -> list[bytes]:
        return [(self._prefix + key.hex()).encode() for key in keys]


def _failures(replies: Sequence[Any]) -> list[Failed]:
    return [reply for reply in replies if isinstance(reply, Failed)]
