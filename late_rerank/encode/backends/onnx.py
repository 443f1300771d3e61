"""ONNX Runtime, in float32."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx  # noqa: F401 - torch's exporter needs it, and says so late
import torch
from numpy.typing import NDArray

from late_rerank.encode.backends.backbone import HiddenStates, Run, example
from late_rerank.encode.backends.threads import n_threads
from late_rerank.encode.backends.unreported_onnx import ort
from late_rerank.types import F32

VERSION = ort.__version__
_OPSET = 17
_ERRORS_ONLY = 3


def precisions() -> tuple[str, ...]:
    """Name the precisions that ONNX Runtime computes in: float32 alone."""
    return ("f32",)


def convert(model: HiddenStates, folder: Path) -> None:
    """Write a model in ONNX Runtime's format.

    Raises:
        Exception: If torch's exporter can't convert the model; of any kind.
    """
    # When it can't convert a model, the exporter prints the whole graph, 150 KB, to stdout by default.
    print_to = getattr(torch._C, "_jit_set_onnx_log_output_stream", None)  # noqa: SLF001 - there is no public way
    if print_to is not None:
        print_to("stderr")
    inputs = example()
    width = {0: "n", 1: "width"}
    torch.onnx.export(
        model,
        (inputs["input_ids"], inputs["attention_mask"]),
        str(folder / "model.onnx"),
        input_names=list(inputs),
        output_names=["hidden"],
        dynamic_axes={**dict.fromkeys(inputs, width), "hidden": width},
        opset_version=_OPSET,
        dynamo=False,  # the newer exporter needs another package, takes five times as long, and its files run no faster
    )


def load(folder: Path, few_tokens: int, precision: str) -> Run:  # noqa: ARG001 - there is one
    """Load an engine for a model that `convert` wrote.

    Args:
        folder: The model's folder.
        few_tokens: Batches of up to so many tokens run on one thread.
        precision: The only one of `precisions`.
    """
    path = str(folder / "model.onnx")
    most = n_threads()
    one = _session(path, 1)
    all_ = one if most == 1 else _session(path, most)

    def run(ids: NDArray[np.int64], mask: NDArray[np.int64]) -> F32:
        session = one if ids.size <= few_tokens else all_
        found: F32 = session.run(None, {"input_ids": ids, "attention_mask": mask})[0]
        return found

    return run


def _session(path: str, n_threads: int) -> Any:
    options = ort.SessionOptions()
    options.intra_op_num_threads = n_threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _ERRORS_ONLY
    # Threads that spin while they wait would take the processor from other work.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
