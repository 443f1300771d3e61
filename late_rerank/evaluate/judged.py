"""Queries, judgements, and a first stage's candidates: what rerankers are measured on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from late_rerank.evaluate.identical import Run, best
from late_rerank.evaluate.runs import retrieve_run
from late_rerank.retrieve import Retriever

Qrels = Mapping[str, Mapping[str, int]]


@dataclass(frozen=True)
class Judged:
    """A run with its judgements. Setups are measured on it.

    Attributes:
        run: Query id -> candidates with ids, best first, as many as the deepest setup takes.
        queries: Query id -> text, for each judged query.
        qrels: Query id -> document id -> judgement.
        ignore_identical_ids: Leave out candidates that have their query's id, as `evaluate` does.
    """

    run: Run
    queries: Mapping[str, str]
    qrels: Qrels
    ignore_identical_ids: bool = True

    def cut(self, k: int) -> Judged:
        """Keep the judged queries, and for each query the best `k` candidates that count."""
        if not self.ignore_identical_ids:
            return replace(self, run={name: self.run.get(name, [])[:k] for name in self.qrels})
        return replace(self, run={name: best(name, self.run.get(name, []), k) for name in self.qrels})


def retrieve_judged(
    retriever: Retriever,
    queries: Mapping[str, str],
    qrels: Qrels,
    k: int,
    *,
    ignore_identical_ids: bool = True,
    progress: bool = False,
) -> Judged:
    """Retrieve candidates for some queries, to measure rerankers on.

    Args:
        retriever: Its candidates must have ids.
        queries: Query id -> text.
        qrels: Query id -> document id -> judgement.
        k: Candidates a query.
        ignore_identical_ids: Leave out documents that have their query's id, as `evaluate` does.
        progress: Show a bar on stderr, if that is a terminal.
    """
    run = retrieve_run(retriever, queries, k, ignore_identical_ids=ignore_identical_ids, progress=progress)
    return Judged(run, queries, qrels, ignore_identical_ids)
