"""Runs + judgements -> measures: does reranking help on this data, and what does it cost."""

from late_rerank.evaluate.evaluation import Evaluation, evaluate
from late_rerank.evaluate.runs import read_run, retrieve_run

__all__ = ["Evaluation", "evaluate", "read_run", "retrieve_run"]
