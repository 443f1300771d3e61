"""OpenVINO: bfloat16 where the processor computes in it, else float32."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from late_rerank.encode.backends.backbone import HiddenStates, Run, example
from late_rerank.encode.backends.threads import n_threads
from late_rerank.encode.backends.unreported import ov
from late_rerank.processes.forks import keep_in_children
from late_rerank.types import F32

VERSION = ov.__version__.split("-")[0]


# The process's one Core. Each would give the thread a stack for signals, and take it back when it goes: of two the one that
# stays longer leaves the other's, which is no longer there, and the next Ctrl-C crashes the process (OpenVINO 2026.4).
_CORE = ov.Core()
keep_in_children(_CORE)


def precisions() -> tuple[str, ...]:
    """What it computes in here, fastest first."""
    fast = "BF16" in _CORE.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return ("bf16", "f32") if fast else ("f32",)


def convert(model: HiddenStates, folder: Path) -> None:
    """Write a model as OpenVINO reads it.

    Raises:
        Exception: Of whatever kind OpenVINO's frontend raises for what it can't convert.
    """
    # Unasked, it would save weights as float16.
    ov.save_model(ov.convert_model(model, example_input=example()), folder / "model.xml", compress_to_fp16=False)


def load(folder: Path, few_tokens: int, precision: str) -> Run:
    """An engine for what `convert` wrote.

    Args:
        folder: Where it lies.
        few_tokens: Up to so many in a batch are run by one thread; more would wait for each other on a busy machine.
        precision: One of `precisions`.
    """
    model = _CORE.read_model(folder / "model.xml")
    most = n_threads()
    whole = _Engine(model, precision, most, n_streams=1)
    if most == 1:
        return whole.run
    alone = _Engine(model, precision, 1, n_streams=1)
    each = _Engine(model, precision, most, n_streams=most)
    taken = Lock()

    def run(ids: NDArray[np.int64], mask: NDArray[np.int64]) -> F32:
        if ids.size > few_tokens:
            return whole.run(ids, mask)
        # One stream runs one call after the other; several run them beside each other, but hand each to another thread, which
        # takes a tenth longer.
        if not taken.acquire(blocking=False):
            return each.run(ids, mask)
        try:
            return alone.run(ids, mask)
        finally:
            taken.release()

    return run


class _Engine:
    """A compiled model, compiled at its first call, and requests to it."""

    def __init__(self, model: Any, precision: str, n_threads: int, *, n_streams: int) -> None:
        settings = {
            # Set, not hinted at: unset, the precision is what OpenVINO likes best.
            "INFERENCE_PRECISION_HINT": precision,
            "INFERENCE_NUM_THREADS": n_threads,
            "NUM_STREAMS": n_streams,
            # Each engine would pin its first thread to the same processor.
            "ENABLE_CPU_PINNING": False,
            # What it prepares for each shape it keeps, and a server's batches have thousands: 512 grew for minutes. With
            # so many, queries of all lengths took 1 to 6 % longer than with its own bound of 5,000, batches up to 3 %.
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
            # Copied: the request's own output is overwritten by its next call.
            found: F32 = request.get_output_tensor(0).data.copy()
            return found
        finally:
            self._idle.put(request)

    def _request(self) -> Any:
        """One that nobody uses: a request takes one call at a time."""
        try:
            return self._idle.get_nowait()
        except Empty:
            with self._lock:
                if self._compiled is None:
                    self._compiled = self._compile()
            return self._compiled.create_infer_request()
