"""Which whole records segments have, in files: memory doesn't grow with the documents."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from late_rerank.stores.keys_blocks import ROW, U64, Rows
from late_rerank.stores.record import Header

# A place is the number of a segment, then the offset in it: a terabyte, in sixteen million segments.
_OFFSET_BITS = 40
_ROWS_AT_ONCE = 2**16


class WalkedRecords:
    """Whole records by place. Add a segment's records in order, one segment after the other; leave it as a context."""

    def __init__(self) -> None:
        self._places = tempfile.TemporaryFile(prefix="late-rerank-")  # noqa: SIM115 - closed by __exit__
        self._rows = tempfile.TemporaryFile(prefix="late-rerank-")  # noqa: SIM115
        self._numbers: dict[str, int] = {}
        self._held: list[tuple[bytes, int, int, int, int]] = []

    def __enter__(self) -> WalkedRecords:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._places.close()
        self._rows.close()

    def add(self, segment: str, offset: int, header: Header) -> None:
        """Add a record of a segment, which is another one than before or goes on."""
        number = self._numbers.setdefault(segment, len(self._numbers))
        self._held.append((header.key, offset, header.n_tokens, number, header.flags))
        if len(self._held) == _ROWS_AT_ONCE:
            self._write()

    def have(self, segments: Mapping[int, str], rows: Rows) -> NDArray[np.bool_]:
        """Tell of each row of keys whether there is a record at its place, with its key, tokens and flags.

        Args:
            segments: The segment of each number that the rows have for it.
            rows: (n,) ROW.
        """
        self._write()
        n = self._places.tell() // 8
        if not n:
            return np.zeros(len(rows), dtype=np.bool_)
        numbers = {number: self._numbers[name] for number, name in segments.items() if name in self._numbers}
        known = np.isin(rows["segment"], list(numbers))
        asked = np.array([numbers.get(number, 0) for number in rows["segment"].tolist()], dtype=np.uint64)
        places = np.memmap(self._places, dtype=np.uint64, mode="r", shape=(n,))
        records: Any = np.memmap(self._rows, dtype=ROW, mode="r", shape=(n,))
        wanted = _places(asked, rows["offset"])
        at = np.minimum(np.searchsorted(places, wanted), n - 1)
        found = np.asarray(records[at])
        same = [found[name] == rows[name] for name in ("key", "offset", "n_tokens", "flags")]
        return np.asarray(known & (places[at] == wanted) & np.all(same, axis=0), dtype=np.bool_)

    def _write(self) -> None:
        rows = np.array(self._held, dtype=ROW)
        self._held = []
        self._rows.write(rows.tobytes())
        self._places.write(_places(rows["segment"], rows["offset"]).tobytes())
        self._rows.flush()
        self._places.flush()


def _places(numbers: NDArray[Any], offsets: NDArray[Any]) -> U64:
    shifted = np.left_shift(numbers.astype(np.uint64), np.uint64(_OFFSET_BITS))
    return np.asarray(np.bitwise_or(shifted, offsets.astype(np.uint64)))
