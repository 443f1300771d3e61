"""Requests to the operating system: whole writes, durable writes, locks that die with their process."""

from __future__ import annotations

import errno
import fcntl
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from late_rerank.errors import StoreError

# Linux writes at most 2 GiB a call.
_MOST_BYTES = 2**30
_ZEROS = bytes(2**20)
# The system has no more of something. Such an error says nothing of the file that was asked for.
_EXHAUSTED = {
    errno.EMFILE: "raise this process's limit: ulimit -n",
    errno.ENFILE: "raise this machine's limit: sysctl fs.file-max",
    errno.ENOMEM: "raise this process's limits: sysctl vm.max_map_count, ulimit -v",
}


def write_at(fd: int, data: memoryview, offset: int) -> None:
    """Write all of `data`; a system call may take a part of it only.

    Raises:
        OSError: If the disk is full, or failed.
    """
    while data:
        written = os.pwrite(fd, data[:_MOST_BYTES], offset)
        data = data[written:]
        offset += written


def zero_from(fd: int, offset: int) -> None:
    """Overwrite the file from `offset` on with zeros. It keeps its length: others may have it mapped."""
    end = os.fstat(fd).st_size
    while offset < end:
        part = memoryview(_ZEROS)[: end - offset]
        write_at(fd, part, offset)
        offset += len(part)


def sync(fd: int) -> None:
    """Make what was written to the file durable.

    Raises:
        OSError: If that failed. The system may have thrown the writes away: a second try could succeed and prove nothing.
    """
    if sys.platform == "darwin":
        fcntl.fcntl(fd, fcntl.F_FULLFSYNC)  # fsync there only reaches the drive's own cache
    else:
        os.fdatasync(fd)


def sync_folder(folder: Path) -> None:
    """Make the folder's entries durable: files made, renamed and removed."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def make_folder(folder: Path) -> None:
    """Make a folder, and the missing folders above it, durably."""
    if not folder.parent.is_dir():
        make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    # Also if it was there: its maker may have died before this line.
    with suppress(PermissionError):  # a folder that may be entered and not be listed can't be opened
        sync_folder(folder.parent)


def try_lock(fd: int) -> bool:
    """Lock the file for this open file; False if another one has the lock. The lock dies with the process."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def locked(path: Path) -> Iterator[int | None]:
    """Give the file's descriptor with its lock held; None if another process or writer has the lock.

    Raises:
        FileNotFoundError: If there is no such file.
    """
    fd = os.open(path, os.O_RDWR)
    try:
        yield fd if try_lock(fd) else None
    finally:
        os.close(fd)


def replace(path: Path, text: str) -> None:
    """Write a file in one step: afterwards it holds all of the text, or is as before."""
    scratch = path.with_name(f"{path.name}.new")
    with scratch.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    scratch.replace(path)
    sync_folder(path.parent)


@contextmanager
def os_errors_as_store_errors(path: Path) -> Iterator[None]:
    """Turn the system's errors about the store at `path` into StoreErrors that name it."""
    try:
        yield
    except OSError as error:
        if isinstance(error, StoreError):
            raise
        raise StoreError(f"the store {path} can't be used: {reason_of(error)}") from error


def reason_of(error: Exception) -> str:
    """Give an error's text, and what to do if the system has no more of something."""
    remedy = _EXHAUSTED.get(error.errno or 0) if isinstance(error, OSError) else None
    return f"{error} ({remedy})" if remedy else str(error)


def raise_if_exhausted(error: Exception) -> None:
    """Raise the error if the system has no more open files or mappings: the file itself may be sound."""
    if isinstance(error, OSError) and error.errno in _EXHAUSTED:
        raise error


class Gate:
    """A lock over all threads and processes. Whoever changes the index holds it. Not re-entrant."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd: int | None = None
        self._threads = threading.Lock()  # flock knows open files, not threads

    @contextmanager
    def held(self) -> Iterator[None]:
        """Wait for the gate, then hold it."""
        with self._threads, self._flocked():
            yield

    @contextmanager
    def _flocked(self) -> Iterator[None]:
        try:  # an interrupt while it waits, or just after, must not leave it held
            self._lock()
            yield
        finally:
            if self._fd is not None:
                fcntl.flock(self._fd, fcntl.LOCK_UN)

    def _lock(self) -> None:
        while True:
            if self._fd is None:
                self._fd = self._open()
            fcntl.flock(self._fd, fcntl.LOCK_EX)
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(self._fd), self._path.stat()):
                    return
            self._close()  # the folder was removed or replaced: whoever uses it now holds another file

    def _open(self) -> int:
        try:
            return os.open(self._path, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            if error.errno not in (errno.EROFS, errno.EACCES, errno.EPERM):
                raise
            return os.open(self._path, os.O_RDONLY)  # to publish or copy a store that can only be read

    def close(self) -> None:
        """Let go of the file."""
        with self._threads:
            self._close()

    def _close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def before_fork(self, last: Callable[[], None]) -> None:
        """Wait until no thread holds it, do `last` while it is held, and let nobody in until the fork is done.

        The file is closed: parent and child would share it, and so its lock.
        """
        self._threads.acquire()
        with ExitStack() as held:
            with suppress(OSError):  # not ours to lock: then it isn't ours to write either
                held.enter_context(self._flocked())
            last()
        self._close()

    def after_fork_in_parent(self) -> None:
        """Go on."""
        self._threads.release()

    def after_fork_in_child(self) -> None:
        """Go on, with a lock that no thread of the parent holds."""
        self._threads = threading.Lock()
