"""Memory: a server holds what it needs, not all that it ever needed, as native libraries would."""

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
    """Bound what native libraries keep, in this process and those that it starts. Before any of them computes.

    oneDNN, which OpenVINO computes with, keeps what it prepared for each shape of a batch, 1,024 of them unasked, beside what
    OpenVINO keeps of it: 57 MB a process more after 500 batches of all sizes, and no faster than with 64 or with none.
    glibc keeps memory for each thread, unless told to let them share it.

    Both are told by variables of the environment, which other libraries read too: a server may set them, the backend in
    somebody's process may not. Those that are set already stay.
    """
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", str(_N_PRIMITIVES))
    if _is_glibc():
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, _N_ARENAS)  # of this process
        os.environ.setdefault("MALLOC_ARENA_MAX", str(_N_ARENAS))  # of workers


def give_back_often() -> None:
    """From now on, give free memory back to the system every few seconds, in a thread that ends with the process.

    glibc gives back what is free at the end only: after a burst a process would keep most of what that took. It takes half a
    millisecond, rarely twenty.
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
