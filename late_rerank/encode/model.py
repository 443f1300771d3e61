"""Model: what a TextEncoder runs, whatever runs it. No torch here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from late_rerank.encode.base import Kind
from late_rerank.encode.inputs import Inputs
from late_rerank.encode.layout import Layout
from late_rerank.types import F32


class Forward(Protocol):
    """Runs a model. Safe to call from several threads."""

    def __call__(self, inputs: Inputs, kind: Kind) -> list[F32]:
        """Give the vectors that count, L2-normalised: for each text (n_counted, dim) float32; fewer where the model pools."""

    def unpooled(self) -> Forward:
        """Run the same model without its pooling; both share the weights."""


class BackendFacts(Protocol):
    """What is known of the engine that runs a model: a Backend tells it, or an engine that isn't loaded yet."""

    @property
    def name(self) -> str:
        """As in `Backend`."""

    @property
    def precision(self) -> str:
        """As in `Backend`."""

    @property
    def least_cosine(self) -> float:
        """As in `Backend`."""

    @property
    def reason(self) -> str:
        """As in `Backend`."""


@dataclass(frozen=True)
class Backend:
    """What runs a model.

    Attributes:
        name: "torch", "openvino" or "onnx".
        precision: The precision that it computes in: "f32" or "bf16".
        least_cosine: The lowest cosine to torch's among the token vectors that were tried.
        reason: Why this backend was chosen.
    """

    name: str
    precision: str
    least_cosine: float
    reason: str


@dataclass(frozen=True)
class QuerySide:
    """A query encoder that is ready: it encodes queries in a model's place.

    Attributes:
        name: As the user named it: "fast", or a folder's path.
        fingerprint: Digest of all that changes query vectors.
        forward: What runs it.
        backend: What runs it, in words.
        described: What `doctor` shows of it. JSON values.
    """

    name: str
    fingerprint: str
    forward: Forward
    backend: Backend
    described: Mapping[str, Any]


@dataclass(frozen=True)
class Model:
    """A model that is ready to encode.

    Attributes:
        layout: How texts become ids.
        queries: Queries -> what the model is given, and which of them were cut.
        forward: What runs it.
        dim: Components of a token vector.
        fingerprint: Digest of all that changes document vectors by more than rounding.
        backend: What runs it, in words.
        device: The device on which it runs.
        format: The format of its files; "built in" for a built-in model.
        notes: What else `doctor` shows. JSON values.
        pooling: How many token vectors of a document become one, by the user's pooling or the checkpoint's own; 1 if none are
            merged.
        compiled: The folder of the compiled model that runs; None where torch does.
        plain_fingerprint: Gives the fingerprint of the model as it is: without a cap on its documents, and without pooling that
            its user asks for. A query encoder names the model by it.
        query_side: What encodes queries in this model's place; None if this model encodes them itself.
    """

    layout: Layout
    queries: Callable[[Sequence[str]], tuple[Inputs, list[bool]]]
    forward: Forward
    dim: int
    fingerprint: str
    backend: BackendFacts
    device: str
    format: str
    notes: Mapping[str, Any]
    plain_fingerprint: Callable[[], str]
    pooling: float = 1
    compiled: Path | None = None
    query_side: QuerySide | None = None

    @property
    def query_forward(self) -> Forward:
        """What runs queries."""
        return self.forward if self.query_side is None else self.query_side.forward

    @property
    def query_fingerprint(self) -> str:
        """Digest of what makes query vectors: the model's own fingerprint if it encodes its queries itself."""
        return self.fingerprint if self.query_side is None else self.query_side.fingerprint

    def unpooled(self) -> Model:
        """Give the same model before its token pooling; both share the weights, and the query encoder."""
        return replace(
            self,
            layout=replace(self.layout, pooled=frozenset()),
            forward=self.forward.unpooled(),
            fingerprint=f"{self.fingerprint}-unpooled",
            pooling=1,
        )
