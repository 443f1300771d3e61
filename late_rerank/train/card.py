"""The card of an adapted model: README.md for people, training.json for programs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from late_rerank.encode.builtin import BUILT_IN
from late_rerank.train.recipe import Recipe

_MINILM_ON_THE_HUB = "sentence-transformers/all-MiniLM-L6-v2"

_CARD = """---
tags: [late-interaction, colbert, reranking, sentence-transformers, late-rerank]
{base}pipeline_tag: sentence-similarity
---

# {name}

A late-interaction reranker: {model} adapted to {data} by [late-rerank](https://pypi.org/project/late-rerank/).

```python
from late_rerank import Reranker

ranked = Reranker(model="{name}").rerank("query", ["text a", "text b"])  # the folder, wherever it lies
```

## Training

- Data: {data}; {n_queries} queries, {n_pairs} pairs of a query and a document that answers it, {n_rows} rows with hard
  negatives.
- Method: {method}{projected}; {epochs} epochs of batches of {batch_size}, learning rate {rate:g}, seed {seed}, {kept:.0%}
  of the change kept. Softmax over mean MaxSim times {scale:g}, of each query's document among its {n_negatives} hard negatives
  and the documents of the batch{taught}.
- Cost: {minutes:.0f} minutes on {device}.
- Licence: that of the base model, and whatever the data asks for. Don't publish weights that were trained on data whose licence
  forbids it.

## Measured

{figures}

Everything above is also in `training.json`.
"""

_TAUGHT = """; and {distil:g} times the divergence from what the model as it was, together with the first stage, gives a query's
  own documents, of which those that it puts above the answer are no negatives"""

_FIGURES = """On {data}, {n_queries} queries that were not trained on, the same candidates reranked before and after:

| | first stage | {model} | adapted | change | 95 % range | p |
|---|---|---|---|---|---|---|
{rows}

{unseen}
"""

_UNSEEN = """Of the relevant documents some answered other queries in training. On the {n_queries} queries of which none did,
nDCG@10 changed by {change:+.4f} ({low:+.4f} to {high:+.4f})."""


def write_card(folder: Path, report: dict[str, Any]) -> None:
    """Write both files into the model's folder.

    Args:
        folder: The model's.
        report: As `TrainingReport.to_dict` gives it.
    """
    (folder / "training.json").write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    recipe, held_out = report["recipe"], report["held_out"]
    card = _CARD.format(
        **{**recipe, "method": report["method"]},
        rate=Recipe(**recipe).peak_learning_rate,
        projected=f", projected to {recipe['dim']} components" if recipe["dim"] else "",
        taught=_TAUGHT.format(**recipe) if recipe["distil"] else "",
        base=_base(recipe["model"]),
        name=folder.resolve().name,
        data=report["data"],
        n_queries=report["n_queries"],
        n_pairs=report["n_pairs"],
        n_rows=report["n_rows"],
        minutes=report["seconds"]["training"] / 60,
        device=report["device"],
        figures=_figures(recipe["model"], held_out) if held_out else "Not measured: no queries were held out.",
    )
    (folder / "README.md").write_text(card, encoding="utf-8")


def _base(model: str) -> str:
    """Name the base model, unless it is a local folder."""
    name = _MINILM_ON_THE_HUB if model in BUILT_IN else model
    return "" if Path(model).is_dir() else f"base_model: {name}\n"


def _figures(model: str, held_out: dict[str, Any]) -> str:
    measures, rows = held_out["measures"], []
    for name, change in held_out["differences"].items():
        figures = [measures[run][name] for run in ("first_stage", "before", "after")]
        cells = [name, *(f"{figure:.4f}" for figure in figures), f"{change['mean']:+.4f}"]
        rows.append("| " + " | ".join([*cells, f"{change['low']:+.4f} to {change['high']:+.4f}", f"{change['p']:.4f}"]) + " |")
    table = {"data": held_out["data"], "n_queries": held_out["n_queries"], "model": model, "rows": "\n".join(rows)}
    return _FIGURES.format(**table, unseen=_unseen(held_out)).strip()


def _unseen(held_out: dict[str, Any]) -> str:
    """Give the change on queries of which training showed no answer, where that is only a part of them."""
    unseen = held_out["documents_not_trained_on"]
    if not 0 < unseen["n_queries"] < held_out["n_queries"]:
        return ""
    change = unseen["differences"]["nDCG@10"]
    return _UNSEEN.format(n_queries=unseen["n_queries"], change=change["mean"], low=change["low"], high=change["high"])
