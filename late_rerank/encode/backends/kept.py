"""Converted models, kept beside what the hub's client downloads: each is converted once, and read only if it is whole."""

from __future__ import annotations

import atexit
import hashlib
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
_ABANDONED_S = 24 * 3600


def converted(name: str, convert: Callable[[Path], None]) -> Path:
    """A folder with a converted model: the one that is kept, else a new one, which is kept if it can be.

    Args:
        name: What says which model, engine and version it is.
        convert: Writes the model into a folder.
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
        shutil.rmtree(made, ignore_errors=True)
        raise
    return _keep(made, kept)


def _new_folder(home: Path) -> Path:
    with suppress(OSError):
        home.mkdir(parents=True, exist_ok=True)
        for path in home.glob(f"{_UNFINISHED}*"):  # of a process that was killed
            if path.stat().st_mtime < time.time() - _ABANDONED_S:
                shutil.rmtree(path, ignore_errors=True)
        return Path(tempfile.mkdtemp(dir=home, prefix=_UNFINISHED))
    return Path(tempfile.mkdtemp(prefix="late-rerank-"))


def _keep(made: Path, kept: Path) -> Path:
    """Where it is now."""
    if made.parent == kept.parent:
        made.chmod(0o755)  # the cache may be shared, and a temporary folder is its maker's alone
        if _is_whole(kept):  # another process was faster
            shutil.rmtree(made, ignore_errors=True)
            return kept
        with suppress(OSError):
            if kept.exists():  # damaged; moved away first, since another process may be doing the same
                old = made.with_name(f"{made.name}-old")
                kept.rename(old)
                _remove(old)
            made.rename(kept)
            return kept
    atexit.register(_remove, made)  # for this process alone
    return made


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


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
