"""Choose what runs a compiled model: the fastest installed engine whose token vectors are torch's. No torch here."""

from __future__ import annotations

import importlib
import re
import warnings
from collections.abc import Sequence
from dataclasses import replace
from threading import Lock
from types import ModuleType

from late_rerank.encode.backends.proofs import Proof, proved
from late_rerank.encode.backends.run import Run
from late_rerank.encode.backends.widths import padded
from late_rerank.encode.compiled.format import Compiled
from late_rerank.encode.model import Backend
from late_rerank.errors import ForkError
from late_rerank.processes.forks import StoppedError, engine_call, guarded

# The least cosine of an engine's token vectors to torch's in float32. The few hundred vectors that are tried may lose half as
# much at most, since other vectors will lose more.
LEAST_COSINE = 0.999
LEAST_TRIED = (1 + LEAST_COSINE) / 2
_EXACT = "f32"

_IMPORTING = guarded(Lock())


class UnfitError(Exception):
    """No engine can run a model; the message says why."""


def choose(compiled: Compiled, engines: Sequence[str], *, exact: bool = False) -> tuple[Run, Backend]:
    """Let an engine run a compiled model, in the fastest precision that gives torch's vectors.

    Args:
        compiled: The model.
        engines: Names of engines, in the order in which they are tried.
        exact: Compute in float32 alone, as for a model that merges vectors: the last digits may decide which.

    Raises:
        UnfitError: If none can.
    """
    unfit: list[str] = []
    for name in engines:
        found = _tried(name, compiled, exact=exact)
        if not isinstance(found, str):
            run, backend = found
            return run, replace(backend, reason="; ".join([backend.reason, *unfit]))
        unfit.append(f"instead of {name}: {found}")
    raise UnfitError("; ".join(unfit) or "no engine is installed")


def _tried(name: str, compiled: Compiled, *, exact: bool) -> tuple[Run, Backend] | str:
    """Let an engine run a model; where it can't, say why."""
    try:
        with engine_call():  # a child that is forked while an engine loads would find its locks locked
            return _run_by(name, compiled, exact=exact)
    except (ForkError, StoppedError):
        raise
    except Exception as error:  # noqa: BLE001 - engines raise errors of any kind
        if "KeyboardInterrupt" in str(error):  # OpenVINO catches it and raises an error of its own
            raise KeyboardInterrupt from None
        return in_a_line(error)


def in_a_line(error: Exception) -> str:
    """Put an error into one line of at most 300 characters."""
    # OpenVINO's messages begin with lines of its own source.
    text = re.sub(r"Check '.*?' failed at \S+ ", "", " ".join(str(error).split()))
    return text[:300] if isinstance(error, UnfitError) else f"{type(error).__name__}: {text[:300]}"


def _run_by(name: str, compiled: Compiled, *, exact: bool) -> tuple[Run, Backend]:
    engine = _imported(name)
    proof = Proof(0.0, 0)
    for precision in (_EXACT,) if exact else engine.precisions():
        run: Run = engine.load(compiled, precision)
        proof = proved(compiled, run, f"{name}-{engine.VERSION}-{precision}-{engine.processor()}", exact=precision == _EXACT)
        if proof.least_cosine >= LEAST_TRIED:
            note = ""
            if precision != _EXACT:
                described = compiled.description
                run = padded(run, proof.multiple, described.layout["pad_id"], described.longest)
                note = "" if proof.multiple else "; on this processor vectors depend a little on a batch's width"
            reason = f"installed, with a token cosine of {proof.least_cosine:.5f} to torch{note}"
            return run, Backend(name, precision, proof.least_cosine, reason)
    raise UnfitError(f"its token vectors have a cosine of {proof.least_cosine:.5f} to torch's, less than {LEAST_TRIED}")


def _imported(name: str) -> ModuleType:
    """Import an engine, without the warnings that its library gives when it is imported."""
    with _IMPORTING, warnings.catch_warnings():  # one at a time: what they restore belongs to the process
        warnings.simplefilter("ignore")
        return importlib.import_module(f"late_rerank.encode.backends.{name}")
