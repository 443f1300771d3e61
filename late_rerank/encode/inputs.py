"""What a model is given for some texts: ids and masks, padded to one width. No torch here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from late_rerank.types import I64

Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Inputs:
    """Token ids of several texts, padded to one width.

    Attributes:
        ids: (n, width) int64.
        real: (n, width) bool: the text's own tokens, prompt and markers included.
        counted: (n, width) bool: positions whose vectors count, before a model merges some of them.
        filled: (n, width) bool: mask tokens that fill a query up; None where there are none.
        attends_filled: Whether the transformer looks at these.
    """

    ids: I64
    real: Bools
    counted: Bools
    filled: Bools | None = None
    attends_filled: bool = False

    @classmethod
    def of(cls, rows: Sequence[Sequence[int]], pad_id: int, width: int = 0) -> Inputs:
        """Pad ids on the right; all that isn't padding counts.

        Args:
            rows: The ids of each text.
            pad_id: Fills what is left.
            width: The least width.
        """
        width = max([width, *map(len, rows)])
        ids = np.full((len(rows), width), pad_id, dtype=np.int64)
        real = np.zeros((len(rows), width), dtype=np.bool_)
        for i, row in enumerate(rows):
            ids[i, : len(row)] = row
            real[i, : len(row)] = True
        return cls(ids, real, real)

    def widened(self, width: int, pad_id: int) -> Inputs:
        """Pad further on the right; the same if they are so wide or wider.

        Args:
            width: The least width.
            pad_id: Fills what is left.
        """
        more = width - self.ids.shape[1]
        if more <= 0:
            return self

        def padded(marks: Bools) -> Bools:
            return np.pad(marks, ((0, 0), (0, more)))

        return replace(
            self,
            ids=np.pad(self.ids, ((0, 0), (0, more)), constant_values=pad_id),
            real=padded(self.real),
            counted=padded(self.counted),
            filled=None if self.filled is None else padded(self.filled),
        )

    @cached_property
    def mask(self) -> I64:
        """What the transformer looks at: (n, width) int64 of 0 and 1."""
        seen = self.real | self.filled if self.filled is not None and self.attends_filled else self.real
        return seen.astype(np.int64)
