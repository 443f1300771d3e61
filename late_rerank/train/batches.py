"""Rows -> batches in which no answer of one row's query stands as another row's wrong document."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from datasets import Dataset
from sentence_transformers.base.sampler import DefaultBatchSampler

from late_rerank.train.negatives import Row

# At most so many batches are filled at a time. A row that fits into none of them begins another.
_MOST_OPEN = 64


def batches_of(rows: Sequence[Row], size: int, seed: int) -> list[list[int]]:
    """Put rows into batches of at most `size`, each row once, drawn by chance.

    Training tells a query's document from all other documents of its batch. So no two rows of one batch share a query, and no
    row brings a text that answers another's. sentence-transformers' own sampler compares texts only: it doesn't know that a
    query has several answers, and leaves rows out where many texts are equal.

    Args:
        rows: With all answers of their queries.
        size: The most rows a batch.
        seed: Of chance.

    Returns:
        Positions in `rows`, batch by batch.
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
    random.Random(seed).shuffle(found)  # else the small batches come last, whose rows are hard to place
    return found


class _Batch:
    """A batch that is being filled."""

    def __init__(self) -> None:
        self.positions: list[int] = []
        self._texts: set[str] = set()
        self._answers: set[str] = set()

    def takes(self, row: Row) -> bool:
        """Tell whether neither the row nor the batch brings an answer of the other's queries."""
        return self._texts.isdisjoint(row.answers) and self._answers.isdisjoint((row.positive, *row.negatives))

    def add(self, position: int, row: Row) -> None:
        self.positions.append(position)
        self._texts.update((row.positive, *row.negatives))
        self._answers.update(row.answers)


class Batches(DefaultBatchSampler):
    """Gives sentence-transformers' trainer the batches made beforehand, the same for a training that goes on.

    Args:
        dataset: As the trainer gives it.
        made: The batches, as `batches_of` gives them for the same rows.
        batch_size: The most rows a batch.
    """

    def __init__(self, dataset: Dataset, made: Sequence[Sequence[int]], *, batch_size: int) -> None:
        super().__init__(dataset, batch_size=batch_size, drop_last=False)
        self._made = made

    def __iter__(self) -> Iterator[list[int]]:
        return iter([list(batch) for batch in self._made])

    def __len__(self) -> int:
        return len(self._made)
