"""A query encoder's folder: read and compared with its digests. COMPILED.md specifies it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from late_rerank.encode.compiled.format import (
    QUERY_ENCODER,
    WEIGHTS,
    Compiled,
    Description,
    checked,
    read_described,
    write_described,
)
from late_rerank.encode.query_side.weights import LAYERS
from late_rerank.errors import ModelError

_OWN, _TEACHER = "query_fingerprint", "teacher"
_KEYS = {field.name for field in fields(Description)} | {_OWN, _TEACHER}
_AGAIN = "Make it again: late-rerank distil-query MODEL --out DIR"
# How architectures name the number of their layers.
_N_LAYERS = ("num_hidden_layers", "n_layers", "num_layers")


@dataclass(frozen=True)
class Teacher:
    """The model whose documents a query encoder's queries match.

    Attributes:
        name: As the user named it when it taught.
        fingerprint: Its fingerprint, without a cap on its documents and without pooling that a user asked for.
    """

    name: str
    fingerprint: str


@dataclass(frozen=True)
class CompiledStudent:
    """A query encoder on this machine, whole.

    Attributes:
        compiled: It, as a compiled model. The fingerprint in its description is its own.
        teacher: The model that taught it.
    """

    compiled: Compiled
    teacher: Teacher

    @property
    def fingerprint(self) -> str:
        """Digest of all that changes the query encoder's vectors by more than rounding."""
        return self.compiled.description.fingerprint

    @property
    def n_layers(self) -> int | None:
        """Layers of its transformer; None if its architecture doesn't tell."""
        settings = self.settings
        return next((int(settings[name]) for name in _N_LAYERS if name in settings), None)

    @property
    def settings(self) -> dict[str, Any]:
        """The transformer's configuration, by transformers' names, which depend on the architecture."""
        found: dict[str, Any] = json.loads(self.compiled.description.architecture)
        return found

    @property
    def size_bytes(self) -> int:
        """What its graph, weights, tokenizer and probes take, wherever they lie."""
        compiled = self.compiled
        files = (compiled.graph, compiled.weights, compiled.tokenizer, compiled.probes)
        return sum(file.stat().st_size for file in files)


def is_query_encoder(folder: Path) -> bool:
    """Tell whether a folder holds a query encoder, whole or not."""
    return (folder / QUERY_ENCODER).is_file()


def read_query_encoder(folder: Path) -> CompiledStudent:
    """Read a query encoder, and compare every file with its digest.

    Raises:
        ModelError: If a file is absent or damaged, or the format is unknown; the message names the file. Also for the built-in
            query encoder's part of the package.
    """
    described, teacher = read_student(folder)
    if (folder / LAYERS).is_file() and not (folder / WEIGHTS).is_file():
        raise ModelError(
            f"{folder} is a part of the built-in query encoder of {teacher.name}, without the embeddings: use "
            f'query_encoder="fast" with the model {teacher.name}'
        )
    return CompiledStudent(checked(described, folder, named=QUERY_ENCODER), teacher)


def read_student(folder: Path, *, again: str = _AGAIN) -> tuple[Description, Teacher]:
    """Read what a query encoder is, and who taught it, without its other files.

    Args:
        folder: The query encoder's.
        again: How to get it whole, for errors.

    Raises:
        ModelError: If the description is absent or damaged, or its format is unknown.
    """
    values = read_described(folder / QUERY_ENCODER, _KEYS, what="query encoder", again=again)
    teacher = Teacher(values.pop(_TEACHER), values["fingerprint"])
    own = values.pop(_OWN)
    return Description(**{**values, "fingerprint": own}), teacher


def write_student(folder: Path, described: Description, teacher: Teacher) -> None:
    """Write query-encoder.json into a folder.

    Args:
        folder: Where to.
        described: The query encoder, as a compiled model; its fingerprint is its own.
        teacher: The model that taught it.
    """
    values: Mapping[str, Any] = {
        **asdict(described),
        "fingerprint": teacher.fingerprint,
        _OWN: described.fingerprint,
        _TEACHER: teacher.name,
    }
    write_described(folder / QUERY_ENCODER, values)
