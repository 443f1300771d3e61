"""A corpus and examples -> an adapted model's folder: check, mine, train, save, measure before and after, tell."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from late_rerank.evaluate import difference, evaluate, retrieve_run
from late_rerank.evaluate.evaluation import MEASURES, Evaluation
from late_rerank.reranker import Reranker
from late_rerank.retrieve import Retriever
from late_rerank.stores import MemoryStore, Store
from late_rerank.train.card import write_card
from late_rerank.train.checks import check_examples, without_contradictions
from late_rerank.train.examples import Example
from late_rerank.train.negatives import mine
from late_rerank.train.recipe import Recipe
from late_rerank.train.training import train
from late_rerank.train.tunable import TunableModel
from late_rerank.warn import warn_caller

_DEPTH = 100


@dataclass(frozen=True)
class HeldOut:
    """Judged queries that the model is measured on before and after, and never sees.

    Attributes:
        queries: Query id -> text.
        qrels: Query id -> document id -> judgement.
        name: What they are, for the model's card.
    """

    queries: Mapping[str, str]
    qrels: Mapping[str, Mapping[str, int]]
    name: str = "held-out queries"


@dataclass(frozen=True)
class TrainingReport:
    """What was done, and what came of it.

    Attributes:
        recipe: How.
        data: What it was trained on.
        n_queries: Of the examples.
        n_pairs: Pairs of a query and a document.
        n_rows: What was trained on: each pair once an epoch.
        losses: From the first step to the last.
        seconds: "mining", "training", "measuring".
        device: What it was trained on.
        before: Measures of the model as it was; None where nothing is held out.
        after: And as it is.
        held_out: What they were measured on.
    """

    recipe: Recipe
    data: str
    n_queries: int
    n_pairs: int
    n_rows: int
    losses: list[float]
    device: str
    seconds: dict[str, float] = field(default_factory=dict)
    before: Evaluation | None = None
    after: Evaluation | None = None
    held_out: HeldOut | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "recipe": asdict(self.recipe),
            "data": self.data,
            "n_queries": self.n_queries,
            "n_pairs": self.n_pairs,
            "n_rows": self.n_rows,
            "losses": [round(loss, 4) for loss in self.losses],
            "device": self.device,
            "seconds": {name: round(value, 1) for name, value in self.seconds.items()},
            "held_out": self._measured(),
        }

    def _measured(self) -> dict[str, Any] | None:
        if self.before is None or self.after is None or self.held_out is None:
            return None
        changes = {
            name: difference(self.before.by_query["reranked"][name], self.after.by_query["reranked"][name]) for name in MEASURES
        }
        return {
            "data": self.held_out.name,
            "n_queries": self.after.n_queries,
            "measures": {
                "first_stage": self.before.measures["first_stage"],
                "before": self.before.measures["reranked"],
                "after": self.after.measures["reranked"],
            },
            "differences": {name: change.to_dict() for name, change in changes.items()},
        }


def adapt(
    retriever: Retriever,
    examples: Mapping[str, Example],
    out: Path,
    *,
    recipe: Recipe | None = None,
    held_out: HeldOut | None = None,
    data: str = "your examples",
    store: str | Store | None = None,
    device: str | None = None,
    progress: bool = False,
) -> TrainingReport:
    """Adapt a model to a domain.

    Interrupted, it leaves checkpoints in `out`; called again with the same arguments it goes on from the last one.

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
        ValueError: The data can't work (too few pairs, held-out queries among them), or `out` holds something else.
        ModelError: The model can't be found.
        MissingDependencyError: A package of the extra `train` isn't installed.
    """
    recipe = recipe or Recipe()
    scratch = out / "checkpoints"
    if out.exists() and not scratch.is_dir() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"{out} holds something already; give a new or an empty folder")
    for warning in check_examples(examples, held_out.queries.values() if held_out else ()):
        warn_caller(warning)
    examples = {name: kept for name, example in examples.items() if (kept := without_contradictions(example)).documents}
    tunable = TunableModel(recipe, device)  # first: what is missing shows before anything is mined
    seconds, before = {}, None
    # Without a bound: what was evicted would be encoded again before it is scored.
    with Reranker(recipe.model, store=MemoryStore(max_bytes=None) if store is None else store, device=device) as reranker:
        started = time.perf_counter()
        rows = mine(reranker, retriever, examples, recipe, progress=progress)
        seconds["mining"] = time.perf_counter() - started
        run = retrieve_run(retriever, held_out.queries, _DEPTH, progress=progress) if held_out else {}
        if held_out:
            before = evaluate(reranker, run, held_out.queries, held_out.qrels, progress=progress)
    started = time.perf_counter()
    losses = train(tunable, rows, recipe, scratch, progress=progress)
    seconds["training"] = time.perf_counter() - started
    trained_on = str(tunable.encoder.device)
    tunable.save(out)
    started = time.perf_counter()
    after = _measured(out, run, held_out, device, progress=progress) if held_out else None
    seconds["measuring"] = time.perf_counter() - started
    n_pairs = sum(len(example.documents) for example in examples.values())
    report = TrainingReport(
        recipe, data, len(examples), n_pairs, len(rows), losses, trained_on, seconds, before, after, held_out
    )
    write_card(out, report.to_dict())
    shutil.rmtree(scratch)
    return report


def _measured(out: Path, run: Any, held_out: HeldOut, device: str | None, *, progress: bool) -> Evaluation:
    with Reranker(str(out), store=MemoryStore(max_bytes=None), device=device) as reranker:
        return evaluate(reranker, run, held_out.queries, held_out.qrels, progress=progress)
