"""Judged queries that a model is measured on, and never trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from late_rerank.evaluate.evaluation import Evaluation, Reranks, evaluate
from late_rerank.evaluate.runs import Run, retrieve_run
from late_rerank.retrieve import Retriever
from late_rerank.train.negatives import Row

_DEPTH = 100


@dataclass(frozen=True)
class HeldOut:
    """Judged queries that the model is measured on before and after, and never sees.

    Attributes:
        queries: Query id -> text.
        qrels: Query id -> document id -> judgement.
        name: What the queries are, for the model's card.
        ignore_identical_ids: Leave out candidates that have their query's id, as `evaluate` does.
    """

    queries: Mapping[str, str]
    qrels: Mapping[str, Mapping[str, int]]
    name: str = "held-out queries"
    ignore_identical_ids: bool = False

    def texts(self) -> list[str]:
        """Give the texts of the judged queries.

        Raises:
            ValueError: If no query is judged, or a judged one has no text.
        """
        judged = [name for name, judged in self.qrels.items() if judged]
        absent = [name for name in judged if name not in self.queries]
        if absent or not judged:
            first = f", {absent[0]!r} first" if absent else ""
            raise ValueError(f"{self.name}: of {len(judged)} judged queries {len(absent)} have no text{first}")
        return [self.queries[name] for name in judged]

    def candidates(self, retriever: Retriever, *, progress: bool = False) -> Run:
        """Retrieve the queries' candidates. An unusable retriever fails here, before hours are spent.

        Args:
            retriever: Over the corpus, with ids.
            progress: Show a bar on stderr, if that is a terminal.

        Raises:
            ValueError: If a candidate has no id.
        """
        run = retrieve_run(retriever, self.queries, _DEPTH, ignore_identical_ids=self.ignore_identical_ids, progress=progress)
        if any(candidate.id is None for candidates in run.values() for candidate in candidates):
            raise ValueError(f"{self.name}: the retriever gives documents without ids, by which judgements name them")
        return run

    def evaluate(self, reranker: Reranks, run: Run, *, progress: bool = False) -> Evaluation:
        """Rerank the queries' candidates, and measure both orders.

        Args:
            reranker: As in `late_rerank.evaluate.evaluate`.
            run: The queries' candidates.
            progress: Show bars on stderr, if that is a terminal.

        Raises:
            ValueError: As in `late_rerank.evaluate.evaluate`.
            MissingDependencyError: If a package of the extra `eval` isn't installed.
        """
        return evaluate(
            reranker, run, self.queries, self.qrels, ignore_identical_ids=self.ignore_identical_ids, progress=progress
        )

    def unseen(self, run: Run, rows: Sequence[Row]) -> list[str]:
        """Find the queries of which training showed no relevant candidate as another query's answer.

        Args:
            run: The queries' candidates.
            rows: The training data.

        Returns:
            Their ids, in the order of `run`.
        """
        shown = {text for row in rows for text in (row.positive, *row.answers)}
        relevant = {name: {id_ for id_, value in judged.items() if value > 0} for name, judged in self.qrels.items()}
        return [
            name
            for name, candidates in run.items()
            if name in relevant and not any(str(each.id) in relevant[name] and each.text in shown for each in candidates)
        ]
