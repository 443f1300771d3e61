"""A space in Postgres: its documents as rows."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np

from late_rerank.stores.base import Space
from late_rerank.stores.postgres.refusals import Refusal
from late_rerank.stores.postgres.shared import Shared
from late_rerank.stores.postgres.sizes import count
from late_rerank.stores.postgres.statements import Answer, Parameter, Row, binaries, binary, integer, integer_of, seconds
from late_rerank.stores.postgres.tables import ALIVE, SAME, SAME_AND_HURRIED, is_absent
from late_rerank.stores.record import pack_records
from late_rerank.stores.trouble import Failed
from late_rerank.stores.values import parts_of, read_values
from late_rerank.types import I64, CodecSpec, Fetched, PackedVectors

# Bound the memory that a call takes on top of its documents, on both sides.
_PUT_BYTES = 4 * 2**20
_FETCHED_AT_ONCE = 256
_NAMED_AT_ONCE = 10_000
# There is no partition of that number any more.
_DROPPED = "23514"

# `(SELECT $3)`: given as such, the array is planned key by key, which takes longer than to find them (1.3 ms for 100).
_ASKED = f"FROM {{schema}}.record WHERE space = $1 AND {SAME} AND key = ANY((SELECT $3::bytea[])::bytea[]) AND {ALIVE}"
_GET = f"SELECT key, value {_ASKED}"
_HERE = f"SELECT key {_ASKED}"
_DELETE = (
    f"WITH gone AS (DELETE FROM {{schema}}.record WHERE space = $1 AND {SAME_AND_HURRIED} "
    f"AND key = ANY((SELECT $4::bytea[])::bytea[]) RETURNING {ALIVE} AS alive) SELECT count(*) FROM gone WHERE alive"
)
_PUT = (
    "INSERT INTO {schema}.record (space, key, value, expires_at) "
    "SELECT $1, key, value, now() + $6 * interval '1 second' FROM unnest($4::bytea[], $5::bytea[]) AS given (key, value) "
    f"WHERE {SAME_AND_HURRIED} ON CONFLICT (space, key) DO UPDATE SET value = excluded.value, expires_at = excluded.expires_at"
)


class PostgresSpace(Space):
    """Rows of one partition, found by the digest of the space's description, then by key."""

    def __init__(self, shared: Shared, described: str, fingerprint: str, codec: CodecSpec) -> None:
        super().__init__(fingerprint, codec)
        self.described = described
        self._shared = shared
        self._digest = hashlib.blake2b(described.encode(), digest_size=16).digest()
        self._number: int | None = None

    def _put(self, keys: Sequence[bytes], packed: PackedVectors) -> None:
        self._shared.refuse_if_closed()
        failures: list[Failed] = []
        n_not_stored = 0
        for part in parts_of(packed, _PUT_BYTES):
            failed = self._put_part(keys[part], packed.take(part))
            if failed is not None:
                failures.append(failed)
                n_not_stored += part.stop - part.start
        self._shared.met(failures, n_not_stored=n_not_stored)
        if keys and not failures:
            self._shared.sweep()

    def _put_part(self, keys: Sequence[bytes], packed: PackedVectors) -> Failed | None:
        records = pack_records(keys, packed, sequence=0, stored_at=int(time.time()))
        whole = records.bytes.data
        # Of a key that is given twice the last counts. Sorted: two who put the same keys lock the rows in one order.
        places = zip(keys, pairwise(records.offsets.tolist()), strict=True)
        values = sorted({key: whole[start:end] for key, (start, end) in places}.items())
        given = binaries([key for key, _ in values]), binaries([value for _, value in values]), seconds(self._shared.ttl_s)
        answer: Answer | Failed | None = None
        for _ in range(2):
            space = self._number or self._shared.tables.made(self._digest, self.described)
            if isinstance(space, Failed):
                return space
            answer = self._change(_PUT, space, *given)
            if not _is_dropped(answer):
                self._number = space
                return answer if isinstance(answer, Failed) else None
            self._number = None  # another process dropped the space
        return answer if isinstance(answer, Failed) else Failed("the space was dropped while documents were put.", refused=True)

    def get(self, keys: Sequence[bytes]) -> Fetched:
        self._shared.refuse_if_closed()
        values = {row[0]: row[1] for row in self._find(_GET, keys, _FETCHED_AT_ONCE)}
        fetched, n_damaged = read_values(self.codec, keys, [values.get(key) for key in keys], check=self._shared.check)
        if n_damaged:
            self._shared.trouble.damaged(n_damaged)
        return fetched

    def missing(self, keys: Sequence[bytes]) -> I64:
        """Find out which documents are missing, without fetching. A damaged value counts as present until a query meets it."""
        self._shared.refuse_if_closed()
        here = {key for (key,) in self._find(_HERE, keys, _NAMED_AT_ONCE)}
        return np.array([i for i, key in enumerate(keys) if key not in here], dtype=np.int64)

    def delete(self, keys: Sequence[bytes]) -> int:
        self._shared.refuse_if_closed()
        space = self._current()
        if space is None:
            return 0
        n = 0
        for some in _cut(sorted(set(keys)), _NAMED_AT_ONCE):
            answer = self._change(_DELETE, space, binaries(some))
            if isinstance(answer, Failed):
                self._shared.met([answer])
            else:
                n += integer_of(answer.rows[0][0])
        return n

    def clear(self) -> int:
        """Forget every document, and the space itself. Return how many documents it held."""
        space = self._current()
        n = 0 if space is None else count(self._shared, space)
        failed = None if space is None else self._shared.tables.drop(self._digest)
        self._number = None
        if failed is not None:
            self._shared.met([failed])
            return 0
        return n

    def __len__(self) -> int:
        """Count the documents here, all of them: some seconds for ten million."""
        self._shared.refuse_if_closed()
        space = self._current()
        return 0 if space is None else count(self._shared, space)

    def _find(self, sql: str, keys: Sequence[bytes], at_once: int) -> list[Row]:
        """Ask for the rows of keys, some at a time; count the keys that were asked for in vain."""
        asked = list(dict.fromkeys(keys))
        rows: list[Row] = []
        failures: list[Failed] = []
        n_unreachable = 0
        for space in self._numbers() if asked else ():
            for some in _cut(asked, at_once):
                answer = self._rows(sql, space, some)
                if isinstance(answer, Failed):
                    failures.append(answer)
                    n_unreachable += len(some)
                else:
                    rows += answer
            if rows or failures:
                break
        self._shared.met(failures, n_unreachable=n_unreachable)
        return rows

    def _numbers(self) -> Iterator[int | Failed]:
        """Give the number that the space had; then, to who found nothing under it, the one that it has now.

        Another process may have dropped the space, and a third one made it again.
        """
        had = self._number
        if had is not None:
            yield had
        has = self._shared.tables.number(self._digest)
        self._number = has if isinstance(has, int) else None
        if has is not None and has != had:
            yield has

    def _rows(self, sql: str, space: int | Failed, keys: Sequence[bytes]) -> Sequence[Row] | Failed:
        if isinstance(space, Failed):
            return space
        answer = self._shared.server.ask(self._shared.tables.sql(sql, integer(space), binary(self._digest), binaries(keys)))
        if isinstance(answer, Failed):
            return () if is_absent(answer) else answer
        return answer.rows

    def _change(self, sql: str, space: int, *given: Parameter) -> Answer | Failed:
        tables = self._shared.tables
        return self._shared.server.change(tables.sql(sql, integer(space), binary(self._digest), tables.patience, *given))

    def _current(self) -> int | None:
        """Ask for the space's number; None if it has none, or the server doesn't answer."""
        space = self._shared.tables.number(self._digest)
        if isinstance(space, Failed):
            self._shared.met([space])
            return None
        self._number = space
        return space


def _is_dropped(answer: Answer | Failed) -> bool:
    """Whether the space of a put was dropped meanwhile, or the tables were, and may have been made again."""
    if isinstance(answer, Failed):
        return isinstance(answer, Refusal) and (answer.code == _DROPPED or is_absent(answer))
    return answer.n_changed == 0


def _cut(items: Sequence[bytes], at_once: int) -> Iterator[Sequence[bytes]]:
    return (items[start : start + at_once] for start in range(0, len(items), at_once))
