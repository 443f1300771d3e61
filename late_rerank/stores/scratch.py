"""Folders for what is made on the way. One is removed when its process ends, or by the next process if that was killed."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from late_rerank.stores.disk.files import try_lock

_LOCK = "LOCK"


class Scratch:
    """A folder of this process, whose lock it has as long as it lives.

    Args:
        above: The folder to make it in. What killed processes left there is removed first.
        prefix: How the names of such folders begin. Nothing else in `above` may have such a name.

    Attributes:
        path: The folder.

    Raises:
        OSError: If it can't be made.
    """

    def __init__(self, above: Path, prefix: str) -> None:
        remove_abandoned(above, prefix)
        while True:
            self.path = Path(tempfile.mkdtemp(prefix=prefix, dir=above))
            self._fd = _lock_new(self.path)
            if self._fd is not None:
                return

    def __enter__(self) -> Scratch:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    @contextmanager
    def folder(self, name: str) -> Iterator[Path]:
        """Give a new folder, which is removed at the end."""
        path = Path(tempfile.mkdtemp(prefix=f"{name[:16]}-", dir=self.path))
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)

    def close(self) -> None:
        """Remove the folder."""
        if self._fd is not None:
            _remove(self.path)
            os.close(self._fd)
            self._fd = None


def private_folder(path: Path) -> Path:
    """Make a folder for this user alone, or check the one that is there. Anybody may make files in a temporary folder.

    Raises:
        PermissionError: If it is a link, another user's, or others may write to it.
    """
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not _is_private(path):
        raise PermissionError(
            f"{path} is a link, another user's, or others may write to it: remove it, or set TMPDIR to a folder of your own"
        )
    return path


def remove_abandoned(above: Path, prefix: str, *, private: bool = False) -> None:
    """Remove the folders of processes that don't live any more.

    Args:
        above: The folder that they are in.
        prefix: How their names begin.
        private: Do nothing unless `private_folder` would take `above`: nothing of ours is there then.
    """
    if private and not _is_private(above):
        return
    with suppress(FileNotFoundError), os.scandir(above) as entries:
        for entry in entries:
            if entry.name.startswith(prefix):
                _remove_if_abandoned(Path(entry.path))


def _is_private(path: Path) -> bool:
    """Tell whether a path is a folder that this user alone can write to. A link isn't."""
    try:
        status = path.lstat()
    except FileNotFoundError:
        return False
    return _is_own_folder(status) and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _is_own_folder(status: os.stat_result) -> bool:
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid()


def _lock_new(path: Path) -> int | None:
    """Lock a folder that was just made. None if another process took it for an abandoned one, and removes it."""
    try:
        fd = os.open(path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    except FileNotFoundError:
        return None
    with suppress(FileNotFoundError):
        if try_lock(fd) and os.path.samestat(os.fstat(fd), (path / _LOCK).lstat()):
            return fd
    os.close(fd)
    return None


def _remove_if_abandoned(path: Path) -> None:
    """Remove a folder if it has our lock file, and nobody has the lock."""
    try:
        if not _is_own_folder(path.lstat()):
            return
        fd = os.open(path / _LOCK, os.O_RDWR | os.O_NOFOLLOW)
    except FileNotFoundError:
        with suppress(OSError):  # of one that was killed before it made the file, or when it had removed it
            path.rmdir()
        return
    except OSError:  # no file of ours
        return
    try:
        if try_lock(fd):
            _remove(path)
    finally:
        os.close(fd)


def _remove(path: Path) -> None:
    """Remove a locked folder; its lock file last, so that a killed removal is gone on with."""
    with suppress(OSError):  # what can't be removed now is tried by the next process
        with os.scandir(path) as entries:
            others = [entry for entry in entries if entry.name != _LOCK]
        for entry in others:
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path)
            else:
                Path(entry.path).unlink()
        (path / _LOCK).unlink(missing_ok=True)
        path.rmdir()
