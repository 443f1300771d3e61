"""Which engine runs a model: the fastest installed whose token vectors are torch's, else torch itself."""

from __future__ import annotations

import importlib
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from huggingface_hub import constants

from late_rerank.encode.backends.backbone import EngineBackbone, HiddenStates, Run
from late_rerank.encode.backends.names import check_backend, installed_engines
from late_rerank.encode.loading import quiet_loading
from late_rerank.types import F32
from late_rerank.warn import warn_caller

# What token vectors of an engine may lose: the cosine to torch's in float32, at least. Of the few hundred that are tried none
# may lose more than half of that, since others will fare worse.
LEAST_COSINE = 0.999
_LEAST_TRIED = 0.9995
# A query, or a few; more is worth several threads.
FEW_TOKENS = 512


@dataclass(frozen=True)
class Backend:
    """What runs a model.

    Attributes:
        name: "torch", "openvino" or "onnx".
        precision: What it computes in: "f32" or "bf16".
        least_cosine: Of its token vectors to torch's, the lowest of those that were tried.
        reason: Why it is this one.
    """

    name: str
    precision: str
    least_cosine: float
    reason: str


def accelerate(model: Any, backend: str, fingerprint: str, try_out: Callable[[], F32]) -> Backend:
    """Let an engine run a model's transformer, if that gives the same vectors.

    Args:
        model: A MultiVectorEncoder on its device, weights in float32. Its transformer is replaced.
        backend: "auto", or what to run.
        fingerprint: The model's: what was converted once is kept under it.
        try_out: Gives token vectors of some texts, (n_tokens, dim) float32, L2-normalised, by the whole model as it is then.

    Returns:
        What runs it now. torch, with one warning, where an engine can't run it.

    Raises:
        ValueError: The backend isn't known.
        MissingDependencyError: It isn't installed.
    """
    check_backend(backend)
    if backend == "torch":
        return Backend("torch", "f32", 1.0, "asked for")
    if model.device.type != "cpu":
        return _torch(backend, f"the model is on {model.device}, where torch is fastest", warn=backend != "auto")
    if backend == "auto":
        installed = installed_engines()
        if not installed:
            return Backend("torch", "f32", 1.0, 'no other is installed: pip install "late-rerank[openvino]"')
        backend = installed[0]
    why_not = _why_not(model[0])
    if why_not:
        return _torch(backend, why_not)
    theirs = try_out()
    original = model[0].model
    try:
        engine = importlib.import_module(f"late_rerank.encode.backends.{backend}")
        with quiet_loading(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of tracing: what it takes for constant is checked by its results
            runs = _runs(engine, backend, HiddenStates(original).eval(), fingerprint)
        for precision, run in runs.items():
            model[0].model = EngineBackbone(original.config, run)
            cosine = float((try_out() * theirs).sum(axis=1).min())
            if cosine >= _LEAST_TRIED:
                return Backend(backend, precision, cosine, f"installed, with a token cosine of {cosine:.5f} to torch")
        reason = f"its token vectors have a cosine of {cosine:.4f} to torch's"
    except Exception as error:  # noqa: BLE001 - converters raise whatever they like; torch can run what they can't
        reason = f"{type(error).__name__}: {str(error).strip()[:200]}"
    model[0].model = original
    return _torch(backend, reason)


def _torch(backend: str, reason: str, *, warn: bool = True) -> Backend:
    if warn:
        warn_caller(f"torch runs the model instead of {backend}: {reason}")
    return Backend("torch", "f32", 1.0, reason)


def _why_not(transformer: Any) -> str | None:
    """What conversion knows nothing of; None for a text model that gives its last hidden states."""
    modality = transformer.modality_config.get("text", {})
    method, output = modality.get("method"), modality.get("method_output_name")
    if method != "forward" or output not in ("last_hidden_state", ("last_hidden_state",)):
        return f"it gives its vectors by {method} and {output}, not by forward and last_hidden_state"
    return None


def _runs(engine: ModuleType, name: str, model: HiddenStates, fingerprint: str) -> dict[str, Run]:
    """The engine in each of its precisions, fastest first. What was kept and can't be read any more is converted anew."""
    with _converted(engine, name, model, fingerprint) as folder:
        with suppress(Exception):  # of whatever kind engines raise for damaged files; the second time it counts
            return _loaded(engine, folder)
        shutil.rmtree(folder, ignore_errors=True)
    with _converted(engine, name, model, fingerprint) as folder:
        return _loaded(engine, folder)


def _loaded(engine: ModuleType, folder: Path) -> dict[str, Run]:
    return {precision: engine.load(folder, FEW_TOKENS, precision) for precision in engine.precisions()}


@contextmanager
def _converted(engine: ModuleType, name: str, model: HiddenStates, fingerprint: str) -> Iterator[Path]:
    """Converted once, then kept beside what the hub's client downloads; where nothing can be written, converted each time."""
    home = Path(constants.HF_HOME) / "late-rerank"
    kept = home / f"{fingerprint}-{name}-{engine.VERSION}"
    if kept.is_dir():
        yield kept
        return
    try:
        home.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(dir=home, prefix=".new-"))
    except OSError:
        made = Path(tempfile.mkdtemp())
    try:
        engine.convert(model, made)
        if made.parent == home:
            made.chmod(0o755)  # the cache may be shared, and a temporary folder is its maker's alone
            with suppress(OSError):  # another process was faster
                made.rename(kept)
        yield made if made.is_dir() else kept
    finally:
        shutil.rmtree(made, ignore_errors=True)
