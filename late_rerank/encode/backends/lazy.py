"""An engine that is loaded when it is needed first: a process whose store holds all documents needs none for them."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from late_rerank.encode.backends.choosing import UnfitError
from late_rerank.encode.backends.run import Run
from late_rerank.encode.model import BackendFacts
from late_rerank.errors import ModelError
from late_rerank.processes.forks import engine_call, guarded
from late_rerank.types import F32


class LazyEngine:
    """Runs a model by an engine that is chosen and loaded at the first call, and describes it. Safe to share between threads.

    Torch doesn't take the engine's place where none runs the model: that is known with the first document.

    Args:
        model: The model's name, for errors.
        choose: Chooses an engine and loads it.
        first: The name of the engine that is tried first.
        remedy: What a user may do where no engine runs the model, for errors; empty if nothing.
    """

    def __init__(self, model: str, choose: Callable[[], tuple[Run, BackendFacts]], first: str, remedy: str = "") -> None:
        self._model = model
        self._choose = choose
        self._first = first
        self._remedy = remedy
        self._chosen: tuple[Run, BackendFacts] | None = None
        self._loading = guarded(Lock())

    def __call__(self, ids: NDArray[np.int64], mask: NDArray[np.int64]) -> F32:
        return self._loaded()[0](ids, mask)

    @property
    def name(self) -> str:
        """The engine's name; before it is loaded, the one that is tried first. Another may be chosen then."""
        return self._first if self._chosen is None else self._chosen[1].name

    @property
    def precision(self) -> str:
        """As in `Backend`. Loads the engine."""
        return self._loaded()[1].precision

    @property
    def least_cosine(self) -> float:
        """As in `Backend`. Loads the engine."""
        return self._loaded()[1].least_cosine

    @property
    def reason(self) -> str:
        """As in `Backend`. Loads the engine."""
        return self._loaded()[1].reason

    def _loaded(self) -> tuple[Run, BackendFacts]:
        """Give the engine, loaded now if it wasn't.

        Raises:
            ModelError: If no engine runs the model.
        """
        if self._chosen is None:
            with engine_call(), self._loading:  # a fork waits for the call, and finds the lock free
                if self._chosen is None:  # unless another thread was first
                    try:
                        self._chosen = self._choose()
                    except UnfitError as error:
                        raise ModelError(f"no engine here runs {self._model}: {error}{self._remedy}") from error
        return self._chosen
