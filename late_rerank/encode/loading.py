"""A name -> a Model: compiled and run by an engine, or by torch where that is asked for or nothing else can."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Any

from late_rerank.encode.backends.choosing import UnfitError, choose
from late_rerank.encode.backends.lazy import LazyEngine
from late_rerank.encode.backends.names import ENGINES, TORCH, check_backend, has_torch, installed_engines
from late_rerank.encode.backends.run import Run
from late_rerank.encode.builtin import BUILT_IN
from late_rerank.encode.checkpoint import read_checkpoint
from late_rerank.encode.compiled.builtin import builtin_fingerprint
from late_rerank.encode.compiled.format import Compiled, is_compiled, read_compiled
from late_rerank.encode.compiled.identity import identity
from late_rerank.encode.compiled.kept import find
from late_rerank.encode.compiled.model import compiled_model, pools
from late_rerank.encode.devices import torch_device
from late_rerank.encode.model import BackendFacts, Model
from late_rerank.encode.opening import open_compiled
from late_rerank.encode.query_side.names import FULL
from late_rerank.encode.query_side.opening import check_teacher, open_student, with_student
from late_rerank.encode.sources import local_folder
from late_rerank.encode.visual.requirements import check_torchvision, check_visual
from late_rerank.errors import ModelError, check_installed
from late_rerank.warn import warn_caller


def check_model(name: str | os.PathLike[str], *, backend: str = "auto", pooling: int = 1, query_encoder: str = FULL) -> None:
    """Check that a model and its query encoder are there and are what their files say, and that the packages are installed.

    No engine and no torch is loaded.

    Args:
        name: As `open_model` takes it.
        backend: As `open_model` takes it.
        pooling: As `open_model` takes it.
        query_encoder: As `open_model` takes it.

    Raises:
        ModelError: If it doesn't exist, or isn't a late-interaction model. Also if there is no such query encoder.
        IncompatibleError: If the query encoder is another model's, which a checkpoint that wasn't compiled yet can't tell. Also
            if the model is one of page images and a query encoder is asked for.
        MissingDependencyError: If a package is missing.
        ValueError: If the backend is unknown, or can't run the model.
    """
    check_backend(backend)
    folder = _folder(name)
    if backend != "torch" and pooling > 1:
        check_installed(f"pooling={pooling}", "pooling", "scipy")
    student = open_student(query_encoder, str(name))
    compiled: Compiled | None = None
    if folder is not None:
        compiled = read_compiled(folder) if is_compiled(folder) else _checked(name, folder, backend)
    if student is None or (folder is not None and compiled is None):
        return  # what a checkpoint's vectors are is known when it is compiled
    own = builtin_fingerprint(str(name)) if compiled is None else compiled.description.fingerprint
    check_teacher(student, own, str(name), query_encoder)


def _checked(name: str | os.PathLike[str], folder: Path, backend: str) -> Compiled | None:
    """Check a checkpoint, and give what it was compiled to; None if it wasn't yet, or can't be."""
    checkpoint = read_checkpoint(folder)
    if checkpoint.format == "visual":
        check_visual(str(name), backend)
        return None
    compiled = find(identity(checkpoint))
    if compiled is None:
        check_installed(f"{name} is a checkpoint, and compiling it", "torch", *TORCH)
    return compiled


def open_model(
    name: str | os.PathLike[str],
    *,
    backend: str,
    device: Any,
    max_tokens: int | None,
    pooling: int,
    query_encoder: str = FULL,
) -> Model:
    """Load a model, and the query encoder that is asked for.

    An engine runs a query encoder on the processor, whatever runs the model, because a query is little work.

    Args:
        name: As `_open_full` takes it.
        backend: As `_open_full` takes it. For a query encoder, "torch" counts as "auto".
        device: As `_open_full` takes it.
        max_tokens: As `_open_full` takes it.
        pooling: As `_open_full` takes it.
        query_encoder: "full" for the model itself, "fast" or a folder.

    Raises:
        ModelError: Also if there is no such query encoder, or no engine runs it.
        IncompatibleError: Also if the query encoder is another model's.
        MissingDependencyError: As in `_open_full`.
        ValueError: As in `_open_full`.
    """
    student = open_student(query_encoder, str(name))  # a wrong one costs nothing: the model is loaded after it
    is_lazy = student is not None
    model = _open_full(name, backend=backend, device=device, max_tokens=max_tokens, pooling=pooling, is_lazy=is_lazy)
    if student is None:
        return model
    engines = [backend] if backend in ENGINES else installed_engines()
    return with_student(model, student, str(name), query_encoder, engines)


def _open_full(
    name: str | os.PathLike[str],
    *,
    backend: str,
    device: Any,
    max_tokens: int | None,
    pooling: int,
    is_lazy: bool,
) -> Model:
    """Load a model.

    Args:
        name: Built in, a folder of a checkpoint or of a compiled model, or a hub name. A checkpoint is compiled when it is
            loaded first.
        backend: "auto", or what is to run it.
        device: A torch device, or None.
        max_tokens: Cap on a document's own tokens, or None.
        pooling: Documents keep one of so many vectors.
        is_lazy: Whether an engine is loaded when it encodes first, because something else encodes queries. Torch doesn't
            take its place then: if no engine runs the model, the first document raises a ModelError.

    Raises:
        ModelError: If the model can't be found, or can't be what it says.
        MissingDependencyError: If a package is missing that the model needs.
        IncompatibleError: If `pooling` is above 1, and the model pools its tokens already.
        ValueError: If the device isn't here.
    """
    on = torch_device(device, backend)
    folder = _folder(name)
    if on is not None and backend == "auto" and device is None and folder is not None and is_compiled(folder):
        on = None  # torch can't run it
    by_torch = partial(_by_torch, name, folder, max_tokens=max_tokens, pooling=pooling)
    if on is not None:
        reason = "asked for" if backend == "torch" else f"the model is on {on}, where torch is fastest"
        return by_torch(device=on, reason=reason)
    engines = installed_engines() if backend == "auto" else [backend]
    if not engines:
        return by_torch(device="cpu", reason="no engine is installed: pip install onnxruntime")
    try:
        compiled, (run, chosen) = _chosen(name, folder, engines, pooling, is_lazy=is_lazy)
    except UnfitError as error:
        if not has_torch() or (folder is not None and is_compiled(folder)):
            raise ModelError(f"no engine here runs {name}: {error}") from error
        why = str(error)
    else:
        return compiled_model(compiled, run, chosen, name=str(name), max_tokens=max_tokens, pooling=pooling)
    warn_caller(f"torch runs the model {why}")
    return by_torch(device="cpu", reason=why)


def _folder(name: str | os.PathLike[str]) -> Path | None:
    """Find a model's folder; None for a built-in model, whose files aren't in one."""
    return None if name in BUILT_IN else local_folder(name)


def _chosen(
    name: str | os.PathLike[str], folder: Path | None, engines: list[str], pooling: int, *, is_lazy: bool
) -> tuple[Compiled, tuple[Run, BackendFacts]]:
    try:
        compiled = open_compiled(name, folder)
    except UnfitError as error:
        raise UnfitError(f"instead of {' and '.join(engines)}: {error}") from error
    choosing = partial(choose, compiled, engines, exact=pooling > 1 or pools(compiled))
    if not is_lazy:
        return compiled, choosing()
    by_torch = has_torch() and not (folder is not None and is_compiled(folder))
    remedy = '. backend="torch" lets torch encode its documents' if by_torch else ""
    engine = LazyEngine(str(name), choosing, engines[0], remedy)
    return compiled, (engine, engine)


def _by_torch(
    name: str | os.PathLike[str], folder: Path | None, *, device: str, max_tokens: int | None, pooling: int, reason: str
) -> Model:
    check_installed(f"{name} on torch", "torch", *TORCH)
    check_torchvision()
    from late_rerank.encode.torch.model import torch_model  # noqa: PLC0415 - loads torch

    return torch_model(str(name), folder, device=device, max_tokens=max_tokens, pooling=pooling, reason=reason)[0]
