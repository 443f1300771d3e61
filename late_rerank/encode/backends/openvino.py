"""OpenVINO: bfloat16 where the processor computes in it, else float32."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from late_rerank.encode.backends.own import OwnEngine
from late_rerank.encode.backends.run import FEW_TOKENS, Run
from late_rerank.encode.backends.threads import n_threads
from late_rerank.encode.backends.unreported import ov
from late_rerank.encode.compiled.format import Compiled
from late_rerank.encode.compiled.kept import side_by_side
from late_rerank.processes.forks import keep_in_children
from late_rerank.types import F32

VERSION = ov.__version__.split("-")[0]


# The process's only Core. Each Core gives the thread a signal stack, and takes it away when the Core is freed. With two Cores,
# the thread ends with a stack that is already freed, and the next Ctrl-C crashes the process (OpenVINO 2026.4).
_CORE = ov.Core()
keep_in_children(_CORE)


def precisions() -> tuple[str, ...]:
    """Name the precisions that OpenVINO computes in on this processor, fastest first."""
    fast = "BF16" in _CORE.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return ("bf16", "f32") if fast else ("f32",)


def processor() -> str:
    """Name the processor, on which the sums in bfloat16 depend."""
    return f"{_CORE.get_property('CPU', 'FULL_DEVICE_NAME')} {_CORE.get_property('CPU', 'OPTIMIZATION_CAPABILITIES')}"


def load(compiled: Compiled, precision: str) -> Run:
    """Load an engine for a compiled model. Every forked child loads its own.

    Args:
        compiled: The model.
        precision: One of `precisions`.
    """
    return OwnEngine(partial(_load, side_by_side(compiled).graph, precision))


def _load(graph: Path, precision: str) -> Run:
    model = _CORE.read_model(graph)
    for result, output in zip(model.get_results(), model.outputs, strict=True):
        if "vectors" not in output.get_names():
            model.remove_result(result)
    most = n_threads()
    whole = _Engine(model, precision, most, n_streams=1)
    if most == 1:
        return whole.run
    alone = _Engine(model, precision, 1, n_streams=1)
    each = _Engine(model, precision, most, n_streams=most)
    taken = Lock()

    def run(ids: NDArray[np.int64], mask: NDArray[np.int64]) -> F32:
        # Several threads would wait for each other on a busy machine.
        if ids.size > FEW_TOKENS:
            return whole.run(ids, mask)
        # One stream runs calls one after the other. Several streams run them beside each other, but hand each call to another
        # thread, which takes a tenth longer.
        if not taken.acquire(blocking=False):
            return each.run(ids, mask)
        try:
            return alone.run(ids, mask)
        finally:
            taken.release()

    return run


class _Engine:
    """A model that is compiled at its first call, and requests to it."""

    def __init__(self, model: Any, precision: str, n_threads: int, *, n_streams: int) -> None:
        settings = {
            # Without it, OpenVINO chooses the precision.
            "INFERENCE_PRECISION_HINT": precision,
            "INFERENCE_NUM_THREADS": n_threads,
            "NUM_STREAMS": n_streams,
            # With pinning, each engine would pin its first thread to the same core.
            "ENABLE_CPU_PINNING": False,
            # OpenVINO keeps prepared code for each shape, and a server's batches have thousands of shapes: with a bound of 512
            # memory grew for minutes. With 128, queries of all lengths took 1 to 6 % longer than with the default bound of
            # 5,000, batches up to 3 %.
            "CPU_RUNTIME_CACHE_CAPACITY": 128,
        }
        self._compile = partial(_CORE.compile_model, model, "CPU", settings)
        self._compiled: Any = None
        self._lock = Lock()
        self._idle: SimpleQueue[Any] = SimpleQueue()

    def run(self, ids: NDArray[np.int64], mask: NDArray[np.int64]) -> F32:
        request = self._request()
        try:
            request.infer({0: ids, 1: mask})
            # Copied, because the request's next call overwrites its output.
            found: F32 = request.get_output_tensor(0).data.copy()
            return found
        finally:
            self._idle.put(request)

    def _request(self) -> Any:
        """Find an idle request, or make one: a request takes one call at a time."""
        try:
            return self._idle.get_nowait()
        except Empty:
            with self._lock:
                if self._compiled is None:
                    self._compiled = self._compile()
            return self._compiled.create_infer_request()
