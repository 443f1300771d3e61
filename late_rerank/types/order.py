"""What a document's place in a ranking came from, where more than its score counted."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True, unsafe_hash=True)  # not frozen: a hundred of them would take 60 us instead of 20
class RankedBy:
    """The parts of the number that ordered a document, where a first stage's scores or a prior counted too.

    Attributes:
        score: How far the document's `score` is from the mean of the query's candidates, in standard deviations.
        first_stage: What the first stage's score added: its own standard score times its weight. 0 where it didn't count.
        prior: What was added by `prior`; 0 where there was none.
    """

    score: float
    first_stage: float = 0.0
    prior: float = 0.0

    @property
    def total(self) -> float:
        """The sum, by which documents of one query are ordered."""
        return self.score + self.first_stage + self.prior

    def to_dict(self) -> dict[str, float]:
        """Give the parts and their sum as JSON values."""
        return {"score": self.score, "first_stage": self.first_stage, "prior": self.prior, "total": self.total}
