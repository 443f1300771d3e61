"""The card of a query encoder: README.md for people, training.json for programs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from late_rerank.encode.query_side.names import FAST

COSINE_COLUMNS = ("", "texts", "untrained", "trained")
RANKING_COLUMNS = ("", "queries", "first stage", "full", "untrained", "trained", "change", "95 % range")

_CARD = """---
tags: [late-interaction, colbert, reranking, late-rerank]
---

# {name}

A small query encoder for {model}, made by [late-rerank](https://pypi.org/project/late-rerank/): {n_layers} of the model's
{n_teacher_layers} layers. It encodes queries alone. Documents are the model's own, so a store serves both.

```python
from late_rerank import Reranker

ranked = Reranker({model!r}, query_encoder="{name}").rerank("query", ["text a", "text b"])  # the folder, wherever it lies
```

## Training

- Data: {data}; {texts}.
- Method: it began with {beginning}, with {width:,} neurons in each feed-forward part{corrected}. Each query token's vector
  learns to point where the model's own does; rare words count more. {n_steps:,} steps of some {tokens} tokens, seed {seed};
  weights: {kept}.
- Cost: {minutes:.0f} minutes on {device}.
- Licence: that of the model, and whatever the data asks for. Don't publish weights that were trained on data whose licence
  forbids it.

## Measured

The mean cosine of a query token's vector to the model's own, on texts that were not trained on:

{cosines}
{ranking}
One query takes {fast} ms instead of {full}, on the machine that trained.

Everything above is also in `training.json`.
"""

_RANKING = """
nDCG@10 over the same candidates, queries that were not trained on:

{rows}
"""


def card_files(name: str, report: Mapping[str, Any]) -> dict[str, str]:
    """Write both texts.

    Args:
        name: The folder's.
        report: As `DistilReport.to_dict` gives it.

    Returns:
        File's name -> its text.
    """
    recipe, training, measured = report["recipe"], report["training"], report["measured"]
    card = _CARD.format(
        name=name,
        # A folder's path means nothing elsewhere.
        model=Path(report["model"]).name if Path(report["model"]).is_dir() else report["model"],
        n_layers=report["n_layers"],
        n_teacher_layers=report["n_teacher_layers"],
        data=report["data"],
        texts=", ".join(f"{n:,} {kind}" for kind, n in report["n_texts"].items() if n),
        beginning=_beginning(report),
        width=report["width"],
        corrected=f", and word embeddings with a correction of rank {report['correction']}" if report["correction"] else "",
        n_steps=training["n_steps"],
        tokens=f"{recipe['tokens_per_step']:,}",
        seed=recipe["seed"],
        kept="the running average" if training["kept"] == "average" else "the last",
        minutes=training["seconds"] / 60,
        device=report["device"],
        cosines=_table(COSINE_COLUMNS, cosine_rows(measured)),
        ranking=_ranking(measured),
        full=measured["query_ms"]["full"],
        fast=measured["query_ms"]["trained"],
    )
    return {"README.md": card, "training.json": json.dumps(report, indent=1, ensure_ascii=False) + "\n"}


def cosine_rows(measured: Mapping[str, Any]) -> list[list[str]]:
    """Give the rows of a table of `COSINE_COLUMNS`.

    Args:
        measured: As `Measured.to_dict` gives it.
    """
    found = measured["token_cosine"].items()
    return [[kind, f"{each['n_texts']:,}", f"{each['untrained']:.4f}", f"{each['trained']:.4f}"] for kind, each in found]


def ranking_rows(measured: Mapping[str, Any]) -> list[list[str]]:
    """Give the rows of a table of `RANKING_COLUMNS`, none without development queries.

    Args:
        measured: As `Measured.to_dict` gives it.
    """
    rows = []
    for name, found in measured["ndcg"].items():
        figures = [f"{found[column]:.4f}" for column in ("first_stage", "full", "untrained", "trained")]
        change = found["change"]
        spread = f"{change['low']:+.4f} to {change['high']:+.4f}"
        rows.append([name, str(found["n_queries"]), *figures, f"{change['mean']:+.4f}", spread])
    return rows


def _beginning(report: Mapping[str, Any]) -> str:
    name = report["recipe"]["begin_with"]
    if name is not None:
        return f"the query encoder {name if name == FAST else Path(name).expanduser().resolve().name}"
    return f"layers {', '.join(map(str, report['layers']))} of the model"


def _ranking(measured: Mapping[str, Any]) -> str:
    rows = ranking_rows(measured)
    return _RANKING.format(rows=_table(RANKING_COLUMNS, rows)) if rows else ""


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join("| " + " | ".join(row) + " |" for row in (columns, ["---"] * len(columns), *rows))
