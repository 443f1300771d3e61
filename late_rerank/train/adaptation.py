"""`adapt`, the one call: a corpus and examples -> check, mine, train, measure before and after -> an adapted model's folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from late_rerank.evaluate.evaluation import Evaluation, check_measures
from late_rerank.evaluate.runs import Run
from late_rerank.observing.timing import Timer
from late_rerank.reranker import Reranker
from late_rerank.retrieve import Retriever
from late_rerank.stores import MemoryStore, Store
from late_rerank.train.card import write_card
from late_rerank.train.checks import checked_examples, checked_rows
from late_rerank.train.examples import Example
from late_rerank.train.fit import check_packages, fit
from late_rerank.train.held_out import HeldOut
from late_rerank.train.model import TunableModel
from late_rerank.train.negatives import mine
from late_rerank.train.recipe import Recipe
from late_rerank.train.report import TrainingReport
from late_rerank.train.resume import Unfinished, check_out


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

    An interrupted call leaves its rows and its checkpoints in `out`. Called again with the same arguments it goes on.

    Args:
        retriever: A first stage over the corpus, with ids. It gives hard negatives, and the candidates of `held_out`.
        examples: Queries with the documents that answer them.
        out: A folder, new or empty, for the model: `Reranker(model=out)` loads it, and so does sentence-transformers.
        recipe: How; None for the defaults.
        held_out: Queries that the model is measured on before and after; None to measure nothing.
        data: The name of the examples, for the model's card.
        store: Where the token vectors of the model before training are kept; None for nowhere.
        device: A torch device; None for the fastest there is.
        progress: Show bars on stderr, if that is a terminal.

    Raises:
        ValueError: If the data can't work (too few pairs, most of them held out, no other documents), or `out` holds
            something else.
        ModelError: If the model can't be found.
        MissingDependencyError: If a package of the extra `train` isn't installed, or with `held_out` one of `eval`.
    """
    recipe, out = recipe or Recipe(), Path(out)
    check_out(out)
    examples = checked_examples(examples, [] if held_out is None else held_out.texts())
    check_packages(recipe)
    if held_out is not None:
        check_measures()
    unfinished, timer = Unfinished.begin(out, recipe, examples), Timer(("mining", "measuring"))
    run = {} if held_out is None else held_out.candidates(retriever, progress=progress)
    # Without a bound: evicted vectors would be encoded again before they are scored.
    with Reranker(recipe.model, store=MemoryStore(max_bytes=None) if store is None else store, device=device) as reranker:
        model = TunableModel(recipe, device)  # before minutes of mining: a wrong model fails here
        rows = unfinished.rows()
        if rows is None:
            with timer.stage("mining"):
                rows = mine(reranker, retriever, examples, recipe, progress=progress)
            unfinished.keep_rows(checked_rows(rows, examples, recipe.n_negatives))
        fitted = fit(model, rows, unfinished, out, progress=progress)
        with timer.stage("measuring"):
            measured = {} if held_out is None else _measured(reranker, out, run, held_out, progress=progress)
    report = TrainingReport(
        recipe=recipe,
        data=data,
        n_queries=len({row.query for row in rows}),
        n_pairs=len(rows) // recipe.epochs,
        n_rows=len(rows),
        losses=fitted.losses,
        method=fitted.method,
        device=fitted.device,
        seconds={**{name: ms / 1000 for name, ms in timer.ms.items()}, "training": fitted.seconds},
        held_out=held_out,
        unseen=held_out.unseen(run, rows) if held_out else (),
        **measured,
    )
    write_card(out, report.to_dict())
    unfinished.remove()
    return report


def _measured(before: Reranker, out: Path, run: Run, held_out: HeldOut, *, progress: bool) -> dict[str, Evaluation]:
    """Measure the model as it was ("before") and the adapted one ("after") on the same candidates."""
    with Reranker(str(out), store=MemoryStore(max_bytes=None), device=before.arguments["device"]) as after:
        both = {"before": before, "after": after}
        return {name: held_out.evaluate(reranker, run, progress=progress) for name, reranker in both.items()}
