"""Texts and a teacher's vectors -> a trained student; goes on after an interruption."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from late_rerank.encode.inputs import Inputs
from late_rerank.encode.layout import Layout
from late_rerank.observing.progress import progress_bar
from late_rerank.train.distil.recipe import DistilRecipe
from late_rerank.train.distil.rounds import Rounds, Step
from late_rerank.train.distil.student import Student, groups_of
from late_rerank.train.distil.teacher import TeacherVectors
from late_rerank.train.distil.unfinished import UnfinishedDistillation
from late_rerank.train.precision import in_bfloat16
from late_rerank.types import I64

_SAVE_S = 60.0
_AVERAGED_EVERY = 10
_TOLD_EVERY = 100
_LONGEST_STEP = 1.0  # the norm that gradients are cut to
_MEASURED_AT_ONCE = 64


class Lesson(NamedTuple):
    """What a student learns from.

    Attributes:
        texts: All texts.
        layout: How texts become ids.
        vectors: The teacher's, of all texts.
        rounds: The steps.
        held_out: Positions of texts that no step has.
        weights: (vocabulary,) how much the vector of each token counts, by its id.
        unseen: (vocabulary,) bool: the tokens that no text has.
    """

    texts: Sequence[str]
    layout: Layout
    vectors: TeacherVectors
    rounds: Rounds
    held_out: Sequence[int]
    weights: Tensor
    unseen: Tensor


@dataclass
class Fitted:
    """A finished training.

    Attributes:
        n_steps: Steps.
        n_drawn: Texts of all steps, copies that fill a step included.
        seconds: The time of all steps, before interruptions too.
        cosines: The mean cosine of tokens to the teacher's, for every hundred steps.
        kept: "average" or "last": which weights were kept.
        cosine: Of the kept weights, the mean cosine of tokens on held-out texts.
    """

    n_steps: int = 0
    n_drawn: int = 0
    seconds: float = 0.0
    cosines: list[float] = field(default_factory=list)
    kept: str = "last"
    cosine: float = 0.0


def weights_of(frequencies: I64, n_texts: int) -> Tensor:
    """Give how much each token's vector counts: rare words more than markers and function words, six times at most.

    Args:
        frequencies: (vocabulary,) the texts that each token stands in.
        n_texts: Of how many.
    """
    rarity = np.log(n_texts / (frequencies + 1)).clip(0)
    return torch.from_numpy((0.3 + rarity / 5).clip(0.3, 2.0)).float()


def fit(
    student: Student,
    lesson: Lesson,
    recipe: DistilRecipe,
    unfinished: UnfinishedDistillation,
    *,
    progress: bool = False,
) -> Fitted:
    """Train a student, which is changed in place.

    Args:
        student: As it begins.
        lesson: What it learns from.
        recipe: How.
        unfinished: Holds the checkpoint: of an interrupted training of the same lesson, and of this one.
        progress: Show a bar on stderr, if that is a terminal.
    """
    training = _Training(student, lesson, recipe, unfinished)
    earlier = training.told.n_steps
    with progress_bar(unit=" steps", desc="Training", initial=earlier, progress=progress) as bar:
        for done in training.steps():
            bar.total = max(training.told.n_steps, round(training.told.n_steps / done))
            bar.update(training.told.n_steps - bar.n)
            bar.set_postfix(cosine=f"{training.recent:.4f}", refresh=False)
    return training.finished()


class _Training:
    """The state of a training, from its last checkpoint."""

    def __init__(self, student: Student, lesson: Lesson, recipe: DistilRecipe, unfinished: UnfinishedDistillation) -> None:
        self._student, self._lesson, self._recipe, self._unfinished = student, lesson, recipe, unfinished
        self._peak = recipe.peak_learning_rate(student.hidden_size)
        self._weights = student.trainable
        self._optimizer = torch.optim.AdamW(groups_of(self._weights), lr=self._peak, betas=(0.9, 0.98), eps=1e-8, fused=True)
        self._average = {name: weight.detach().clone() for name, weight in self._weights.items()}
        self._round, self._at, self.told = 0, 0, Fitted()
        self._window: list[float] = []
        self._in_bfloat16 = in_bfloat16(recipe.precision, student.device)
        held = unfinished.load()
        if held is not None:
            self._take(held)

    @property
    def recent(self) -> float:
        """The mean cosine of the last steps."""
        last = (self.told.cosines[-1:] if len(self._window) < _TOLD_EVERY // 2 else []) + self._window
        return float(np.mean(last)) if last else 0.0

    def steps(self) -> Iterator[float]:
        """Train. After each step give the share of the training that is done."""
        began, earlier, saved = time.perf_counter(), self.told.seconds, time.perf_counter()
        done = self._recipe.done(self.told.n_steps, earlier)
        while done < 1:
            steps = self._lesson.rounds.steps(self._round)
            self._lesson.vectors.teach({i for step in steps[self._at :] for i in step.texts})
            while self._at < len(steps) and done < 1:
                self._step(steps[self._at], self._peak * self._recipe.rate(self.told.n_steps, done))
                self._at += 1
                self.told.seconds = earlier + time.perf_counter() - began
                done = self._recipe.done(self.told.n_steps, self.told.seconds)
                if time.perf_counter() - saved > _SAVE_S:
                    self._keep()
                    saved = time.perf_counter()
                yield done
            if self._at == len(steps):
                self._round, self._at = self._round + 1, 0
        self._keep()

    def finished(self) -> Fitted:
        """Keep the better weights, and tell what was done."""
        self._lesson.vectors.teach(self._lesson.held_out)
        last = {name: weight.detach().clone() for name, weight in self._weights.items()}
        found = {"last": held_out_cosine(self._student, self._lesson)}
        self._student.take(self._average)
        found["average"] = held_out_cosine(self._student, self._lesson)
        self.told.kept = max(found, key=lambda name: found[name])
        if self.told.kept == "last":
            self._student.take(last)
        self.told.cosine = found[self.told.kept]
        return self.told

    def _step(self, step: Step, rate: float) -> None:
        lesson = self._lesson
        laid, _ = lesson.layout.queries([lesson.texts[i] for i in step.texts])
        inputs = laid.widened(step.width, lesson.layout.pad_id)
        target = torch.from_numpy(lesson.vectors.rows(step.texts)).to(self._student.device)
        with self._precision():
            found = self._student.vectors(inputs)
        cosines = (found * target).sum(dim=1)
        counts = lesson.weights[torch.from_numpy(inputs.ids[inputs.counted])].to(cosines.device)
        loss = (counts * (1 - cosines)).sum() / counts.sum()
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        self._optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self._weights.values(), _LONGEST_STEP)
        self._optimizer.step()
        self.told.n_steps += 1
        self.told.n_drawn += len(step.texts)
        self._tell(float(cosines.detach().mean()))
        if self.told.n_steps % _AVERAGED_EVERY == 0:
            self._move_average()

    def _tell(self, cosine: float) -> None:
        self._window.append(cosine)
        if len(self._window) == _TOLD_EVERY:
            self.told.cosines.append(round(float(np.mean(self._window)), 4))
            self._window.clear()

    @torch.no_grad()
    def _move_average(self) -> None:
        n = self.told.n_steps // _AVERAGED_EVERY
        share = max(self._recipe.averaged, 9 / (9 + n))  # else the weights at the beginning would count for long
        for name, weight in self._weights.items():
            self._average[name].lerp_(weight, share)

    def _precision(self) -> AbstractContextManager[Any]:
        device = self._student.device.type
        return torch.autocast(device, torch.bfloat16) if self._in_bfloat16 else nullcontext()

    def _keep(self) -> None:
        self._unfinished.keep(
            {
                "weights": {name: weight.detach() for name, weight in self._weights.items()},
                "average": self._average,
                "optimizer": self._optimizer.state_dict(),
                "round": self._round,
                "at": self._at,
                "window": self._window,
                "told": asdict(self.told),
            }
        )

    def _take(self, held: dict[str, Any]) -> None:
        self._student.take(held["weights"])
        self._average = {name: weight.to(self._student.device) for name, weight in held["average"].items()}
        self._optimizer.load_state_dict(held["optimizer"])
        self._round, self._at, self._window, self.told = held["round"], held["at"], held["window"], Fitted(**held["told"])


@torch.no_grad()
def held_out_cosine(student: Student, lesson: Lesson) -> float:
    """Measure the mean cosine of a student's vectors to the teacher's on held-out texts, which were taught."""
    ordered, cosines = sorted(lesson.held_out, key=lambda i: len(lesson.texts[i])), []
    for start in range(0, len(ordered), _MEASURED_AT_ONCE):
        which = ordered[start : start + _MEASURED_AT_ONCE]
        inputs: Inputs = lesson.layout.queries([lesson.texts[i] for i in which])[0]
        target = torch.from_numpy(lesson.vectors.rows(which)).to(student.device)
        cosines.append((student.vectors(inputs) * target).sum(dim=1).cpu())
    return float(torch.cat(cosines).mean())
