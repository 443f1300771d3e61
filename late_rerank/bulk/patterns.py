"""A pattern of files and folders -> what matches it. On this machine and in object storage the same things do.

A pattern matches part by part: "*", "?" and "[...]" never reach over a slash, and "**" stands for any depth. No wildcard stands
for a hidden name. What lies in a folder that matches is read with the folder.
"""

from __future__ import annotations

import fnmatch
import glob
import os
from collections.abc import Sequence
from pathlib import Path

has_magic = glob.has_magic


def fixed_folder(pattern: str) -> str:
    """Give the folder of a pattern: all of it before the first part with a wildcard; "" for none."""
    parts = pattern.split("/")
    n_fixed = next(i for i, part in enumerate(parts) if glob.has_magic(part))
    return "/".join(parts[:n_fixed])


def local_matches(pattern: str) -> list[str]:
    """Find what matches on this machine, in the order of their paths."""
    folders: set[Path] = set()
    found: list[str] = []
    for each in sorted(set(glob.glob(pattern, recursive=True)), key=lambda path: Path(path).parts):  # noqa: PTH207 - may be absolute
        path = Path(each)
        # Python's glob gives "a/" for "a/**" also if there is no such folder.
        if os.path.lexists(path) and folders.isdisjoint([path, *path.parents]):
            found.append(each)
            if path.is_dir():
                folders.add(path)
    return found


def matching_place(name: str, pattern: str) -> str | None:
    """Give the file or folder that matches, of those that an object's name stands in; the uppermost one.

    Args:
        name: The object's name, seen from the pattern's folder.
        pattern: Without its folder.

    Returns:
        As many first parts of the name as match, "" for the pattern's own folder; None if nothing matches.
    """
    parts = name.split("/")
    n_parts = _n_matching(parts, pattern.rstrip("/").split("/"))
    return None if n_parts is None else "/".join(parts[:n_parts])


def _n_matching(parts: Sequence[str], pattern: Sequence[str]) -> int | None:
    """Count the parts of the uppermost place that matches; None if nothing does."""
    if not pattern:
        return 0
    first, rest = pattern[0], pattern[1:]
    if first != "**":
        n_rest = _n_matching(parts[1:], rest) if parts and _matches(parts[0], first) else None
        return None if n_rest is None else 1 + n_rest
    counts: list[int] = []
    for n_skipped in range(len(parts)):  # it stands for folders: something is left that lies in them
        if n_skipped and parts[n_skipped - 1].startswith("."):
            break
        n_rest = _n_matching(parts[n_skipped:], rest)
        if n_rest is not None:
            counts.append(n_skipped + n_rest)
    return min(counts, default=None)


def _matches(part: str, pattern: str) -> bool:
    return fnmatch.fnmatchcase(part, pattern) and (not part.startswith(".") or pattern.startswith("."))


def seen_from_folder(path: str, pattern: str) -> str:
    """Give a path that matches a pattern, seen from the pattern's folder."""
    return os.path.relpath(path, fixed_folder(pattern) or ("/" if pattern.startswith("/") else "."))
