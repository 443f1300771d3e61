"""How a query encoder is distilled: everything beside the texts that decides the result."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from late_rerank.arguments.numbers import whole_number
from late_rerank.encode.query_side.names import FAST, FULL

_PRECISIONS = ("auto", "float32", "bfloat16")
_COUNTS = ("steps", "tokens_per_step", "queries_per_step", "texts_per_round", "n_held_out")
_RATE, _HIDDEN_SIZE = 1e-3, 384
_GOING_ON = 0.2  # of the rate, for a student that is near its teacher already


@dataclass(frozen=True)
class DistilRecipe:
    """The defaults were chosen on "minilm", by development queries of four collections.

    Attributes:
        layers: The teacher's layers that the student begins with, ascending; the first layer is 0. None for the first, the
            middle and the last of four or more; for the first and the last of three, and in ModernBERT.
        width: Neurons that each feed-forward part keeps, those with the largest weights. None for half of them, or for all in
            ModernBERT, whose parts have gates.
        correction: Each word's embedding is corrected by so many trained numbers, times one trained map; 0 for no correction.
            The correction is added into the embeddings in the end. At most as many as an embedding has components. None for
            128, or fewer where the vocabulary has more than 62,500 tokens: at most 8 million numbers in all.
        begin_with: A query encoder of the same teacher, whose weights the student begins with: "fast" or a folder. The
            student then has as many layers and neurons, and of its correction what the rank holds. None to begin with the
            teacher's own layers.
        steps: The training ends after so many steps.
        minutes: The training ends after so many minutes, if that comes first. Measuring before and after isn't counted.
        tokens_per_step: A step takes as many texts of about one length as have so many tokens.
        queries_per_step: A step takes at most so many texts.
        texts_per_round: Texts are drawn, sorted by length and cut into steps so many at a time.
        learning_rate: At its peak. None for .001 where token vectors have up to 384 components inside the transformer, and for
            less in proportion where they have more; a fifth of it where the student begins with a query encoder, which a few
            hundred steps of more make worse.
        warm_up: The learning rate rises over so many steps, or over a tenth of all steps if these are fewer.
        decay: The learning rate falls to 0 over this share of the training, at its end; 1 for all of it.
        averaged: Every ten steps the average of the weights moves by this share to the weights; by more at the beginning.
            Of the average and the last weights, those are kept that are nearer to the teacher on held-out texts.
        n_held_out: So many texts are measured on and never trained on; at most a tenth of all.
        precision: Of the forward pass: "bfloat16" takes half the time where the processor or GPU has it; "auto" uses it there.
        seed: Of everything drawn by chance.
    """

    layers: tuple[int, ...] | None = None
    width: int | None = None
    correction: int | None = None
    begin_with: str | Path | None = None
    steps: int = 10_000
    minutes: float | None = None
    tokens_per_step: int = 2000
    queries_per_step: int = 256
    texts_per_round: int = 6000
    learning_rate: float | None = None
    warm_up: int = 300
    decay: float = 1.0
    averaged: float = 0.01
    n_held_out: int = 1000
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.precision not in _PRECISIONS:
            raise ValueError(f"precision must be one of {', '.join(_PRECISIONS)}, got {self.precision!r}")
        for name in _COUNTS:
            self._set(name, whole_number(name, getattr(self, name)))
        for name in ("warm_up", "seed"):
            self._set(name, whole_number(name, getattr(self, name), 0))
        self._set("width", whole_number("width", self.width, or_none="for half of the model's neurons"))
        self._set("correction", whole_number("correction", self.correction, 0, or_none="for 128, or fewer"))
        self._set("layers", checked_layers(self.layers))
        if self.begin_with is not None:
            self._set("begin_with", _checked_start(self.begin_with))
        for name in ("decay", "averaged"):
            _check_number(name, getattr(self, name), "above 0 and at most 1", 1.0)
        for name in ("minutes", "learning_rate"):
            if getattr(self, name) is not None:
                _check_number(name, getattr(self, name), "a positive number", sys.float_info.max)

    def _set(self, name: str, value: object) -> None:
        """Set a checked number, as Python's own: NumPy's can't be written as JSON."""
        object.__setattr__(self, name, value)

    def peak_learning_rate(self, hidden_size: int) -> float:
        """Give the learning rate at its peak, for a transformer whose token vectors have so many components inside it."""
        if self.learning_rate is not None:
            return self.learning_rate
        share = 1.0 if self.begin_with is None else _GOING_ON
        return _RATE * share * min(1.0, _HIDDEN_SIZE / hidden_size)

    def done(self, step: int, seconds: float) -> float:
        """Give the share of the training that is done, 1 at its end.

        Args:
            step: Steps so far.
            seconds: The training's time so far, before interruptions too.
        """
        by_time = 0.0 if self.minutes is None else seconds / (60 * self.minutes)
        return min(1.0, max(step / self.steps, by_time))

    def rate(self, step: int, done: float) -> float:
        """Give a step's learning rate as a share of its peak.

        Args:
            step: Steps before this one.
            done: The share of the training that is done.
        """
        warm_up = min(self.warm_up, self.steps // 10)
        rise = (step + 1) / warm_up if warm_up else 1.0
        return min(1.0, rise) * min(1.0, (1 - done) / self.decay)


def checked_layers(layers: object) -> tuple[int, ...] | None:
    """Check numbers of layers; None stays None.

    Raises:
        TypeError: If one is no whole number.
        ValueError: If they aren't ascending, or there are none.
    """
    if layers is None:
        return None
    found = [whole_number("a layer's number", layer, 0) for layer in layers] if isinstance(layers, (list, tuple)) else []
    if not found or found != sorted({*found}):
        raise ValueError(f"layers must be numbers of layers from 0, ascending, each once, got {layers!r:.60}")
    return tuple(found)


def _checked_start(given: object) -> str:
    if not isinstance(given, (str, Path)) or str(given).strip() in ("", FULL):
        raise ValueError(f'begin_with must be "{FAST}", the folder of a query encoder, or None, got {given!r:.60}')
    return str(given)


def _check_number(name: str, value: object, expected: str, most: float) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise TypeError(f"{name} must be {expected}, got {value!r:.60}")
    if not 0 < value <= most:
        raise ValueError(f"{name} must be {expected}, got {value!r}")
