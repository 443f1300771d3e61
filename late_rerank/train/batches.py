"""Rows -> batches in which nothing that answers one row's query stands for a document that doesn't."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from datasets import Dataset
from sentence_transformers.base.sampler import DefaultBatchSampler

from late_rerank.train.negatives import Row

# A row waits for a batch that it fits into among so many; then it begins another.
_MOST_OPEN = 64


def batches_of(rows: Sequence[Row], size: int, seed: int) -> list[list[int]]:
    """Positions of rows in batches of at most `size`, each row once, drawn by chance.

    A query's document is told from all others of its batch. So no two rows of one batch share a query, and none brings a text
    that answers another's: sentence-transformers' own sampler knows only equal texts, not that a query has several answers, and
    leaves rows out where many are equal.

    Args:
        rows: With what answers their queries.
        size: The most rows a batch.
        seed: Of chance.
    """
    order = list(range(len(rows)))
    random.Random(seed).shuffle(order)
    full: list[list[int]] = []
    filling: list[_Batch] = []
    for i in order:
        batch = next((each for each in filling if each.takes(rows[i])), None)
        if batch is None:
            batch = _Batch()
            filling.append(batch)
        batch.add(i, rows[i])
        if len(batch.positions) == size:
            full.append(batch.positions)
            filling.remove(batch)
        elif len(filling) > _MOST_OPEN:
            full.append(filling.pop(0).positions)
    found = full + [batch.positions for batch in filling]
    random.Random(seed).shuffle(found)  # else the small ones, hard to place, come last
    return found


class _Batch:
    """A batch that is being filled."""

    def __init__(self) -> None:
        self.positions: list[int] = []
        self._texts: set[str] = set()
        self._answers: set[str] = set()

    def takes(self, row: Row) -> bool:
        """Whether neither the row nor the batch brings what answers the other's queries."""
        return self._texts.isdisjoint(row.answers) and self._answers.isdisjoint((row.positive, *row.negatives))

    def add(self, position: int, row: Row) -> None:
        self.positions.append(position)
        self._texts.update((row.positive, *row.negatives))
        self._answers.update(row.answers)


class Batches(DefaultBatchSampler):
    """Gives sentence-transformers' trainer batches that were made before, the same for a training that goes on.

    Args:
        dataset: As the trainer gives it.
        made: `batches_of` the same rows.
        batch_size: The most rows a batch.
    """

    def __init__(self, dataset: Dataset, made: Sequence[Sequence[int]], *, batch_size: int) -> None:
        super().__init__(dataset, batch_size=batch_size, drop_last=False)
        self._made = made

    def __iter__(self) -> Iterator[list[int]]:
        return iter([list(batch) for batch in self._made])

    def __len__(self) -> int:
        return len(self._made)
