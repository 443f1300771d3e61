"""Rows -> a model's folder: what every training does between its data and its report; goes on after an interruption."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from late_rerank.train.negatives import Row
from late_rerank.train.recipe import Recipe
from late_rerank.train.training import Trained, train
from late_rerank.train.tunable import TunableModel
from late_rerank.train.unfinished import Unfinished, is_unfinished

UNFINISHED = "checkpoints"
"""Where, in the folder of a model, the training is that makes it."""
_PROJECTED_FROM = 200


class Fitted(NamedTuple):
    """A training that is done.

    Attributes:
        rows: What it was trained on.
        trained: How it went.
        method: What was trained, in words.
        device: On what.
    """

    rows: list[Row]
    trained: Trained
    method: str
    device: str


def check_out(folder: Path) -> None:
    """See to it that a model can be written there.

    Raises:
        ValueError: The folder holds something that isn't a training to go on with.
    """
    if is_unfinished(folder / UNFINISHED) or not folder.exists():
        return
    if not folder.is_dir() or any(folder.iterdir()):
        raise ValueError(f"{folder} holds something already; give a new or an empty folder")


def fit(
    mined: Callable[[], list[Row]],
    unfinished: Unfinished,
    folder: Path,
    recipe: Recipe,
    *,
    device: str | None = None,
    progress: bool = False,
) -> Fitted:
    """Train on rows and write the model.

    Args:
        mined: Gives the rows; not asked again by a training that goes on.
        unfinished: In `folder`, at `UNFINISHED`: what the training would go on from.
        folder: Where the model is written.
        recipe: How.
        device: A torch device; None for the fastest there is.
        progress: Show a bar on stderr, if that is a terminal.

    Raises:
        ValueError: The model has no more components than the recipe's `dim`.
        ModelError: The model can't be found.
        ImportError: A package is missing that `check_packages` asks for.
    """
    tunable = TunableModel(recipe, device)
    rows = unfinished.rows(mined)
    tunable.project(_some_texts(rows))
    trained = train(tunable, rows, recipe, unfinished, progress=progress)
    method, trained_on = tunable.method, str(tunable.encoder.device)
    tunable.save(folder)
    return Fitted(rows, trained, method, trained_on)


def _some_texts(rows: Sequence[Row]) -> list[str]:
    """Queries and documents, of rows drawn by chance."""
    some = random.Random(0).sample(rows, min(_PROJECTED_FROM, len(rows)))
    return [text for row in some for text in (row.query, row.positive, row.negatives[0])]
