"""Converted models, kept in the Hugging Face cache: each is converted once, and read only if it is whole."""

from __future__ import annotations

import atexit
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from huggingface_hub import constants

# The version of our conversion. A new version leaves folders of earlier releases alone.
_VERSION = 2
_DIGEST = "digest"
_UNFINISHED = ".new-"
_TEMPORARY = "late-rerank-model-"
_ABANDONED_S = 24 * 3600


def converted(name: str, convert: Callable[[Path], None]) -> Path:
    """Find the folder of a converted model, or convert the model into a new one, which is kept where possible.

    Args:
        name: Names the model, the engine and its version.
        convert: Writes the model into a folder.

    Raises:
        OSError: If no folder can be written.
        Exception: If `convert` raises; nothing is left behind.
    """
    home = Path(constants.HF_HOME) / "late-rerank"
    kept = home / f"{name}-{_VERSION}"
    if _is_whole(kept):
        return kept
    made = _new_folder(home)
    try:
        convert(made)
        (made / _DIGEST).write_text(_digest(made))
    except BaseException:
        _remove(made)
        raise
    return _keep(made, kept)


def _new_folder(home: Path) -> Path:
    with suppress(OSError):
        home.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(home, _UNFINISHED)
        return Path(tempfile.mkdtemp(dir=home, prefix=_UNFINISHED))
    _remove_abandoned(Path(tempfile.gettempdir()), _TEMPORARY)
    return Path(tempfile.mkdtemp(prefix=_TEMPORARY))


def _remove_abandoned(folder: Path, prefix: str) -> None:
    """Remove folders that killed processes left."""
    for path in folder.glob(f"{prefix}*"):
        with suppress(OSError):  # another process removes the folder too, or it belongs to another user
            if path.stat().st_mtime < time.time() - _ABANDONED_S:
                _remove(path)


def _keep(made: Path, kept: Path) -> Path:
    """Move a new folder to where it is kept, and return its place; the new folder if it can't be kept."""
    if made.parent == kept.parent:
        with suppress(OSError):
            made.chmod(0o755)  # the cache may be shared, but a temporary folder is readable to its owner alone
            if kept.exists() and not _is_whole(kept):
                old = made.with_name(f"{made.name}-old")
                kept.rename(old)
                if _is_whole(old):  # another process had just replaced the damaged one
                    old.rename(kept)
                _remove(old)
            if not kept.exists():
                made.rename(kept)
        if _is_whole(kept):  # our folder, or another process's
            _remove(made)
            return kept
    atexit.register(_remove_own, made, os.getpid())  # for this process alone
    return made


def _remove_own(made: Path, process: int) -> None:
    if os.getpid() == process:  # a forked child must not remove its parent's folder
        _remove(made)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()


def _is_whole(folder: Path) -> bool:
    try:
        return (folder / _DIGEST).read_text() == _digest(folder)
    except (OSError, ValueError):
        return False


def _digest(folder: Path) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for path in sorted(folder.iterdir()):
        if path.name != _DIGEST:
            digest.update(f"{path.name} {path.stat().st_size} ".encode())
            with path.open("rb") as file:
                while part := file.read(1 << 20):
                    digest.update(part)
    return digest.hexdigest()
