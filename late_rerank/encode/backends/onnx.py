"""ONNX Runtime, in float32."""

from __future__ import annotations

import platform
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from late_rerank.encode.backends.run import FEW_TOKENS, Run
from late_rerank.encode.backends.threads import n_threads
from late_rerank.encode.backends.unreported_onnx import ort
from late_rerank.encode.compiled.format import Compiled
from late_rerank.encode.compiled.kept import without_links
from late_rerank.encode.files import file_state
from late_rerank.processes.forks import guarded, keep_for_good, lost_threads, watch
from late_rerank.types import F32

VERSION = ort.__version__
_ERRORS_ONLY = 3


def precisions() -> tuple[str, ...]:
    """Name the precisions that ONNX Runtime computes in: float32 alone."""
    return ("f32",)


def processor() -> str:
    """Name the kind of processor, on which float32's last digits depend."""
    return platform.machine()


def load(compiled: Compiled, precision: str, output: str = "vectors") -> Run:  # noqa: ARG001 - there is one precision
    """Load an engine for a compiled model.

    Args:
        compiled: The model.
        precision: The only one of `precisions`.
        output: Which of the graph's outputs it gives.
    """
    return _Sessions(without_links(compiled), output)


class _Sessions:
    """A Run of two sessions: one thread for a few tokens, all threads for many.

    A session of one thread survives a fork: children share its memory with their parent. In a child it runs everything.
    """

    def __init__(self, compiled: Compiled, output: str) -> None:
        # As bytes: weights are then looked for in the folder that is named, wherever the graph lies.
        self._graph = compiled.graph.read_bytes()
        self._weights = compiled.weights
        self._before = _state(self._weights)
        self._output = output
        self._alone = self._session(1)
        self._all: Any = None
        self._loading = guarded(Lock())
        watch(self)

    def __call__(self, ids: NDArray[np.int64], mask: NDArray[np.int64]) -> F32:
        few = ids.size <= FEW_TOKENS or lost_threads()
        session = self._alone if few else self._session_of_all()
        found: F32 = session.run([self._output], {"input_ids": ids, "attention_mask": mask})[0]
        return found

    def after_fork(self) -> None:
        """Leave the session whose threads only the parent has. Freeing it would wait for them."""
        keep_for_good(self._all)

    def _session_of_all(self) -> Any:
        """Give the session of all threads, made when it is needed first: processes that ask queries alone have none."""
        if self._all is None:
            with self._loading:
                if self._all is None:  # unless another thread was first
                    most = n_threads()
                    # Weights that were removed or replaced meanwhile would be a model of two halves.
                    is_same = most > 1 and _state(self._weights) == self._before
                    self._all = self._session(most) if is_same else self._alone
        return self._all

    def _session(self, n_threads: int) -> Any:
        options = ort.SessionOptions()
        options.intra_op_num_threads = n_threads
        options.inter_op_num_threads = 1
        options.log_severity_level = _ERRORS_ONLY
        # Threads that spin while they wait would take the processor from other work.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(self._weights.parent))
        return ort.InferenceSession(self._graph, options, providers=["CPUExecutionProvider"])


def _state(file: Path) -> tuple[int, ...] | None:
    """Give a file's state; None where there is none."""
    try:
        return file_state(file.stat())
    except OSError:
        return None
