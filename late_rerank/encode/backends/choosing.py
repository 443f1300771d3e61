"""Choose what runs a model: the fastest installed engine whose token vectors are torch's, else torch itself."""

from __future__ import annotations

import importlib
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from late_rerank.encode.backends.backbone import EngineBackbone, HiddenStates, Run
from late_rerank.encode.backends.kept import converted
from late_rerank.encode.backends.names import check_backend, installed_engines
from late_rerank.encode.backends.own import OwnEngine
from late_rerank.encode.backends.widths import steady
from late_rerank.encode.loading import quiet_loading
from late_rerank.encode.pooling import pools
from late_rerank.types import F32
from late_rerank.warn import warn_caller

# The least cosine of an engine's token vectors to torch's in float32. The few hundred vectors that are tried may lose half as
# much at most, since other vectors will lose more.
LEAST_COSINE = 0.999
LEAST_TRIED = (1 + LEAST_COSINE) / 2
# Tokens of a query, or of a few; larger batches are worth several threads.
FEW_TOKENS = 512
_EXACT = "f32"


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


class _UnfitError(Exception):
    """An engine can't run a model; the message says why."""


def accelerate(model: Any, backend: str, fingerprint: str, try_out: Callable[[], F32]) -> Backend:
    """Let an engine run a model's transformer, if that gives the same vectors.

    Args:
        model: A MultiVectorEncoder on its device, weights in float32. Its transformer is replaced.
        backend: "auto", or the backend to use.
        fingerprint: The model's fingerprint, under which the converted model is kept.
        try_out: Encodes sample texts by the model as it is at the call: (n_tokens, dim) float32, L2-normalised.

    Returns:
        The backend that runs the model now; torch, with one warning, if no engine can.

    Raises:
        ValueError: If the backend is unknown.
        MissingDependencyError: If it isn't installed.
    """
    check_backend(backend)
    if backend == "torch":
        return Backend("torch", _EXACT, 1.0, "asked for")
    if model.device.type != "cpu":
        reason = f"the model is on {model.device}, where torch is fastest"
        if backend != "auto":
            warn_caller(f"torch runs the model instead of {backend}: {reason}")
        return Backend("torch", _EXACT, 1.0, reason)
    engines = installed_engines() if backend == "auto" else [backend]
    if not engines:
        return Backend("torch", _EXACT, 1.0, 'no other is installed: pip install "late-rerank[openvino]"')
    original = model[0].model
    unfit: list[str] = []
    for name in engines:
        try:
            found = _run_by(name, model, fingerprint, try_out)
            return replace(found, reason="; ".join([found.reason, *unfit]))
        except Exception as error:  # noqa: BLE001 - converters raise errors of any kind; torch runs the models that they can't
            if "KeyboardInterrupt" in str(error):  # OpenVINO's converter catches it and raises an error of its own
                raise KeyboardInterrupt from None
            unfit.append(f"instead of {name}: {_in_a_line(error)}")
        model[0].model = original
    warn_caller(f"torch runs the model {'; '.join(unfit)}")
    return Backend("torch", _EXACT, 1.0, "; ".join(unfit))


def _run_by(name: str, model: Any, fingerprint: str, try_out: Callable[[], F32]) -> Backend:
    """Let that engine run a model, in the fastest precision that gives the same vectors."""
    _check_output(model[0])
    theirs = try_out()
    original = model[0].model
    # Tracing warns of values that it takes for constants. The comparison of vectors checks them.
    with quiet_loading(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        engine = importlib.import_module(f"late_rerank.encode.backends.{name}")

        def convert(folder: Path) -> None:
            with _attention_spelled_out(original):
                engine.convert(HiddenStates(original).eval(), folder)

        folder = converted(f"{fingerprint}-{name}-{engine.VERSION}", convert)
    # A vector's last digits may decide which tokens a pooling model merges.
    for precision in (_EXACT,) if pools(model) else engine.precisions():
        run: Run = OwnEngine(partial(engine.load, folder, FEW_TOKENS, precision))
        note = ""
        if precision != _EXACT:
            run, multiple = steady(run, original.config)
            note = "" if multiple else "; on this processor vectors depend a little on a batch's width"
        model[0].model = EngineBackbone(original.config, run)
        ours = try_out()
        cosine = float((ours * theirs).sum(axis=1).min()) if ours.shape == theirs.shape else 0.0
        if cosine >= LEAST_TRIED:
            return Backend(name, precision, cosine, f"installed, with a token cosine of {cosine:.5f} to torch{note}")
    raise _UnfitError(f"its token vectors have a cosine of {cosine:.5f} to torch's, less than {LEAST_TRIED}")


def _check_output(transformer: Any) -> None:
    """Refuse models that conversion doesn't know: all but text models that give their last hidden states."""
    modality = transformer.modality_config.get("text", {})
    method, output = modality.get("method"), modality.get("method_output_name")
    if method != "forward" or output not in ("last_hidden_state", ("last_hidden_state",)):
        raise _UnfitError(f"the model gives its vectors by {method} and {output}, not by forward and last_hidden_state")


@contextmanager
def _attention_spelled_out(model: Any) -> Iterator[None]:
    """Let a model compute attention in separate steps while it is converted, which is as fast.

    Converted fused attention gives NaN to tokens that may look at no token, and they pass the NaN on to all others. Such tokens
    are the padding of models that look no further than a window (ModernBERT).
    """
    before = model.config._attn_implementation  # noqa: SLF001 - the only way to ask
    model.set_attn_implementation("eager")
    try:
        yield
    finally:
        model.set_attn_implementation(before)


def _in_a_line(error: Exception) -> str:
    # OpenVINO's messages begin with lines of its own source.
    text = re.sub(r"Check '.*?' failed at \S+ ", "", " ".join(str(error).split()))
    return text[:300] if isinstance(error, _UnfitError) else f"{type(error).__name__}: {text[:300]}"
