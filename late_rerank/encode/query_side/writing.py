"""A compiled student -> a query encoder's folder. COMPILED.md specifies it."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from late_rerank.encode.compiled.format import read_compiled
from late_rerank.encode.fingerprint import tokenizer_line
from late_rerank.encode.query_side.names import FULL
from late_rerank.encode.query_side.opening import check_fits
from late_rerank.encode.query_side.student import CompiledStudent, Teacher, read_query_encoder, write_student
from late_rerank.encode.text import TextEncoder
from late_rerank.errors import IncompatibleError

_UNFINISHED = ".new-"


def write_query_encoder(
    compiled: Path, out: Path, teacher: TextEncoder, *, beside: Mapping[str, str] | None = None
) -> CompiledStudent:
    """Turn a compiled student into a query encoder's folder, whole or not at all.

    `Reranker(MODEL, query_encoder=out)` uses it then, without torch, over all documents that the teacher encoded.

    Args:
        compiled: The folder of the student, as `compile_model` writes it. It stays as it is.
        out: A new or empty folder.
        teacher: The model whose query vectors the student learnt, as `TextEncoder(MODEL)` gives it. A cap on its documents, and
            pooling that its user asked for, don't count: queries are the same.
        beside: File's name -> text of further files in the folder: "README.md", "training.json".

    Raises:
        IncompatibleError: If the student's vectors have another width than the teacher's, or it lays out queries otherwise.
        ModelError: If `compiled` is no compiled model, or is damaged.
        ValueError: If the teacher's queries are another query encoder's.
        FileExistsError: If `out` holds files.
        OSError: If it can't be written.
    """
    if teacher.query_encoder != FULL:
        raise ValueError(f"the teacher's queries are of query_encoder={teacher.query_encoder!r}: pass TextEncoder(MODEL)")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise FileExistsError(f"{out} exists: name a new or empty folder")
    student = CompiledStudent(read_compiled(compiled), Teacher(teacher.name, teacher.model.plain_fingerprint()))
    check_fits(student, teacher.model, teacher.name, str(compiled))
    if tokenizer_line(student.compiled.read_tokenizer()) != tokenizer_line(teacher.model.layout.tokenizer):
        raise IncompatibleError(f"{compiled} has another tokenizer than {teacher.name}: ids would mean other tokens")
    out.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(dir=out.parent, prefix=_UNFINISHED))
    try:
        _fill(made, student, beside or {})
        made.chmod(0o755)
        if out.is_dir():  # empty
            out.rmdir()
        made.rename(out)
    except BaseException:
        shutil.rmtree(made, ignore_errors=True)
        raise
    return read_query_encoder(out)


def _fill(folder: Path, student: CompiledStudent, beside: Mapping[str, str]) -> None:
    held = student.compiled
    for file in (held.graph, held.weights, held.tokenizer, held.probes):
        shutil.copyfile(file, folder / file.name)
    for name, text in beside.items():
        (folder / name).write_text(text, encoding="utf-8")
    write_student(folder, held.description, student.teacher)  # last: without it a folder is no query encoder
