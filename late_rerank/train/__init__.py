"""Queries with their documents -> a model adapted to them. In: a corpus; judgements, pairs, or nothing. Out: a model's folder.

`distil_query` makes a small query encoder for a model. Both load torch, so they are imported on first use.
"""

from typing import TYPE_CHECKING, Any

from late_rerank.errors import check_installed
from late_rerank.train.distil.recipe import DistilRecipe
from late_rerank.train.examples import Example, judged_examples, paired_examples, unlabelled_examples
from late_rerank.train.recipe import Recipe

if TYPE_CHECKING:
    from late_rerank.train.adaptation import adapt as adapt
    from late_rerank.train.distil.distillation import distil_query as distil_query
    from late_rerank.train.distil.measuring import Development as Development
    from late_rerank.train.distil.report import DistilReport as DistilReport
    from late_rerank.train.distil.texts import QueryTexts as QueryTexts
    from late_rerank.train.distil.texts import query_texts as query_texts
    from late_rerank.train.held_out import HeldOut as HeldOut
    from late_rerank.train.report import TrainingReport as TrainingReport
    from late_rerank.train.training_set import TrainingSet as TrainingSet
    from late_rerank.train.training_set import held_out_split as held_out_split
    from late_rerank.train.training_set import judged_set as judged_set
    from late_rerank.train.training_set import paired_set as paired_set
    from late_rerank.train.training_set import unlabelled_set as unlabelled_set

__all__ = [
    "Development",
    "DistilRecipe",
    "DistilReport",
    "Example",
    "HeldOut",
    "QueryTexts",
    "Recipe",
    "TrainingReport",
    "TrainingSet",
    "adapt",
    "distil_query",
    "held_out_split",
    "judged_examples",
    "judged_set",
    "paired_examples",
    "paired_set",
    "query_texts",
    "unlabelled_examples",
    "unlabelled_set",
]

_LAZY = {
    "Development": "distil.measuring",
    "DistilReport": "distil.report",
    "HeldOut": "held_out",
    "TrainingReport": "report",
    "adapt": "adaptation",
    "distil_query": "distil.distillation",
    **dict.fromkeys(("QueryTexts", "query_texts"), "distil.texts"),
    **dict.fromkeys(("TrainingSet", "held_out_split", "judged_set", "paired_set", "unlabelled_set"), "training_set"),
}


def __getattr__(name: str) -> Any:
    if name == "adapt":
        check_installed("training", "train", "torch", "transformers", "sentence_transformers")
    if name in ("DistilReport", "distil_query"):
        check_installed("making a query encoder", "torch", "torch", "transformers", "sentence_transformers", "onnx")
    if name in _LAZY:
        from importlib import import_module  # noqa: PLC0415

        return getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
