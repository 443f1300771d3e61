"""Queries with their documents -> a model adapted to them. In: a corpus; judgements, pairs, or nothing. Out: a model's folder.

`adapt` loads torch, so it is imported on first use.
"""

from typing import TYPE_CHECKING, Any

from late_rerank.train.examples import Example, judged_examples, paired_examples, unlabelled_examples
from late_rerank.train.recipe import Recipe

if TYPE_CHECKING:
    from late_rerank.train.adapting import HeldOut as HeldOut
    from late_rerank.train.adapting import TrainingReport as TrainingReport
    from late_rerank.train.adapting import adapt as adapt

__all__ = [
    "Example",
    "HeldOut",
    "Recipe",
    "TrainingReport",
    "adapt",
    "judged_examples",
    "paired_examples",
    "unlabelled_examples",
]


def __getattr__(name: str) -> Any:
    if name in ("HeldOut", "TrainingReport", "adapt"):
        from late_rerank.train import adapting  # noqa: PLC0415

        return getattr(adapting, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
