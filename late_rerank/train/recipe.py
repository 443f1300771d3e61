"""How a model is adapted: everything beside the data that decides the result."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

_KNOWN = {"method": ("lora", "full"), "precision": ("auto", "float32", "bfloat16")}
_COUNTS = ("rank", "dim", "epochs", "batch_size", "documents_per_query", "n_negatives", "negatives_from", "document_tokens")


@dataclass(frozen=True)
class Recipe:
    """The defaults were chosen for about a thousand pairs, on queries held out of SciFact's train split.

    Attributes:
        model: The model to adapt: "minilm", a folder or a hub name.
        method: "lora" trains small matrices beside each linear layer (less memory, less forgetting); "full" every weight.
        rank: Of LoRA's matrices.
        dim: Components of a token vector; None for as many as the model has. Fewer come from a projection that is trained too.
            It begins with the directions in which the corpus's token vectors differ most (PCA).
        shorter: Numbers of components, below the model's or `dim`. The first so many components of a token vector are trained
            to rank by themselves too, so that the model can be cut to them.
        epochs: How often each query is seen, each time with newly drawn negatives.
        batch_size: Pairs a step; each query also tells its document from the other documents of the batch.
        documents_per_query: The most of a query's own documents that are shown an epoch, drawn by chance.
        n_negatives: Hard negatives a pair, mined from the corpus.
        negatives_from: Negatives are drawn from so many of the corpus's best documents for the query that aren't its own, and
            from the documents that were judged not to answer it.
        learning_rate: At its peak; it rises over the first tenth of the steps and falls to 0. None for .0004 with LoRA,
            .00005 for every weight.
        kept: The share of the change that is kept: the result lies between the model before training (0) and after it (1).
            Halfway it forgets less of its earlier knowledge, and depends less on the seed.
        distil: The weight of keeping to a teacher's scores of each query's documents, beside the weight 1 of telling the answer
            from other documents. The teacher is the model before training together with the first stage, which is better than
            either alone. For data whose judgements miss many answers: a document that the teacher takes for an answer is no
            negative.
        scale: Factor of mean MaxSim (0 to 1) before the softmax.
        precision: Of the forward pass: "bfloat16" takes half the time where the processor or GPU has it; "auto" uses it there.
        document_tokens: Documents are cut here in training; the resulting model reads them whole.
        seed: Of everything drawn by chance.
    """

    model: str = "minilm"
    method: Literal["lora", "full"] = "lora"
    rank: int = 16
    dim: int | None = None
    shorter: tuple[int, ...] = ()
    epochs: int = 2
    batch_size: int = 16
    documents_per_query: int = 5
    n_negatives: int = 3
    negatives_from: int = 30
    learning_rate: float | None = None
    kept: float = 0.5
    distil: float = 0.0
    scale: float = 25.0
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    document_tokens: int = 256
    seed: int = 0

    def __post_init__(self) -> None:
        for name, known in _KNOWN.items():
            if getattr(self, name) not in known:
                raise ValueError(f"{name} must be one of {', '.join(known)}, got {getattr(self, name)!r}")
        for name in _COUNTS:
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)!r}")
        if self.batch_size < 2:
            raise ValueError(
                f"batch_size must be at least 2: a single query has no other's document to be told from, got {self.batch_size}"
            )
        if not 0 < self.kept <= 1:
            raise ValueError(f"kept must be above 0 and at most 1, got {self.kept!r}")
        if self.n_negatives > self.negatives_from:
            raise ValueError(f"n_negatives, {self.n_negatives}, must not be above negatives_from, {self.negatives_from}")
        if any(not 1 <= n < (self.dim or n + 1) for n in self.shorter):
            raise ValueError(f"shorter must be numbers of components from 1 to below dim, got {self.shorter!r}")
        self._check_numbers()

    def _check_numbers(self) -> None:
        if not 0 <= self.distil < float("inf"):
            raise ValueError(f"distil must be 0 or a positive number, got {self.distil!r}")
        for name, value in (("learning_rate", self.peak_learning_rate), ("scale", self.scale)):
            if not 0 < value < float("inf"):
                raise ValueError(f"{name} must be a positive number, got {value!r}")

    @property
    def peak_learning_rate(self) -> float:
        """Give the learning rate, or the method's default."""
        if self.learning_rate is not None:
            return self.learning_rate
        return 4e-4 if self.method == "lora" else 5e-5
