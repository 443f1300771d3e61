"""A name -> a compiled model: built in, found again, or compiled now. Why a checkpoint can't be compiled is kept too."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from late_rerank.encode.backends.choosing import UnfitError
from late_rerank.encode.backends.names import TORCH
from late_rerank.encode.builtin import BUILT_IN
from late_rerank.encode.checkpoint import read_text_checkpoint
from late_rerank.encode.compiled.builtin import builtin_model
from late_rerank.encode.compiled.format import FORMAT, Compiled, is_compiled, read_compiled
from late_rerank.encode.compiled.identity import identity
from late_rerank.encode.compiled.kept import copy_compiled, find, keep, read_note, write_note
from late_rerank.encode.sources import local_folder
from late_rerank.errors import MissingDependencyError, ModelError, check_installed

# A change of any of these may make a model fit.
_TOOK_PART = ("late-rerank", "torch", "transformers", "sentence-transformers", "onnx", "onnxruntime")


def compile_to(name: str | os.PathLike[str], out: Path | None) -> Compiled:
    """Compile a model into a folder of its own, which any machine can load without torch.

    Args:
        name: Built in, a folder, or a hub name. A compiled model is copied.
        out: A new or empty folder; None for the cache, where the model's first load finds it.

    Raises:
        ModelError: If the model can't be found, can't be what it says, or can't be compiled.
        MissingDependencyError: If it must be compiled, and torch isn't installed.
        FileExistsError: If `out` holds files.
        OSError: If it can't be written.
    """
    if out is not None and out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise FileExistsError(f"{out} exists: name a new or empty folder")
    try:
        compiled = open_compiled(name, None if name in BUILT_IN else local_folder(name), again=True)
    except UnfitError as error:
        if isinstance(error.__cause__, (MissingDependencyError, OSError)):
            raise error.__cause__ from None
        raise ModelError(f"{name} can't be compiled, so that torch must run it: {error}") from error
    return compiled if out is None else copy_compiled(compiled, out)


def open_compiled(name: str | os.PathLike[str], folder: Path | None, *, again: bool = False) -> Compiled:
    """Find a compiled model, or compile a checkpoint, which is then kept.

    Args:
        name: The model, as the user named it.
        folder: Where it is; None for a built-in model.
        again: Whether a checkpoint that couldn't be compiled is tried once more.

    Raises:
        ModelError: If the model can't be what it says.
        MissingDependencyError: If it must be compiled, and torch isn't installed.
        UnfitError: If it can't be compiled.
    """
    if folder is None:
        return _written(partial(builtin_model, str(name)))
    if is_compiled(folder):
        return read_compiled(folder)
    checkpoint = read_text_checkpoint(folder)
    source = identity(checkpoint)
    found = find(source)
    if found is not None:
        return found
    check_installed(f"{name} is a checkpoint, and compiling it", "torch", *TORCH)
    try:
        check_installed("compiling it", "torch", "onnx")
    except MissingDependencyError as error:  # torch runs it as it is
        raise UnfitError(str(error)) from error
    refused, versions = f"unfit-{source}.json", {package: _version(package) for package in _TOOK_PART}
    known = read_note(refused)
    if not again and known.get("versions") == versions and known.get("format") == FORMAT:
        raise UnfitError(f"{known.get('reason')} (so it was before; to try again: late-rerank compile {name})")
    from late_rerank.encode.torch.compiling import compile_model  # noqa: PLC0415 - loads torch

    def make(made: Path) -> None:
        compile_model(str(name), folder, made)
        if identity(checkpoint) != source:
            raise ModelError(f"the files in {folder} changed while they were compiled: load the model again")

    try:
        return _written(partial(keep, source, make))
    except UnfitError as error:
        if not isinstance(error.__cause__, OSError) and "allocate memory" not in str(error):  # else it's the machine's state
            write_note(refused, {"format": FORMAT, "versions": versions, "reason": str(error)})
        raise


def _written(make: Callable[[], Compiled]) -> Compiled:
    """Make what may have to be written; where that fails, torch may run the model.

    Raises:
        UnfitError: If nothing can be written.
    """
    try:
        return make()
    except OSError as error:
        raise UnfitError(f"{type(error).__name__}: {error}") from error


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:  # its modules may come from another: onnxruntime-gpu
        return None
