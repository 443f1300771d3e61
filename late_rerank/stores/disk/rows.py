"""Records -> rows of the index, and tombstones' rows -> records."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from late_rerank.stores.disk.tables import Row
from late_rerank.stores.record import HEADER_BYTES, TOMBSTONE, Header, Records, pack_marks, read_headers


def row_of(header: Header, segment_id: int, offset: int) -> Row:
    """Return the index's row for a record."""
    return Row(header.key, segment_id, offset, header.size, header.n_tokens, header.flags, header.sequence, header.stored_at)


def rows_of(records: Records, segment_id: int, start: int) -> list[Row]:
    """List the index's rows for records that lie in a segment from `start` on."""
    offsets = records.offsets[:-1].tolist()
    whole = records.bytes.data
    headers = read_headers([whole[offset : offset + HEADER_BYTES] for offset in offsets])
    columns = (headers[name].tolist() for name in ("key", "size", "n_tokens", "flags", "sequence", "stored_at"))
    return [Row(key, segment_id, start + offset, *rest) for offset, key, *rest in zip(offsets, *columns, strict=True)]


def tombstones(rows: Sequence[Row]) -> Records:
    """Make the records of tombstones again."""
    return pack_marks(
        [row.key for row in rows],
        flag=TOMBSTONE,
        sequence=np.array([row.sequence for row in rows], dtype=np.int64),
        stored_at=np.array([row.stored_at for row in rows], dtype=np.int64),
    )
