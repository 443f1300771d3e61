"""Which files a model was compiled from: told from names, sizes, times and samples, without reading all weights."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

from late_rerank.encode.adapter_base import adapter_base
from late_rerank.encode.checkpoint import Checkpoint
from late_rerank.encode.files import read_json
from late_rerank.errors import ModelError

# What the libraries read of a model's folder. Other files may lie beside: a store, tables, checkpoints of a training.
_READ = {".json", ".txt", ".model", ".metadata", ".tiktoken", ".jinja", ".safetensors", ".bin", ".py"}
# Smaller files count whole.
_WHOLE_BYTES = 1 << 20
_N_SAMPLES, _SAMPLE_BYTES = 64, 4096


def identity(checkpoint: Checkpoint) -> str:
    """Digest what tells a checkpoint's files from others: 32 hexadecimal digits.

    Names, sizes and times aren't enough: archives and images often set all times to one, and two models of one architecture
    have files of the same sizes. So small files are digested whole, and large files in samples. A change of a few numbers in a
    large file that keeps its size and its time isn't seen. A snapshot of the hub's counts by its commit instead of by times.

    Args:
        checkpoint: As it was read. A model that a PEFT adapter changes counts too.

    Raises:
        ModelError: If a file can't be read.
    """
    digest = hashlib.blake2b(digest_size=16)
    try:
        for folder in _folders(checkpoint):
            _add(folder, digest)
    except OSError as error:
        raise ModelError(f"{error.filename or checkpoint.path} can't be read: {error.strerror}") from error
    return digest.hexdigest()


def _folders(checkpoint: Checkpoint) -> Iterator[Path]:
    """Name the folders that a checkpoint is read from, each once."""
    modules = read_json(checkpoint.path / "modules.json")
    paths = [str(module.get("path", "")) for module in modules] if isinstance(modules, list) else []
    yield from dict.fromkeys(checkpoint.path / path for path in ("", checkpoint.backbone, *paths))
    base = adapter_base(checkpoint.path, checkpoint.backbone)
    if base is not None:
        yield base


def _add(folder: Path, digest: hashlib.blake2b) -> None:
    snapshot = folder.resolve() if folder.resolve().parent.name == "snapshots" else None
    commit = snapshot.name if snapshot and re.fullmatch("[0-9a-f]{40}", snapshot.name) else ""
    for file in sorted(folder.iterdir()):
        if file.suffix in _READ and file.is_file():
            about = file.stat()
            digest.update(f"{commit} {file.name} {about.st_size} {0 if commit else about.st_mtime_ns}\n".encode())
            _sample(file, about.st_size, digest)


def _sample(file: Path, size: int, digest: hashlib.blake2b) -> None:
    with file.open("rb") as opened:
        if size <= _WHOLE_BYTES:
            digest.update(opened.read())
            return
        for i in range(_N_SAMPLES):
            opened.seek((size - _SAMPLE_BYTES) * i // (_N_SAMPLES - 1))
            digest.update(opened.read(_SAMPLE_BYTES))
