"""`distil_query`, the one call: texts like queries -> check, train, measure before and after -> a query encoder's folder."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from itertools import chain, count
from pathlib import Path

import torch

from late_rerank.encode.backends.choosing import UnfitError
from late_rerank.encode.builtin import BUILT_IN, FAST_FOLDERS
from late_rerank.encode.compiled.format import QUERY_ENCODER
from late_rerank.encode.devices import as_device
from late_rerank.encode.query_side.names import FAST
from late_rerank.encode.query_side.opening import check_fits, open_student
from late_rerank.encode.query_side.student import CompiledStudent
from late_rerank.encode.query_side.writing import write_query_encoder
from late_rerank.encode.sources import local_folder
from late_rerank.encode.text import TextEncoder
from late_rerank.encode.torch.compiling import compile_model
from late_rerank.encode.torch.model import torch_model
from late_rerank.errors import ModelError
from late_rerank.evaluate.evaluation import check_measures
from late_rerank.stores import MemoryStore, Store, as_store
from late_rerank.train.distil.card import card_files
from late_rerank.train.distil.fit import Lesson, fit, weights_of
from late_rerank.train.distil.measuring import FULL, TRAINED, UNTRAINED, Development, measured
from late_rerank.train.distil.recipe import DistilRecipe
from late_rerank.train.distil.report import DistilReport
from late_rerank.train.distil.rounds import Rounds
from late_rerank.train.distil.student import Student
from late_rerank.train.distil.teacher import Lengths, TeacherVectors
from late_rerank.train.distil.texts import QueryTexts, checked
from late_rerank.train.distil.unfinished import UnfinishedDistillation
from late_rerank.train.resume import check_out

_CHECKPOINT, _COMPILED = "checkpoint", "compiled"
_CHECKPOINT_BYTES = (
    16  # of a trained number: itself, its average, and two numbers of the optimizer; two checkpoints for a moment
)


def distil_query(
    model: str | Path,
    texts: QueryTexts | Sequence[str],
    out: str | Path,
    *,
    recipe: DistilRecipe | None = None,
    held_out: Sequence[Development] = (),
    store: str | Store | None = None,
    device: str | None = None,
    progress: bool = False,
    tell: Callable[[str], None] | None = None,
) -> DistilReport:
    """Make a small query encoder for a model: a student of few layers, whose query vectors are near the model's own.

    `Reranker(model, query_encoder=out)` uses it, without torch, over any store of the model's documents. An interrupted call
    leaves its teacher's vectors and a checkpoint in `out`. Called again with the same arguments it goes on.

    Args:
        model: The teacher: "minilm", "minilm-late", a checkpoint's folder or a hub name.
        texts: To learn from, as `query_texts` reads them; or queries, tens of thousands, to which no odd texts are added.
        out: A folder, new or empty, for the query encoder.
        recipe: How; None for the defaults.
        held_out: Judged queries that full, untrained and trained query encoder are measured on. Texts of the same words are not
            trained on.
        store: Where token vectors of their candidates are kept; None for nowhere.
        device: A torch device; None for the fastest there is.
        progress: Show bars on stderr, if that is a terminal.
        tell: Takes notes for the user, before the work: the room that is needed on the disk.

    Raises:
        ValueError: If there are too few texts, the model or the query encoder to begin with has no such layers, or `out` holds
            something else.
        ModelError: If the model can't be found, is compiled already, or layers of it can't be left out; or if there is no query
            encoder to begin with.
        IncompatibleError: If the query encoder to begin with is another model's.
        MissingDependencyError: If torch isn't installed, or with `held_out` a package of `eval`.
        OSError: If the disk has no room.
    """
    recipe, out, device = recipe or DistilRecipe(), Path(out), as_device(device)
    check_out(out)
    if held_out:
        check_measures()
    given = texts if isinstance(texts, QueryTexts) else QueryTexts.of(texts)
    given = checked(given.without(chain.from_iterable(development.held_out.texts() for development in held_out)))
    trained_on, measured_on = given.split(recipe.n_held_out, recipe.seed)
    begin_with = None if recipe.begin_with is None else _opened(str(recipe.begin_with), str(model))
    teacher, student = _teacher_and_student(model, recipe, device, begin_with)
    runs = [(each.held_out, each.held_out.candidates(each.retriever, progress=progress)) for each in held_out]
    fingerprints = (teacher.fingerprint, *(() if begin_with is None else (begin_with.fingerprint,)))
    unfinished = UnfinishedDistillation.begin(out, recipe, given, fingerprints)
    folder = unfinished.folder
    # A model that can't be written fails here, hours before the training ends.
    if not (folder / UNTRAINED / QUERY_ENCODER).is_file():
        _write(student, teacher, folder, UNTRAINED)
    lesson = _lesson(teacher, trained_on, measured_on, recipe, folder)
    student.fix(lesson.unseen)
    if tell is not None:
        tell(_room(lesson, student, folder))
    fitted = fit(student, lesson, recipe, unfinished, progress=progress)
    made = _write(student, teacher, folder, TRAINED)
    encoders = {name: TextEncoder(model, device=device, query_encoder=folder / name) for name in (UNTRAINED, TRAINED)}
    kept_in = MemoryStore(max_bytes=None) if store is None else as_store(store)
    try:
        found = measured({FULL: teacher, **encoders}, measured_on.kinds, runs, kept_in, progress=progress)
    finally:
        if kept_in is not store:
            kept_in.close()
    report = DistilReport.of(student, made, model=str(model), recipe=recipe, texts=trained_on, fitted=fitted, measured=found)
    _move(folder / TRAINED, out, card_files(out.resolve().name, report.to_dict()))
    unfinished.remove()
    return report


def _opened(begin_with: str, model: str) -> CompiledStudent | None:
    """Open the query encoder that a student begins with."""
    if begin_with == FAST and model not in FAST_FOLDERS:
        raise ModelError(f'begin_with="{FAST}" is there for {", ".join(FAST_FOLDERS)} alone, not for {model}: leave it out')
    return open_student(begin_with, model, argument="begin_with")


def _teacher_and_student(
    model: str | Path, recipe: DistilRecipe, device: str | None, begin_with: CompiledStudent | None = None
) -> tuple[TextEncoder, Student]:
    """Load the teacher twice: as queries are encoded with it, and by torch, as what the student is made of."""
    name = str(model)
    folder = None if name in BUILT_IN else local_folder(model)
    _, loaded = torch_model(name, folder, device=device, max_tokens=None, pooling=1, reason="being taught")
    teacher = TextEncoder(model, device=device)
    if begin_with is not None:
        check_fits(begin_with, teacher.model, name, str(recipe.begin_with))
    student = Student(loaded, recipe, name, begin_with)
    layout = teacher.model.layout
    if not layout.lays_out_queries:
        raise ModelError(f"{name} lays out its queries in a way of its own, which no query encoder of this kind can")
    if "query" in layout.pooled:
        raise ModelError(f"{name} merges the token vectors of queries: there is no vector for each token to learn")
    return teacher, student


def _lesson(
    teacher: TextEncoder, trained_on: QueryTexts, measured_on: QueryTexts, recipe: DistilRecipe, folder: Path
) -> Lesson:
    """Number all texts, and make what the student learns from."""
    numbers = count()
    kinds = {kind: [next(numbers) for _ in found] for kind, found in trained_on.kinds.items()}
    held_out = [next(numbers) for found in measured_on.kinds.values() for _ in found]
    texts = [text for each in (trained_on, measured_on) for found in each.kinds.values() for text in found]
    layout = teacher.model.layout
    lengths = Lengths.of(texts, layout)
    return Lesson(
        texts=texts,
        layout=layout,
        vectors=TeacherVectors(teacher.model, texts, lengths, folder),
        rounds=Rounds(kinds, trained_on.parts(), lengths.widths, recipe),
        held_out=held_out,
        weights=weights_of(lengths.frequencies, len(texts)),
        unseen=torch.from_numpy(lengths.frequencies == 0),
    )


def _room(lesson: Lesson, student: Student, folder: Path) -> str:
    vectors, checkpoints = lesson.vectors.size_bytes / 1e9, 2 * student.n_weights * _CHECKPOINT_BYTES / 1e9
    return (
        f"the teacher's vectors of {len(lesson.texts):,} texts take up to {vectors:.1f} GB, and checkpoints {checkpoints:.1f} "
        f"GB, in {folder} until the training ends"
    )


def _write(student: Student, teacher: TextEncoder, folder: Path, name: str) -> CompiledStudent:
    """Compile a student, prove it against torch, and write it as a query encoder's folder below `folder`."""
    for each in (_CHECKPOINT, _COMPILED, name):  # of an interrupted attempt
        shutil.rmtree(folder / each, ignore_errors=True)
    student.save(folder / _CHECKPOINT)
    (folder / _COMPILED).mkdir()
    try:
        compile_model(f"a student of {teacher.name}", folder / _CHECKPOINT, folder / _COMPILED)
    except UnfitError as error:
        raise ModelError(f"a student of {teacher.name} can't be compiled, so it would need torch: {error}") from error
    written = write_query_encoder(folder / _COMPILED, folder / name, teacher)
    for each in (_CHECKPOINT, _COMPILED):
        shutil.rmtree(folder / each)
    return written


def _move(made: Path, out: Path, beside: Mapping[str, str]) -> None:
    """Move a query encoder's files into its folder; the description last, without which it is none."""
    for name, text in beside.items():
        (out / name).write_text(text, encoding="utf-8")
    for file in sorted(made.iterdir(), key=lambda file: file.name == QUERY_ENCODER):
        file.replace(out / file.name)
