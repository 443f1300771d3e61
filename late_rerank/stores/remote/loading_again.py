"""A compiled library, loaded once more in a process that has it already. A loader knows it by its file: so a copy is loaded."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import TypeVar

from late_rerank.errors import StoreError
from late_rerank.stores.folders import cache_home

_T = TypeVar("_T")


def load_again(origin: str, load: Callable[[str], _T]) -> _T:
    """Load a library from a copy of its file, which takes 20 ms and goes at once.

    Folders for temporary files may be mounted `noexec`: then the copy lies in memory, or in the user's cache.

    Args:
        origin: The library's file.
        load: Loads the file at a path; an ImportError says that it can't be loaded from there.

    Raises:
        StoreError: If it can't be loaded from anywhere.
    """
    reasons: list[str] = []
    for copied in (_temporary, _in_memory, _in_the_cache):
        with ExitStack() as opened:
            try:
                place = opened.enter_context(copied(Path(origin)))
                return load(place)
            except (OSError, ImportError, StoreError) as error:
                reasons.append(str(error))
    raise StoreError(
        f"a forked process loads {Path(origin).name} once more, from a copy, and no copy can be loaded here: "
        f"{'; '.join(reasons)}. Name a folder without `noexec` by TMPDIR, or start processes by spawn"
    )


@contextmanager
def _temporary(origin: Path, parent: Path | None = None) -> Iterator[str]:
    folder = tempfile.mkdtemp(prefix="late-rerank-", dir=parent)
    try:
        copy = Path(folder) / origin.name
        shutil.copyfile(origin, copy)
        yield os.fspath(copy)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _in_memory(origin: Path) -> Iterator[str]:
    if not hasattr(os, "memfd_create"):
        raise OSError("this system has no files in memory")
    with closing(os.fdopen(os.memfd_create(origin.name), "wb")) as file, origin.open("rb") as source:
        shutil.copyfileobj(source, file)
        file.flush()
        # Not /proc/self: a loader knows a library by its path, and a child's child must have another.
        yield f"/proc/{os.getpid()}/fd/{file.fileno()}"


@contextmanager
def _in_the_cache(origin: Path) -> Iterator[str]:
    parent = cache_home() / "late-rerank"
    parent.mkdir(parents=True, exist_ok=True)
    with _temporary(origin, parent) as copy:
        yield copy
