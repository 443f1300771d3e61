"""Folders for what a worker makes before it is uploaded. Those of killed workers are removed by the next one."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from late_rerank.stores.disk.files import Gate, try_lock

_PREFIX = "worker-"
_LOCK = "LOCK"


def home() -> Path:
    """Give the folder of all scratch folders of this user, in the system's folder for temporary files (TMPDIR)."""
    return Path(tempfile.gettempdir()) / f"late-rerank-bulk-{os.getuid()}"


class Scratch:
    """A worker's folder, which has its lock as long as the process lives.

    Args:
        above: The folder to make it in; None for `home`.

    Attributes:
        path: The folder.

    Raises:
        OSError: If it can't be made, or the folder above it is another user's.
    """

    def __init__(self, above: Path | None = None) -> None:
        above = above or home()
        above.mkdir(mode=0o700, parents=True, exist_ok=True)
        if above.stat().st_uid != os.getuid():
            raise PermissionError(f"{above} belongs to another user; set TMPDIR to a folder of your own")
        gate = Gate(above / _LOCK)
        with gate.held():  # a folder without its lock counts as abandoned
            self.path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=above))
            self._fd: int | None = os.open(self.path / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
            try_lock(self._fd)
        gate.close()
        remove_abandoned(above)

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
            shutil.rmtree(self.path, ignore_errors=True)
            os.close(self._fd)
            self._fd = None


def remove_abandoned(above: Path | None = None) -> None:
    """Remove the folders of workers that don't live any more."""
    above = above or home()
    if not above.is_dir():
        return
    gate = Gate(above / _LOCK)
    for folder in above.glob(f"{_PREFIX}*"):
        with gate.held():
            if not _is_abandoned(folder):
                continue
            mine = folder.with_name(f"removed-{folder.name}")
            with suppress(OSError):  # nobody else removes it then, and nobody waits for it
                folder.rename(mine)
        shutil.rmtree(mine, ignore_errors=True)
    for folder in above.glob(f"removed-{_PREFIX}*"):  # of one that was killed while it removed
        shutil.rmtree(folder, ignore_errors=True)
    gate.close()


def _is_abandoned(folder: Path) -> bool:
    try:
        fd = os.open(folder / _LOCK, os.O_RDWR)
    except FileNotFoundError:
        return True
    try:
        return try_lock(fd)
    finally:
        os.close(fd)
