"""Which files a model was compiled from: told from names, sizes, times and samples, without reading all weights."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

# Smaller files count whole.
_WHOLE_BYTES = 1 << 20
_N_SAMPLES, _SAMPLE_BYTES = 64, 4096


def identity(folder: Path) -> str:
    """Digest what tells a folder's files from all others: 32 hexadecimal digits.

    Names, sizes and times aren't enough: archives and images often set all times to one, and two models of one architecture
    have files of the same sizes. So small files are digested whole, and large files in samples. The times of a hub's snapshot
    don't count, since its folder is named by its commit.

    Args:
        folder: Hidden files in it don't count.

    Raises:
        OSError: If a file can't be read.
    """
    digest = hashlib.blake2b(digest_size=16)
    is_snapshot = folder.parent.name == "snapshots" and re.fullmatch("[0-9a-f]{40}", folder.name) is not None
    for file in sorted(folder.rglob("*")):
        name = file.relative_to(folder)
        if file.is_file() and not any(part.startswith(".") for part in name.parts):
            about = file.stat()
            digest.update(f"{name.as_posix()} {about.st_size} {0 if is_snapshot else about.st_mtime_ns}\n".encode())
            _sample(file, about.st_size, digest)
    return digest.hexdigest()


def _sample(file: Path, size: int, digest: hashlib.blake2b) -> None:
    with file.open("rb") as opened:
        if size <= _WHOLE_BYTES:
            digest.update(opened.read())
            return
        for i in range(_N_SAMPLES):
            opened.seek((size - _SAMPLE_BYTES) * i // (_N_SAMPLES - 1))
            digest.update(opened.read(_SAMPLE_BYTES))
