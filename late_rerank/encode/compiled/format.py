"""A compiled model's folder: read and compared with its digests, or written. COMPILED.md specifies it."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open
from tokenizers import Tokenizer

from late_rerank.encode.files import file_state, read_object
from late_rerank.errors import ModelError

FORMAT = 1
DESCRIPTION, GRAPH, WEIGHTS, TOKENIZER = "compiled.json", "model.onnx", "weights.safetensors", "tokenizer.json"
PROBES = "probes.safetensors"
FILES = (DESCRIPTION, GRAPH, WEIGHTS, TOKENIZER, PROBES)
QUERY_ENCODER = "query-encoder.json"
"""The description of a query encoder: it has another name, so that nothing takes the folder for a model of documents."""

_DIGEST = "digest"
_SETTLED_S = 2
_DIGESTED: dict[tuple[int, ...], str] = {}


@dataclass(frozen=True)
class Description:
    """What compiled.json holds; JSON values. COMPILED.md specifies each key.

    Attributes:
        dim: Components of a token vector.
        fingerprint: Of the model without a cap and without pooling of ours.
        layout: `Layout.settings`.
        steps: What happens to vectors after the graph, in order.
        modules: Each module's line of the fingerprint.
        architecture: The architecture's line of the fingerprint.
        weights: The file that the graph's weights are in, and what it leaves out of their names.
        vocabulary: Ids below this are tokens.
        longest: The most tokens in one pass; None where there is no limit.
        notes: What `doctor` shows beside these.
        source: What was compiled: its name and its format.
        proved: How the graph was compared with sentence-transformers.
        versions: Package -> version that took part.
        sha256: File -> its SHA-256.
        format: Of the folder.
    """

    dim: int
    fingerprint: str
    layout: dict[str, Any]
    steps: list[dict[str, Any]]
    modules: list[str]
    architecture: str
    weights: dict[str, str]
    vocabulary: int
    longest: int | None
    notes: dict[str, Any]
    source: dict[str, Any]
    proved: dict[str, Any]
    versions: dict[str, str]
    sha256: dict[str, str]
    format: int = FORMAT


@dataclass(frozen=True)
class Compiled:
    """A compiled model on this machine, whole.

    Attributes:
        description: What it is.
        graph: The file of the graph.
        weights: The file of its weights. The graph names this file without a folder.
        tokenizer: The file of its tokenizer.
        probes: The file of inputs and torch's vectors for them.
    """

    description: Description
    graph: Path
    weights: Path
    tokenizer: Path
    probes: Path

    @property
    def size_bytes(self) -> int:
        """What all its files take, wherever they lie."""
        files = (self.graph.parent / DESCRIPTION, self.graph, self.weights, self.tokenizer, self.probes)
        return sum(file.stat().st_size for file in files)

    def read_tokenizer(self) -> Tokenizer:
        """Read the tokenizer, without truncation and padding."""
        tokenizer = Tokenizer.from_file(str(self.tokenizer))
        tokenizer.no_truncation()
        tokenizer.no_padding()
        return tokenizer

    def tensors(self) -> Iterator[tuple[str, NDArray[np.float32]]]:
        """Give all weights by their names in the model, in the order of their names."""
        prefix = self.description.weights["prefix"]
        with safe_open(self.weights, framework="np") as file:
            for name in sorted(file.keys()):
                if file.get_slice(name).get_dtype() == "F32":
                    yield prefix + name, file.get_tensor(name)


def is_compiled(folder: Path) -> bool:
    """Tell whether a folder holds a compiled model, whole or not."""
    return (folder / DESCRIPTION).is_file()


def read_compiled(folder: Path, files: Path | None = None) -> Compiled:
    """Read a compiled model, and compare every file with its digest.

    Args:
        folder: With the description, the graph and the probes.
        files: Where weights and tokenizer lie, if not in `folder`.

    Raises:
        ModelError: If a file is absent or damaged, or the format is unknown; the message names the file.
    """
    folder = folder.resolve()  # the program may change its working directory
    description = Description(**read_described(folder / DESCRIPTION, [field.name for field in fields(Description)]))
    return checked(description, folder, files)


def checked(description: Description, folder: Path, files: Path | None = None, *, named: str = DESCRIPTION) -> Compiled:
    """Compare the files of a model with the digests of its description.

    Args:
        description: What the model is.
        folder: With the graph and the probes.
        files: Where weights and tokenizer lie, if not in `folder`.
        named: The description's file, for errors.

    Raises:
        ModelError: If a file is absent or damaged; the message names the file.
    """
    folder = folder.resolve()  # the program may change its working directory
    others = folder if files is None else files.resolve()
    places = {name: (folder if name in (GRAPH, PROBES) else others) / name for name in description.sha256}
    for name, file in places.items():
        _check(file, description.sha256[name], named)
    weights = places[description.weights["file"]]
    return Compiled(description, places[GRAPH], weights, places[TOKENIZER], places[PROBES])


def write_description(folder: Path, description: Description) -> None:
    """Write compiled.json into a folder."""
    write_described(folder / DESCRIPTION, asdict(description))


def write_described(file: Path, values: Mapping[str, Any]) -> None:
    """Write a description's values with their digest."""
    text = json.dumps({**values, _DIGEST: _digest(values)}, indent=1, ensure_ascii=False)
    file.write_text(text + "\n", encoding="utf-8")


def write_weights(file: Path, tensors: Mapping[str, NDArray[np.float32]]) -> None:
    """Write a safetensors file whose bytes depend on nothing but the weights: a graph refers to places in it.

    The library's own writer may lay a file out otherwise in its next release.

    Args:
        file: A new file.
        tensors: Names -> weights, float32.
    """
    header: dict[str, Any] = {}
    stop = 0
    for name, tensor in sorted(tensors.items()):
        start, stop = stop, stop + tensor.nbytes
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [start, stop]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with file.open("wb") as opened:
        opened.write(len(text).to_bytes(8, "little") + text)
        for _, tensor in sorted(tensors.items()):
            opened.write(np.ascontiguousarray(tensor, dtype="<f4").data)


def sha256(file: Path) -> str:
    """Digest a file, once in a process as long as it stays what it is: weights are linked from folder to folder.

    Raises:
        OSError: If it can't be read.
    """
    with file.open("rb") as opened:
        about = os.fstat(opened.fileno())
        state = file_state(about)
        known = _DIGESTED.get(state)
        if known is not None:
            return known
        digest = hashlib.sha256()
        while part := opened.read(1 << 20):
            digest.update(part)
    # A younger file may be written again without another time.
    if time.time() - about.st_mtime > _SETTLED_S:
        _DIGESTED[state] = digest.hexdigest()
    return digest.hexdigest()


def read_described(
    file: Path,
    keys: Collection[str],
    *,
    what: str = "compiled model",
    again: str = "Compile the model again: late-rerank compile",
) -> dict[str, Any]:
    """Read what `write_described` wrote.

    Args:
        file: The description.
        keys: The keys that it must have.
        what: What its folder holds, for errors.
        again: How to make it again, for errors.

    Raises:
        ModelError: If the file is absent or damaged, or its format is unknown.
    """
    if not file.is_file():
        raise ModelError(f"{file.parent} holds no {what}: {file.name} is missing. {again}")
    try:
        values = read_object(file)
    except ModelError as error:
        raise ModelError(f"{str(error).rstrip('.')}. {again}") from error
    digest = values.pop(_DIGEST, None)
    if values.get("format") != FORMAT:
        raise ModelError(f"{file} is of format {values.get('format')!r}, and this version reads {FORMAT}. {again}")
    if digest != _digest(values) or set(values) != set(keys):
        raise ModelError(f"{file} is damaged: its digest is another. {again}")
    return values


def _digest(values: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def _check(file: Path, expected: str, named: str) -> None:
    try:
        found = sha256(file)
    except OSError as error:
        what = "query encoder" if named == QUERY_ENCODER else "compiled model"
        raise ModelError(f"{file} can't be read: {error.strerror}. It belongs to a {what}: {named} names it.") from error
    if found != expected:
        raise ModelError(
            f"{file} is damaged, or belongs to another model: its SHA-256 is {found[:16]}..., and {named} says "
            f"{expected[:16]}..."
        )
