"""Runs + judgements -> measures: whether reranking helps on this data, and what it costs."""

from late_rerank.evaluate.comparison import Compared, Setup, compare, crossed
from late_rerank.evaluate.evaluation import Evaluation, evaluate
from late_rerank.evaluate.fused import FusedEvaluation, evaluate_fused
from late_rerank.evaluate.judged import Judged
from late_rerank.evaluate.runs import read_run, retrieve_run, write_run
from late_rerank.evaluate.significance import Difference, difference

__all__ = [
    "Compared",
    "Difference",
    "Evaluation",
    "FusedEvaluation",
    "Judged",
    "Setup",
    "compare",
    "crossed",
    "difference",
    "evaluate",
    "evaluate_fused",
    "read_run",
    "retrieve_run",
    "write_run",
]
