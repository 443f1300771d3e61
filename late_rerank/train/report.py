"""What a training did, and how the model ranks before and after it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from late_rerank.evaluate import difference
from late_rerank.evaluate.evaluation import MEASURES, Evaluation
from late_rerank.train.held_out import HeldOut
from late_rerank.train.recipe import Recipe


@dataclass(frozen=True)
class TrainingReport:
    """A finished training.

    Attributes:
        recipe: How the model was adapted.
        data: The name of the examples.
        n_queries: Queries that were trained on.
        n_pairs: Pairs of a query and a document.
        n_rows: Rows of training data: each pair once an epoch.
        losses: From the first step to the last.
        method: The weights that were trained, in words.
        device: A torch device's name.
        seconds: "mining", "training" (before interruptions too), "measuring".
        before: Measures of the model before training; None where no queries are held out.
        after: Measures of the adapted model.
        held_out: The queries that were measured on.
        unseen: Ids of held-out queries of which training showed no relevant candidate. Knowing a document as another query's
            answer can't help there.
    """

    recipe: Recipe
    data: str
    n_queries: int
    n_pairs: int
    n_rows: int
    losses: list[float]
    method: str
    device: str
    seconds: dict[str, float] = field(default_factory=dict)
    before: Evaluation | None = None
    after: Evaluation | None = None
    held_out: HeldOut | None = None
    unseen: Sequence[str] = ()

    def to_dict(self) -> dict[str, Any]:
        """Give the report as JSON values."""
        return {
            "recipe": asdict(self.recipe),
            "data": self.data,
            "n_queries": self.n_queries,
            "n_pairs": self.n_pairs,
            "n_rows": self.n_rows,
            "losses": [round(loss, 4) for loss in self.losses],
            "method": self.method,
            "device": self.device,
            "seconds": {name: round(value, 1) for name, value in self.seconds.items()},
            "held_out": self._measured(),
        }

    def _measured(self) -> dict[str, Any] | None:
        if self.before is None or self.after is None or self.held_out is None:
            return None
        before, after = self.before.by_query["reranked"], self.after.by_query["reranked"]
        changes = {name: difference(before[name], after[name]) for name in MEASURES}
        new = {name: [{query: run[name][query] for query in self.unseen} for run in (before, after)] for name in MEASURES}
        return {
            "data": self.held_out.name,
            "n_queries": self.after.n_queries,
            "n_own_documents_left_out": self.after.n_own_documents_left_out,
            "measures": {
                "first_stage": self.before.measures["first_stage"],
                "before": self.before.measures["reranked"],
                "after": self.after.measures["reranked"],
            },
            "differences": {name: change.to_dict() for name, change in changes.items()},
            "documents_not_trained_on": {
                "n_queries": len(self.unseen),
                "differences": {name: difference(*runs).to_dict() for name, runs in new.items()} if self.unseen else {},
            },
        }
