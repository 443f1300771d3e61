"""Bounds for the memory that native libraries keep, and giving free memory back to the system."""

from __future__ import annotations

import ctypes
import os
import platform
import threading
import time

_M_ARENA_MAX = -8  # of malloc.h
_N_ARENAS = 2
_N_PRIMITIVES = 64
_EVERY_S = 5.0


def bound() -> None:
    """Bound the memory that native libraries keep, in this process and its children. Call it before any of them computes.

    OpenVINO computes with oneDNN, which by default keeps what it prepared for each of 1,024 shapes of batches, beside what
    OpenVINO keeps: 57 MB a process more after 500 batches of all sizes, and no faster than with 64 or with none. glibc keeps
    memory for each thread, unless told to let threads share it.

    Both read variables of the environment, which other libraries read too. A server may set them; a backend in somebody else's
    process may not. A variable that is set already stays.
    """
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", str(_N_PRIMITIVES))
    if _is_glibc():
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, _N_ARENAS)  # of this process
        os.environ.setdefault("MALLOC_ARENA_MAX", str(_N_ARENAS))  # of workers


def give_back() -> None:
    """Give free memory back to the system now."""
    if _is_glibc():
        ctypes.CDLL(None).malloc_trim(0)


def give_back_often() -> None:
    """Give free memory back to the system every five seconds from now on, in a thread that ends with the process.

    By itself glibc gives back memory at the heap's end alone, so that a process would keep most of what a burst took. Giving it
    back takes half a millisecond, rarely twenty.
    """
    if _is_glibc():
        threading.Thread(target=_give_back, name="late-rerank gives back", daemon=True).start()


def _give_back() -> None:
    libc = ctypes.CDLL(None)
    while True:
        time.sleep(_EVERY_S)
        libc.malloc_trim(0)


def _is_glibc() -> bool:
    return platform.libc_ver()[0] == "glibc"
