"""A checkpoint's files: damaged files are named before a library reads them. No torch here."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from late_rerank.errors import LateRerankError, ModelError

_POINTER = b"version https://git-lfs.github.com/spec/"
# The files that the libraries read if they exist, beside weights and vocabularies.
_OBJECTS = (
    *("config.json", "config_sentence_transformers.json", "sentence_bert_config.json", "artifact.metadata"),
    *("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "adapter_config.json"),
)
# In the order in which transformers looks for them. It reads the first it finds; the others may hold anything.
WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")
_TOKENIZER = "tokenizer.json"
_VOCABULARIES = ("vocab.txt", "vocab.json", "tekken.json", "*.model", "*.tiktoken")
_PICKLE, _ZIP = b"\x80", b"PK"  # how torch's files began before 1.6, and since


def check_whole(folder: Path) -> None:
    """Refuse a folder whose model files are pointers or cut off, as far as can be told without loading them.

    Raises:
        ModelError: If a file that would be read is damaged; the message names the file.
    """
    check_settings(folder)
    for file in weight_files(folder):
        if file.suffix == ".safetensors":
            tensor_names(file)
        else:
            _check_pickle(file)


def check_settings(folder: Path) -> None:
    """Refuse a folder with a settings file that isn't a JSON object. Any settings file may be absent.

    Raises:
        ModelError: If one is damaged; the message names the file.
    """
    for name in _OBJECTS:
        read_object(folder / name)


def check_tokenizer(folder: Path) -> None:
    """Refuse a folder without a tokenizer: transformers would make up an empty one, to which every word is unknown.

    Raises:
        ModelError: If there is none, or its file is empty or a pointer.
    """
    named = [folder / _TOKENIZER] if (folder / _TOKENIZER).is_file() else []
    files = named or [file for pattern in _VOCABULARIES for file in sorted(folder.glob(pattern)) if file.is_file()]
    if not files:
        raise ModelError(f"{folder} holds no tokenizer: neither tokenizer.json nor a vocabulary ({', '.join(_VOCABULARIES)})")
    for file in files:
        _read_start(file)


def weight_files(folder: Path) -> list[Path]:
    """Find the files of weights that would be read of a folder; none if it holds none.

    Raises:
        ModelError: If the weights are in several files, and their index is damaged or names an absent file.
    """
    first = next((folder / name for name in WEIGHTS if (folder / name).is_file()), None)
    if first is None or first.suffix != ".json":
        return [] if first is None else [first]
    places = read_object(first).get("weight_map")
    if not isinstance(places, dict) or not places or not all(isinstance(name, str) for name in places.values()):
        raise ModelError(f"{first} must name the file of each weight, as an object 'weight_map'")
    files = [folder / name for name in sorted(set(places.values()))]
    absent = [file.name for file in files if not file.is_file()]
    if absent:
        raise ModelError(f"{folder} lacks {', '.join(absent)}, which {first.name} names. Download the model again.")
    return files


def tensor_names(path: Path) -> set[str]:
    """Read the names in a safetensors file from its header: 8 bytes of length, then JSON, then the numbers.

    Raises:
        ModelError: If the file is a pointer, is cut off, or isn't a safetensors file.
    """
    start, size = _read_start(path), path.stat().st_size
    n_header = int.from_bytes(start[:8], "little")
    try:
        with path.open("rb") as file:
            file.seek(8)
            # Bounded by the file's size: a damaged length must not become a huge allocation.
            header = json.loads(file.read(min(n_header, size)))
        ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
        whole = 8 + n_header + max(ends, default=0)
    except (AttributeError, IndexError, KeyError, OSError, RecursionError, TypeError, ValueError) as error:
        raise ModelError(f"{path} is not a readable safetensors file: {error}. Download it again.") from error
    if size != whole:
        raise ModelError(f"{path} has {size:,} bytes, where its header says {whole:,}. Download it again.")
    return {name for name in header if name != "__metadata__"}


def file_state(about: os.stat_result) -> tuple[int, ...]:
    """Tell a file from another that has taken its place, and from itself before it was written again."""
    return about.st_dev, about.st_ino, about.st_size, about.st_mtime_ns


def read_object(path: Path) -> dict[str, Any]:
    """Read the JSON object in a file; an empty object if there is no file.

    Raises:
        ModelError: If the file holds anything else.
    """
    value = read_json(path)
    if not isinstance(value, dict):
        raise ModelError(f"{path} must hold a JSON object, got {value!r:.60}")
    return value


def read_json(path: Path) -> Any:
    """Read a JSON file; an empty object if there is no file.

    Raises:
        ModelError: If the file isn't JSON.
    """
    if not path.exists():
        return {}
    _read_start(path)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, RecursionError, ValueError) as error:
        raise ModelError(f"{path} is not readable JSON: {error}") from error


@contextmanager
def loading(what: str, folder: Path | None = None) -> Iterator[None]:
    """Turn errors of the libraries that load a model into a ModelError.

    Args:
        what: The model, for the message.
        folder: The tokenizer's folder, if a tokenizer is read too: the libraries' errors don't name the file.
    """
    try:
        yield
    except (MemoryError, LateRerankError):
        raise
    except Exception as error:  # each library raises its own kinds of errors for files that it can't read
        reason = "" if folder is None else _unreadable(folder / _TOKENIZER)
        if "ignore_mismatched_sizes" in str(error):  # transformers' advice to its own caller
            reason = "its weights aren't of the sizes that its config.json says. Download both again"
        raise ModelError(f"{what} can't be loaded: {reason or repr(error)}") from error


def _unreadable(tokenizer: Path) -> str:
    """Say why a tokenizer can't be read; empty if it can, or isn't there."""
    from tokenizers import Tokenizer  # noqa: PLC0415 - only for the message

    if not tokenizer.is_file():
        return ""
    try:
        Tokenizer.from_file(str(tokenizer))
    except Exception as error:  # noqa: BLE001 - its errors are plain Exceptions
        return f"{tokenizer} is no tokenizer: {error}"
    return ""


def _check_pickle(path: Path) -> None:
    start = _read_start(path)
    if not (start.startswith(_PICKLE) or (start.startswith(_ZIP) and zipfile.is_zipfile(path))):
        raise ModelError(f"{path} is not a whole file of torch's. Download it again.")


def _read_start(path: Path) -> bytes:
    """Read a file's first bytes.

    Raises:
        ModelError: If the file is empty, a folder or unreadable, or git left a pointer in place of a large file.
    """
    try:
        with path.open("rb") as file:
            start = file.read(len(_POINTER))
    except OSError as error:
        raise ModelError(f"{path} can't be read: {error.strerror}") from error
    if start == _POINTER:
        raise ModelError(f"{path} is a git-lfs pointer, not the file itself. Run `git lfs pull` in {path.parent}.")
    if not start:
        raise ModelError(f"{path} is empty. Download it again.")
    return start
