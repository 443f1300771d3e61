"""Several models' rankings fused, measured beside each model alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from late_rerank.evaluate.evaluation import MEASURES, Evaluation, evaluate_judged
from late_rerank.evaluate.judged import Judged
from late_rerank.evaluate.significance import Difference, difference
from late_rerank.fused import FusedReranker
from late_rerank.ranking.wanted import Wanted


@dataclass(frozen=True)
class FusedEvaluation:
    """Measures of a run reranked by several models together, and by each alone.

    Attributes:
        fused: The models together.
        alone: Model -> the same candidates, ranked by that model alone.
        differences: Model -> measure -> what fusion adds to that model alone, query by query.
    """

    fused: Evaluation
    alone: dict[str, Evaluation]
    differences: dict[str, dict[str, Difference]]

    def to_dict(self) -> dict[str, Any]:
        """Give JSON values: for each model its own measures, and what fusion adds to them."""
        return {
            name: {
                "measures": evaluation.measures["reranked"],
                "latency_ms": evaluation.latency_ms,
                "differences": {measure: found.to_dict() for measure, found in self.differences[name].items()},
            }
            for name, evaluation in self.alone.items()
        }


def evaluate_fused(reranker: FusedReranker, judged: Judged, wanted: Wanted, *, progress: bool = False) -> FusedEvaluation:
    """Rerank a run by several models together and by each alone, and measure all.

    A document is encoded once by each model.

    Args:
        reranker: The models. Each store should hold all candidates.
        judged: The run, its queries and their judgements. Each model must be able to encode each candidate.
        wanted: The options of the reranks.
        progress: Show bars on stderr, if that is a terminal.

    Raises:
        ValueError: As in `evaluate`.
        IncompatibleError: If a model can't encode a candidate.
        MissingDependencyError: As in `check_measures`.
    """
    fused = evaluate_judged(reranker, judged, wanted, progress=progress)
    alone = {
        name: evaluate_judged(each, judged, wanted, progress=progress)
        for name, each in zip(reranker.names, reranker.rerankers, strict=True)
    }
    ours = fused.by_query["reranked"]
    differences = {
        name: {measure: difference(evaluation.by_query["reranked"][measure], ours[measure]) for measure in MEASURES}
        for name, evaluation in alone.items()
    }
    return FusedEvaluation(fused, alone, differences)
