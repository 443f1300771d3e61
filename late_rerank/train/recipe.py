"""How a model is adapted: everything that decides what comes out, beside the data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Recipe:
    """The defaults suit a few thousand pairs and LoRA.

    Attributes:
        model: What is adapted: "minilm", a folder or a hub name.
        method: "lora" trains small matrices beside each linear layer (less memory, less forgetting); "full" every weight.
        rank: Of LoRA's matrices.
        epochs: How often each pair is seen, each time with negatives drawn anew.
        batch_size: Pairs a step; each query also tells its document from the others of the batch.
        n_negatives: Hard negatives a pair, mined from the corpus.
        negatives_from: They are drawn from so many of the corpus's best documents for the query that aren't among its own.
        learning_rate: At its peak; it rises over the first tenth of the steps and falls to nothing. None for .0005 with LoRA,
            .00005 for every weight.
        scale: Mean MaxSim, which lies between 0 and 1, times this is what softmax sees.
        precision: Of the forward pass: "bfloat16" takes half the time where the processor or GPU has it; "auto" asks.
        document_tokens: Documents are cut here while training; the model that comes out reads them whole.
        seed: Of everything drawn by chance.
    """

    model: str = "minilm"
    method: Literal["lora", "full"] = "lora"
    rank: int = 16
    epochs: int = 3
    batch_size: int = 16
    n_negatives: int = 2
    negatives_from: int = 30
    learning_rate: float | None = None
    scale: float = 25.0
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    document_tokens: int = 192
    seed: int = 0

    def __post_init__(self) -> None:
        if self.method not in ("lora", "full"):
            raise ValueError(f'method must be "lora" or "full", got {self.method!r}')
        if self.precision not in ("auto", "float32", "bfloat16"):
            raise ValueError(f'precision must be "auto", "float32" or "bfloat16", got {self.precision!r}')
        for name in ("rank", "epochs", "batch_size", "n_negatives", "negatives_from", "document_tokens"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)!r}")
        if self.batch_size < 2:
            raise ValueError(
                f"batch_size must be at least 2: one query has no other's document to tell from, got {self.batch_size}"
            )
        if self.n_negatives > self.negatives_from:
            raise ValueError(f"n_negatives, {self.n_negatives}, must not be above negatives_from, {self.negatives_from}")
        for name, value in (("learning_rate", self.peak_learning_rate), ("scale", self.scale)):
            if not 0 < value < float("inf"):
                raise ValueError(f"{name} must be a positive number, got {value!r}")

    @property
    def peak_learning_rate(self) -> float:
        """As given, or what suits the method."""
        if self.learning_rate is not None:
            return self.learning_rate
        return 5e-4 if self.method == "lora" else 5e-5
