"""Converted models, kept beside what the hub's client downloads: each is converted once, and read only if it is whole."""

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

# Of how we convert: another one leaves alone what earlier releases kept.
_VERSION = 2
_DIGEST = "digest"
_UNFINISHED = ".new-"
_TEMPORARY = "late-rerank-model-"
_ABANDONED_S = 24 * 3600


def converted(name: str, convert: Callable[[Path], None]) -> Path:
    """A folder with a converted model: the one that is kept, else a new one, which is kept if it can be.

    Args:
        name: What says which model, engine and version it is.
        convert: Writes the model into a folder.

    Raises:
        OSError: There is no room for it anywhere.
        Exception: What `convert` raises; nothing is left behind.
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
    """What processes left that were killed."""
    for path in folder.glob(f"{prefix}*"):
        with suppress(OSError):  # another process removes it too, or it is another user's
            if path.stat().st_mtime < time.time() - _ABANDONED_S:
                _remove(path)


def _keep(made: Path, kept: Path) -> Path:
    """Where it is now."""
    if made.parent == kept.parent:
        with suppress(OSError):
            made.chmod(0o755)  # the cache may be shared, and a temporary folder is its maker's alone
            if kept.exists() and not _is_whole(kept):
                old = made.with_name(f"{made.name}-old")
                kept.rename(old)
                if _is_whole(old):  # another process had just replaced it
                    old.rename(kept)
                _remove(old)
            if not kept.exists():
                made.rename(kept)
        if _is_whole(kept):  # ours, or that of another process
            _remove(made)
            return kept
    atexit.register(_remove_own, made, os.getpid())  # for this process alone
    return made


def _remove_own(made: Path, process: int) -> None:
    if os.getpid() == process:  # a forked child that ends leaves the parent's
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
