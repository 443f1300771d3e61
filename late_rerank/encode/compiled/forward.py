"""Inputs -> the token vectors that count, by a compiled model's graph. No torch here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from late_rerank.encode.backends.run import Run
from late_rerank.encode.base import Kind
from late_rerank.encode.compiled.pooling import Pooling, unit
from late_rerank.encode.inputs import Inputs
from late_rerank.processes.forks import engine_call
from late_rerank.types import F32

POOLING, NORMALIZE = "pooling", "normalize"


@dataclass(frozen=True)
class GraphForward:
    """Runs a compiled model. Safe to call from several threads.

    Attributes:
        run: The engine.
        steps: What happens to each text's vectors after it, in order. A Pooling leaves other kinds of texts alone.
    """

    run: Run
    steps: Sequence[Callable[[F32], F32]] = ()

    def __call__(self, inputs: Inputs, kind: Kind) -> list[F32]:
        """Give the vectors that count, L2-normalised: for each text (n_counted, dim) float32; fewer where the model pools."""
        with engine_call():
            vectors = self.run(inputs.ids, inputs.mask)
        rows = [row[counted] for row, counted in zip(vectors, inputs.counted, strict=True)]
        for step in self.steps:
            if not isinstance(step, Pooling) or kind in step.kinds:
                rows = [step(row) for row in rows]
        return rows

    def unpooled(self) -> GraphForward:
        """Run the same model without its pooling; both share the engine."""
        return replace(self, steps=[step for step in self.steps if not isinstance(step, Pooling)])


def steps_of(given: Sequence[Mapping[str, Any]]) -> list[Callable[[F32], F32]]:
    """Read `Description.steps`."""
    return [_step(**step) for step in given]


def _step(step: str, **settings: Any) -> Callable[[F32], F32]:
    return unit if step == NORMALIZE else Pooling(**{**settings, "kinds": tuple(settings["kinds"])})
