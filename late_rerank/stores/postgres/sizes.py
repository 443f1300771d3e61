"""How many documents a store in Postgres holds, and how many bytes they take on the server's disk."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from late_rerank.stores.postgres.statements import Row, integer, integer_of
from late_rerank.stores.postgres.tables import ALIVE, is_absent
from late_rerank.stores.trouble import Failed

if TYPE_CHECKING:
    from late_rerank.stores.postgres.shared import Shared

# Rows without their vectors, which lie apart: about a million documents, counted in a tenth of a second.
COUNTED_BYTES = 100 * 2**20

# A count of 50 million documents takes half a minute.
COUNT_TIMEOUT_S = 600.0

_COUNT = f"SELECT count(*) FROM {{schema}}.record WHERE space = $1 AND {ALIVE}"
_SIZES = (
    "SELECT described, number, pg_relation_size(named), pg_total_relation_size(named), "
    "(SELECT reltuples::int8 FROM pg_class WHERE oid = named) "
    "FROM (SELECT described, number, to_regclass('{schema}.record_' || number) AS named FROM {schema}.space) AS space"
)


@dataclass(frozen=True, slots=True)
class Size:
    """Of one space.

    Attributes:
        n_documents: Those whose time is over count with the others, if they are estimated.
        size_bytes: Of the partition, with its indexes and vectors.
        is_estimated: Whether the server estimated n_documents.
    """

    n_documents: int
    size_bytes: int
    is_estimated: bool


def sizes_of(shared: Shared) -> dict[str, Size]:
    """Measure each space, by its description; none that can't be measured."""
    answer = shared.server.ask(shared.tables.sql(_SIZES), shared.server.limits.write_timeout_s)
    if isinstance(answer, Failed):
        shared.met([] if is_absent(answer) else [answer])
        return {}
    return {(row[0] or b"").decode(): _size(shared, row) for row in answer.rows}


def count(shared: Shared, space: int) -> int:
    """Count a space's documents, one by one."""
    answer = shared.server.ask(shared.tables.sql(_COUNT, integer(space)), COUNT_TIMEOUT_S)
    if isinstance(answer, Failed):
        shared.met([] if is_absent(answer) else [answer])
        return 0
    return integer_of(answer.rows[0][0])


def _size(shared: Shared, row: Row) -> Size:
    """Read a row of _SIZES."""
    space, own, whole, estimate = map(integer_of, row[1:])
    if own > COUNTED_BYTES and estimate > 0:
        return Size(estimate, whole, is_estimated=True)
    return Size(count(shared, space), whole, is_estimated=False)
