"""A corpus and examples -> an adapted model's folder: check, mine, train, save, measure before and after, tell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from late_rerank.evaluate import difference, evaluate, retrieve_run
from late_rerank.evaluate.evaluation import MEASURES, Evaluation
from late_rerank.evaluate.runs import Run
from late_rerank.reranker import Reranker
from late_rerank.retrieve import Retriever
from late_rerank.stores import MemoryStore, Store
from late_rerank.timing import Timer
from late_rerank.train.card import write_card
from late_rerank.train.checks import FEWEST_PAIRS, checked_examples
from late_rerank.train.examples import Example
from late_rerank.train.fitting import UNFINISHED, check_out, fit
from late_rerank.train.negatives import Row, mine
from late_rerank.train.recipe import Recipe
from late_rerank.train.training import check_packages
from late_rerank.train.unfinished import Unfinished
from late_rerank.warn import warn_caller

_DEPTH = 100


@dataclass(frozen=True)
class HeldOut:
    """Judged queries that the model is measured on before and after, and never sees.

    Attributes:
        queries: Query id -> text.
        qrels: Query id -> document id -> judgement.
        name: What they are, for the model's card.
        ignore_identical_ids: Leave out candidates that have their query's id, as `evaluate` does.
    """

    queries: Mapping[str, str]
    qrels: Mapping[str, Mapping[str, int]]
    name: str = "held-out queries"
    ignore_identical_ids: bool = False


@dataclass(frozen=True)
class TrainingReport:
    """What was done, and what came of it.

    Attributes:
        recipe: How.
        data: What it was trained on.
        n_queries: That were trained on.
        n_pairs: Pairs of a query and a document.
        n_rows: What was trained on: each pair once an epoch.
        losses: From the first step to the last.
        method: What was trained, in words.
        device: What it was trained on.
        seconds: "mining", "training" (before interruptions too), "measuring".
        before: Measures of the model as it was; None where nothing is held out.
        after: And as it is.
        held_out: What they were measured on.
        unseen: Of its queries those none of whose relevant candidates was shown in training: what was learnt of a document as
            another query's answer can't help there.
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
        """JSON values."""
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


def adapt(
    retriever: Retriever,
    examples: Mapping[str, Example],
    out: str | Path,
    *,
    recipe: Recipe | None = None,
    held_out: HeldOut | None = None,
    data: str = "your examples",
    store: str | Store | None = None,
    device: str | None = None,
    progress: bool = False,
) -> TrainingReport:
    """Adapt a model to a domain.

    Interrupted, it leaves what it mined and its checkpoints in `out`; called again with the same arguments it goes on.

    Args:
        retriever: A first stage over the corpus, with ids: hard negatives come from it, and the candidates of `held_out`.
        examples: What is to be learnt.
        out: A folder, new or empty, for the model: `Reranker(model=out)` loads it, and so does sentence-transformers.
        recipe: How; None for the defaults.
        held_out: What the model is measured on before and after; None to measure nothing.
        data: What the examples are, for the model's card.
        store: Where the token vectors of the model as it was are kept; None for nowhere.
        device: A torch device; None for the fastest there is.
        progress: Show bars on stderr, if that is a terminal.

    Raises:
        ValueError: The data can't work (too few pairs, most of them held out, no other documents), or `out` holds
            something else.
        ModelError: The model can't be found.
        MissingDependencyError: A package of the extra `train` isn't installed.
    """
    recipe, out = recipe or Recipe(), Path(out)
    check_out(out)
    examples = checked_examples(examples, _held_out_queries(held_out))
    check_packages(recipe)
    unfinished, timer = Unfinished(out / UNFINISHED, recipe, examples), Timer(("mining", "measuring"))
    run = {} if held_out is None else _held_out_run(retriever, held_out, progress=progress)
    # Without a bound: what was evicted would be encoded again before it is scored.
    with Reranker(recipe.model, store=MemoryStore(max_bytes=None) if store is None else store, device=device) as reranker:

        def mined() -> list[Row]:
            with timer.stage("mining"):
                rows = mine(reranker, retriever, examples, recipe, progress=progress)
            _check_rows(rows, examples, recipe)
            return rows

        fitted = fit(mined, unfinished, out, recipe, device=device, progress=progress)
        with timer.stage("measuring"):
            measured = _measured(reranker, out, run, held_out, progress=progress) if held_out else {}
    report = TrainingReport(
        recipe=recipe,
        data=data,
        n_queries=len({row.query for row in fitted.rows}),
        n_pairs=len(fitted.rows) // recipe.epochs,
        n_rows=len(fitted.rows),
        losses=fitted.trained.losses,
        method=fitted.method,
        device=fitted.device,
        seconds={**{name: ms / 1000 for name, ms in timer.ms.items()}, "training": fitted.trained.seconds},
        held_out=held_out,
        unseen=_unseen(run, held_out, fitted.rows) if held_out else (),
        **measured,
    )
    write_card(out, report.to_dict())
    unfinished.remove()
    return report


def _held_out_queries(held_out: HeldOut | None) -> Sequence[str]:
    """Texts of the judged queries that are held out, each of which must have one."""
    if held_out is None:
        return []
    judged = [name for name, judged in held_out.qrels.items() if judged]
    absent = [name for name in judged if name not in held_out.queries]
    if absent or not judged:
        first = f", {absent[0]!r} first" if absent else ""
        raise ValueError(f"{held_out.name}: of {len(judged)} judged queries {len(absent)} have no text{first}")
    return [held_out.queries[name] for name in judged]


def _check_rows(rows: Sequence[Row], examples: Mapping[str, Example], recipe: Recipe) -> None:
    trained_on = {row.query for row in rows}
    n_left_out = sum(example.query not in trained_on for example in examples.values())
    if len(rows) < FEWEST_PAIRS:
        raise ValueError(
            f"only {len(rows)} rows of training data: the corpus has {recipe.n_negatives} other documents for too few of the "
            f"{len(examples)} queries. Is it the corpus that these queries are asked of?"
        )
    if n_left_out:
        warn_caller(
            f"{n_left_out} of {len(examples)} queries are not trained on: the corpus has no {recipe.n_negatives} others to "
            "tell their documents from"
        )


def _held_out_run(retriever: Retriever, held_out: HeldOut, *, progress: bool) -> Run:
    """Candidates of the held-out queries: what is wrong with them shows before hours are spent."""
    alike = {"ignore_identical_ids": held_out.ignore_identical_ids, "progress": progress}
    run = retrieve_run(retriever, held_out.queries, _DEPTH, **alike)
    if any(candidate.id is None for candidates in run.values() for candidate in candidates):
        raise ValueError(f"{held_out.name}: the retriever gives documents without ids, by which judgements name them")
    return run


def _unseen(run: Run, held_out: HeldOut, rows: Sequence[Row]) -> list[str]:
    """Held-out queries none of whose relevant candidates was shown as another query's answer."""
    shown = {text for row in rows for text in (row.positive, *row.answers)}
    relevant = {name: {id_ for id_, value in judged.items() if value > 0} for name, judged in held_out.qrels.items()}
    return [
        name
        for name, candidates in run.items()
        if name in relevant and not any(str(each.id) in relevant[name] and each.text in shown for each in candidates)
    ]


def _measured(before: Reranker, out: Path, run: Run, held_out: HeldOut, *, progress: bool) -> dict[str, Evaluation]:
    how: dict[str, Any] = {"ignore_identical_ids": held_out.ignore_identical_ids, "progress": progress}
    with Reranker(str(out), store=MemoryStore(max_bytes=None), device=before.arguments["device"]) as after:
        return {
            name: evaluate(reranker, run, held_out.queries, held_out.qrels, **how)
            for name, reranker in (("before", before), ("after", after))
        }
