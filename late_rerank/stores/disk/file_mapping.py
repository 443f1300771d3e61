"""A file mapped into memory that needs no open file: a process may map many more files than it may have open."""

from __future__ import annotations

import ctypes
import mmap
import os
import sys
from functools import cache
from typing import Any

_FAILED = ctypes.c_void_p(-1).value


class FileMapping:
    """A file mapped into memory, read-only. An array that NumPy makes of it keeps it alive, and mapped.

    Python's own `mmap` keeps a descriptor of each file that it maps. From Python 3.13 on it needn't.

    Args:
        fd: Of the file; may be closed afterwards.
        size: Bytes to map, above 0.

    Raises:
        OSError: If the system maps no more.
    """

    _address = 0

    def __init__(self, fd: int, size: int) -> None:
        self._size = size
        self._system = _system()
        address = self._system.mmap(None, size, mmap.PROT_READ, mmap.MAP_SHARED, fd, 0)
        if address == _FAILED:
            raise _error()
        self._address = address

    @property
    def __array_interface__(self) -> dict[str, Any]:
        return {"version": 3, "typestr": "|u1", "shape": (self._size,), "data": (self._address, True)}

    def madvise(self, option: int, start: int, n_bytes: int) -> None:
        """Tell the system what is done with a part, as `mmap.madvise` does. A part begins with a page."""
        if not 0 <= start < self._size:
            raise ValueError(f"byte {start} is out of bounds: the mapping has {self._size}")
        if self._system.madvise(self._address + start, min(n_bytes, self._size - start), option):
            raise _error()

    def __del__(self) -> None:
        if self._address:
            self._system.munmap(self._address, self._size)
            self._address = 0


def map_file(fd: int, size: int) -> FileMapping | mmap.mmap:
    """Map a file, read-only, in such a way that its descriptor may be closed.

    Raises:
        OSError: If the system maps no more.
    """
    if sys.version_info >= (3, 13):
        return mmap.mmap(fd, size, access=mmap.ACCESS_READ, trackfd=False)
    return FileMapping(fd, size)


@cache
def _system() -> Any:
    """Give the system's calls. Offsets are C's long, as in the mmap of systems of 64 bits."""
    system = ctypes.CDLL(None, use_errno=True)
    system.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long)
    system.mmap.restype = ctypes.c_void_p
    system.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
    system.munmap.restype = ctypes.c_int
    system.madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    system.madvise.restype = ctypes.c_int
    return system


def _error() -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number))
