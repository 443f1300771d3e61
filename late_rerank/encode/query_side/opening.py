"""The name of a query encoder -> a CompiledStudent; a Model and a CompiledStudent -> the Model whose queries it encodes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from late_rerank.encode.backends.choosing import UnfitError, choose
from late_rerank.encode.builtin import BUILT_IN
from late_rerank.encode.compiled.format import is_compiled
from late_rerank.encode.compiled.forward import GraphForward, steps_of
from late_rerank.encode.layout import Layout
from late_rerank.encode.model import Backend, Model, QuerySide
from late_rerank.encode.query_side.fast import fast_student
from late_rerank.encode.query_side.names import FAST, FULL, refused_by_pages
from late_rerank.encode.query_side.student import CompiledStudent, is_query_encoder, read_query_encoder
from late_rerank.encode.sources import local_folder
from late_rerank.encode.visual.families import sees_pictures
from late_rerank.errors import IncompatibleError, ModelError


def open_student(name: str, model: str, *, argument: str = "query_encoder") -> CompiledStudent | None:
    """Find a query encoder, and compare its files with their digests.

    Args:
        name: "full", "fast" or a folder's path; "~" in it is the user's home.
        model: The name of the model whose queries it is to encode.
        argument: What the name was given as, for errors.

    Returns:
        None for "full".

    Raises:
        ModelError: If the folder holds no query encoder, a file is damaged, or no fast query encoder is built in for the model.
        IncompatibleError: If the model is one of page images.
    """
    if name == FULL:
        return None
    if model not in BUILT_IN and sees_pictures(local_folder(model)):
        raise refused_by_pages(name, model)
    if name == FAST:
        return fast_student(model)
    folder = Path(os.path.expanduser(name))  # noqa: PTH111 - Path's own raises RuntimeError for "~no-such-user"
    if is_query_encoder(folder):
        return read_query_encoder(folder)
    known = f'"{FULL}", "{FAST}"' if argument == "query_encoder" else f'"{FAST}"'
    expected = f"{known}, or the folder that `late-rerank distil-query {model} --out DIR` writes"
    raise ModelError(f"{argument}={name!r} is {_instead(folder)}. Pass {expected}")


def _instead(folder: Path) -> str:
    if not folder.exists():
        return "no folder that exists"
    if not folder.is_dir():
        return "a file"
    if is_compiled(folder) or (folder / "config.json").is_file() or (folder / "modules.json").is_file():
        return "a model's folder, no query encoder's"
    return "a folder without query-encoder.json, so no query encoder's"


def with_student(model: Model, student: CompiledStudent, name: str, query_encoder: str, engines: Sequence[str]) -> Model:
    """Let a query encoder encode a model's queries.

    Args:
        model: The model, which goes on encoding documents.
        student: The query encoder.
        name: The model's name, for errors.
        query_encoder: The query encoder's name.
        engines: Names of engines, in the order in which they are tried.

    Raises:
        IncompatibleError: If the query encoder is another model's.
        ModelError: If no engine here runs it.
    """
    check_fits(student, model, name, query_encoder)
    described = student.compiled.description
    try:
        run, backend = choose(student.compiled, engines)
    except UnfitError as error:
        raise ModelError(f"no engine here runs the query encoder {query_encoder}: {error}") from error
    side = QuerySide(
        name=query_encoder,
        fingerprint=student.fingerprint,
        forward=GraphForward(run, steps_of(described.steps)),
        backend=backend,
        described=_described(student, query_encoder, backend),
    )
    return replace(model, query_side=side)


def check_fits(student: CompiledStudent, model: Model, name: str, query_encoder: str) -> None:
    """Check that a query encoder's vectors match those of a model's documents.

    Raises:
        IncompatibleError: If another model taught it, its vectors have another width, or it lays out queries otherwise.
    """
    check_teacher(student, model.plain_fingerprint(), name, query_encoder)
    described = student.compiled.description
    if described.dim != model.dim:
        raise IncompatibleError(
            f"the query encoder {query_encoder} gives vectors of {described.dim} components, and {name} gives {model.dim}"
        )
    theirs = Layout.of_settings(described.layout, model.layout.tokenizer, None).query_settings()
    ours = model.layout.query_settings()
    if theirs != ours:
        differing = [f"{key} {theirs[key]!r} instead of {ours[key]!r}" for key in ours if theirs[key] != ours[key]]
        raise IncompatibleError(
            f"the query encoder {query_encoder} lays out queries otherwise than {name}: {', '.join(differing)}"
        )


def check_teacher(student: CompiledStudent, fingerprint: str, name: str, query_encoder: str) -> None:
    """Check that a query encoder learned from a model.

    Args:
        student: The query encoder.
        fingerprint: The model's, without a cap on its documents and without pooling that its user asks for.
        name: The model's name, for errors.
        query_encoder: The query encoder's name, for errors.

    Raises:
        IncompatibleError: If another model taught it.
    """
    teacher = student.teacher
    if teacher.fingerprint != fingerprint:
        raise IncompatibleError(
            f"the query encoder {query_encoder} matches documents of {teacher.name} ({teacher.fingerprint}), but the model is "
            f"{name} ({fingerprint}). Make one for this model: late-rerank distil-query {name} --out DIR"
        )


def _described(student: CompiledStudent, name: str, backend: Backend) -> dict[str, Any]:
    return {
        "name": name,
        "fingerprint": student.fingerprint,
        "teacher": student.teacher.name,
        "layers": student.n_layers,
        "size_bytes": student.size_bytes,
        "backend": backend.name,
        "precision": backend.precision,
        "why_this_backend": backend.reason,
        "least_cosine_to_torch": round(backend.least_cosine, 5),
        "proved_when_compiled": student.compiled.description.proved,
    }
