"""The built-in query encoder of "minilm": its layers are in the package, its embeddings are the model's own."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from safetensors import SafetensorError

from late_rerank.encode.builtin import FAST_FOLDERS, MINILM
from late_rerank.encode.compiled.builtin import builtin_model
from late_rerank.encode.compiled.format import (
    GRAPH,
    PROBES,
    QUERY_ENCODER,
    TOKENIZER,
    WEIGHTS,
    Description,
    read_compiled,
    sha256,
    write_description,
    write_weights,
)
from late_rerank.encode.compiled.kept import keep
from late_rerank.encode.files import tensor_names
from late_rerank.encode.query_side.student import CompiledStudent, read_student
from late_rerank.encode.query_side.weights import LAYERS, student_weights
from late_rerank.errors import ModelError

_INSTALL = "pip install --force-reinstall --no-deps late-rerank"


def fast_student(model: str) -> CompiledStudent:
    """Find the built-in query encoder of a model. Its weights are written when it is used first, and kept.

    Args:
        model: The model's name.

    Raises:
        ModelError: If there is none for that model, a file of the package is damaged, or the weights can be written nowhere.
    """
    if model not in FAST_FOLDERS:
        raise ModelError(
            f'query_encoder="fast" is built in for {", ".join(FAST_FOLDERS)} alone, not for {model}. Make one for it: '
            f"late-rerank distil-query {model} --out DIR, then query_encoder=DIR"
        )
    folder = FAST_FOLDERS[model]
    described, teacher = read_student(folder, again=f"Install it again: {_INSTALL}")
    with _of_the_package():
        tensor_names(folder / LAYERS)  # raises if the file is damaged
    version = sha256(folder / QUERY_ENCODER)[:16]  # another release's stays another's
    try:
        compiled = keep(f"{model}-fast-{version}", partial(_write, folder, described))
    except OSError as error:
        raise ModelError(
            f'the weights of query_encoder="fast" can be written nowhere: {type(error).__name__}: {error}'
        ) from error
    return CompiledStudent(compiled, teacher)


def _write(folder: Path, described: Description, made: Path) -> None:
    plain = builtin_model(MINILM)
    with _of_the_package():
        for name in (GRAPH, PROBES):
            if not (folder / name).is_file():
                raise ModelError(f"{folder} lacks {name}.")
            shutil.copyfile(folder / name, made / name)
        shutil.copyfile(plain.tokenizer, made / TOKENIZER)
        write_weights(made / WEIGHTS, dict(student_weights(plain, folder / LAYERS)))
        write_description(made, described)
        read_compiled(made)  # the teacher's files are whole, so that a wrong digest is due to the package's


@contextmanager
def _of_the_package() -> Iterator[None]:
    """Say how to mend a damaged file of the package."""
    try:
        yield
    except (ModelError, KeyError, SafetensorError, ValueError) as error:
        raise ModelError(f'{error} It belongs to query_encoder="fast": {_INSTALL}') from error
