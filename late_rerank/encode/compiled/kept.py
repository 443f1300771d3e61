"""Compiled models, kept in the Hugging Face cache: each is made once, and read only if it is whole."""

from __future__ import annotations

import atexit
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from huggingface_hub import constants

from late_rerank.encode.compiled.format import FORMAT, Compiled, read_compiled, write_description
from late_rerank.errors import ModelError

_UNFINISHED = ".new-"
_TEMPORARY = "late-rerank-model-"
_ABANDONED_S = 24 * 3600


def home() -> Path:
    """Give the folder in which compiled models and their proofs are kept. It may not exist."""
    return Path(constants.HF_HOME) / "late-rerank"


def find(name: str) -> Compiled | None:
    """Find a kept model; None if there is none, or a damaged one."""
    return _whole(_place(name))


def keep(name: str, make: Callable[[Path], None]) -> Compiled:
    """Find a kept model, or make one, which is kept where possible.

    Args:
        name: Tells the model from all others.
        make: Writes the model into a folder.

    Raises:
        OSError: If no folder can be written.
        Exception: If `make` raises; nothing is left behind.
    """
    found = find(name)
    if found is not None:
        return found
    made = _new_folder()
    try:
        make(made)
        read_compiled(made)
    except BaseException:
        _remove(made)
        raise
    return _keep(made, _place(name))


def read_note(name: str) -> dict[str, Any]:
    """Read a JSON object that is kept beside the models; empty if there is none, or a damaged one."""
    try:
        found = json.loads((home() / name).read_text(encoding="utf-8"))
    except (OSError, RecursionError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def write_note(name: str, values: dict[str, Any]) -> None:
    """Keep a JSON object, whole or not at all; where nothing can be written, the next process finds none."""
    with suppress(OSError):
        home().mkdir(parents=True, exist_ok=True)
        handle, new = tempfile.mkstemp(dir=home(), prefix=_UNFINISHED)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as opened:
                json.dump(values, opened)
            os.chmod(new, 0o644)  # noqa: PTH101 - the cache may be shared
            os.replace(new, home() / name)  # noqa: PTH105
        except BaseException:
            Path(new).unlink(missing_ok=True)
            raise


def side_by_side(compiled: Compiled) -> Compiled:
    """Give the same model with all its files in one folder, as OpenVINO needs them; the weights are linked where possible."""
    if compiled.graph.parent == compiled.weights.parent:
        return without_links(compiled)
    return _gathered(compiled)


def without_links(compiled: Compiled) -> Compiled:
    """Give the same model with files that aren't symbolic links, as engines want weights; in the hub's cache they are."""
    return _gathered(compiled) if compiled.weights.is_symlink() or compiled.graph.is_symlink() else compiled


def _gathered(compiled: Compiled) -> Compiled:
    name = f"{compiled.description.fingerprint}-{compiled.description.sha256[compiled.graph.name][:8]}"
    return keep(name, partial(_gather, compiled, _link))


def copy_compiled(compiled: Compiled, folder: Path) -> Compiled:
    """Copy a model's files into one folder, the description last: without it a folder is no model.

    Args:
        compiled: The model.
        folder: A new or empty folder.

    Raises:
        OSError: If it can't be written.
    """
    if folder.is_dir():  # it may be a mount point, which nothing can replace; without a description it is no model
        _gather(compiled, shutil.copyfile, folder)
        return read_compiled(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(dir=folder.parent, prefix=_UNFINISHED))
    try:
        _gather(compiled, shutil.copyfile, made)
        _share(made)
        made.rename(folder)
    except BaseException:
        _remove(made)
        raise
    return read_compiled(folder)


def _gather(compiled: Compiled, bring: Callable[[Path, Path], object], folder: Path) -> None:
    bring(compiled.weights.resolve(), folder / compiled.weights.name)
    for path in (compiled.graph, compiled.tokenizer, compiled.probes):
        shutil.copyfile(path, folder / path.name)
    # Written anew, since a query encoder's folder has its description in a file of another name.
    write_description(folder, compiled.description)


def _place(name: str) -> Path:
    return home() / f"{name}-compiled-{FORMAT}"


def _link(file: Path, to: Path) -> None:
    try:
        to.hardlink_to(file)
    except OSError:  # another file system, or one without links
        shutil.copyfile(file, to)


def _new_folder() -> Path:
    with suppress(OSError):
        home().mkdir(parents=True, exist_ok=True)
        _remove_abandoned(home(), _UNFINISHED)
        return Path(tempfile.mkdtemp(dir=home(), prefix=_UNFINISHED))
    _remove_abandoned(Path(tempfile.gettempdir()), _TEMPORARY)
    return Path(tempfile.mkdtemp(prefix=_TEMPORARY))


def _remove_abandoned(folder: Path, prefix: str) -> None:
    """Remove folders that killed processes left."""
    for path in folder.glob(f"{prefix}*"):
        with suppress(OSError):  # another process removes the folder too, or it belongs to another user
            if path.stat().st_mtime < time.time() - _ABANDONED_S:
                _remove(path)


def _keep(made: Path, kept: Path) -> Compiled:
    """Move a new folder to where it is kept, and read it there; where it lies if it can't be kept."""
    if made.parent == kept.parent:
        with suppress(OSError):
            _share(made)
            if kept.exists() and _whole(kept) is None:
                old = made.with_name(f"{made.name}-old")
                kept.rename(old)
                if _whole(old) is not None:  # another process had just replaced the damaged one
                    old.rename(kept)
                _remove(old)
            if not kept.exists():
                made.rename(kept)
        found = _whole(kept)
        if found is not None:  # our folder, or another process's
            _remove(made)
            return found
    atexit.register(_remove_own, made, os.getpid())  # for this process alone
    return read_compiled(made)


def _share(folder: Path) -> None:
    """Make a folder readable to all: the cache may be shared, but what is made for a time is its owner's alone."""
    folder.chmod(0o755)
    for file in folder.iterdir():
        if file.stat().st_nlink == 1:  # a linked file's mode is its owner's
            file.chmod(0o644)


def _remove_own(made: Path, process: int) -> None:
    if os.getpid() == process:  # a forked child must not remove its parent's folder
        _remove(made)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()


def _whole(folder: Path) -> Compiled | None:
    try:
        return read_compiled(folder)
    except (ModelError, OSError):
        return None
