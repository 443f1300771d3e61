"""Parquet -> documents: a row is read as a line of JSON Lines is. The one module that imports pyarrow here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from late_rerank.corpus.json_lines import candidate_of
from late_rerank.corpus.ranges import Ranges, RangesFile
from late_rerank.errors import check_installed
from late_rerank.types import Candidate

# All other columns stay unread.
_COLUMNS = ("_id", "id", "title", "text", "score", "metadata")
# Rows in memory as Python's objects.
_ROWS = 256


class ParquetRows:
    """The rows of a Parquet file, by row groups. Memory holds one row group's pages of the columns that are read.

    Args:
        ranges: The file.
        source: Names it in messages.
        needs_text: Whether the rows are documents. Else `documents` can't be called.

    Attributes:
        group_bytes: Compressed bytes of each row group, in order.
        n_rows: Rows of the file.
        kinds: Column -> type, as Arrow writes it.

    Raises:
        MissingDependencyError: If pyarrow isn't installed.
        ValueError: If the file is no Parquet file, or has no column "text".
        OSError: If it can't be read.
    """

    def __init__(self, ranges: Ranges, source: str, *, needs_text: bool = True) -> None:
        check_installed("a Parquet file", "parquet", "pyarrow")
        import pyarrow  # noqa: PLC0415 - half a second that other corpora need not pay
        import pyarrow.parquet  # noqa: PLC0415

        try:
            self._file: Any = pyarrow.parquet.ParquetFile(RangesFile(ranges), pre_buffer=False)
        except pyarrow.ArrowInvalid as error:
            raise ValueError(f"{source} is no Parquet file: {error}") from error
        self._source = source
        self.kinds: dict[str, Any] = {field.name: field.type for field in self._file.schema_arrow}
        names = set(self.kinds)
        if needs_text and "text" not in names:
            raise ValueError(f'{source} must have a column "text", got {", ".join(sorted(names)) or "none"}')
        self._columns = [name for name in _COLUMNS if name in names]
        metadata = self._file.metadata
        self._n_rows = [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]
        self.n_rows = sum(self._n_rows)
        self.group_bytes = [_compressed(metadata.row_group(i)) for i in range(metadata.num_row_groups)]

    def documents(self, groups: Sequence[int] | None = None) -> Iterator[Candidate]:
        """Give the documents of row groups, one by one.

        Args:
            groups: Their numbers, from 0 and in a row; None for all.

        Raises:
            ValueError: If a row has no text, or a value of a wrong kind; names the row.
            OSError: If the file can't be read.
        """
        wanted = list(range(len(self._n_rows))) if groups is None else list(groups)
        number = sum(self._n_rows[: wanted[0]]) if wanted else 0
        for batch in self._file.iter_batches(_ROWS, row_groups=wanted, columns=self._columns, use_threads=False):
            for row in batch.to_pylist():
                number += 1
                place = f"{self._source}, row {number}"
                if not isinstance(row["text"], str):
                    raise ValueError(f'{place}: "text" must be a string, got {row["text"]!r:.60}')
                yield candidate_of(row, place)

    def column(self, name: str, n_rows: int) -> Iterator[Any]:
        """Give a column as Arrow arrays, of at most `n_rows` rows each.

        Raises:
            OSError: If the file can't be read.
        """
        for batch in self._file.iter_batches(n_rows, columns=[name], use_threads=False):
            yield batch.column(0)


def _compressed(group: Any) -> int:
    return sum(group.column(i).total_compressed_size for i in range(group.num_columns))
