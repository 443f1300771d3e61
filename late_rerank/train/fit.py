"""Rows and a model -> the adapted model's folder, with sentence-transformers' trainer; goes on after an interruption."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from sentence_transformers import MultiVectorEncoderTrainer, MultiVectorEncoderTrainingArguments
from transformers import PrinterCallback, ProgressCallback, TrainerCallback

from late_rerank.encode.tokens import without_surrogates
from late_rerank.encode.torch.loading import document_prompt
from late_rerank.errors import MissingDependencyError
from late_rerank.observing.progress import progress_bar
from late_rerank.train.loss import Loss
from late_rerank.train.model import TunableModel
from late_rerank.train.negatives import Row
from late_rerank.train.precision import in_bfloat16
from late_rerank.train.recipe import Recipe
from late_rerank.train.resume import Unfinished

_SAVE_STEPS = 25
_WEIGHTS = "trained.safetensors"
_PROJECTED_FROM = 200


class Fitted(NamedTuple):
    """A finished training.

    Attributes:
        losses: One for every five steps, in order.
        seconds: The time of all steps, before an interruption too.
        method: The weights that were trained, in words.
        device: A torch device's name.
    """

    losses: list[float]
    seconds: float
    method: str
    device: str


def check_packages(recipe: Recipe) -> None:
    """Check, before the work, that the packages of a training are installed.

    Raises:
        MissingDependencyError: If datasets, accelerate, or for LoRA peft is missing.
    """
    try:
        import accelerate  # noqa: F401, PLC0415
        import datasets  # noqa: F401, PLC0415

        if recipe.method == "lora":
            import peft  # noqa: F401, PLC0415
    except ImportError as error:
        raise MissingDependencyError("training", str(error.name), "train") from error


def fit(model: TunableModel, rows: Sequence[Row], unfinished: Unfinished, out: Path, *, progress: bool = False) -> Fitted:
    """Train a model on rows, each seen once, and write the model.

    Args:
        model: Changed in place.
        rows: As `mine` gives them.
        unfinished: Holds the checkpoints: of an interrupted training of the same rows, and of this one.
        out: The folder of the finished model.
        progress: Show a bar on stderr, if that is a terminal.
    """
    model.project(_some_texts(rows))
    losses, seconds = _train(model, rows, unfinished, progress=progress)
    method, device = model.method, str(model.encoder.device)
    model.save(out)
    return Fitted(losses, seconds, method, device)


def _some_texts(rows: Sequence[Row]) -> list[str]:
    """Give the queries and documents of rows drawn by chance, 200 at most."""
    some = random.Random(0).sample(list(rows), min(_PROJECTED_FROM, len(rows)))
    return [text for row in some for text in (row.query, row.positive, row.negatives[0])]


def _train(model: TunableModel, rows: Sequence[Row], unfinished: Unfinished, *, progress: bool) -> tuple[list[float], float]:
    """Run the trainer from its last checkpoint; give the losses and the seconds."""
    from datasets import Dataset  # noqa: PLC0415 - an extra

    from late_rerank.train.batches import Batches, batches_of  # noqa: PLC0415 - needs datasets

    recipe = model.recipe
    made = batches_of(rows, recipe.batch_size, recipe.seed)
    trainer = _Trainer(
        tunable=model,
        model=model.encoder,
        args=_arguments(model, unfinished.folder, lambda dataset, **_: Batches(dataset, made, batch_size=recipe.batch_size)),
        train_dataset=Dataset.from_dict(_columns(rows, recipe)),
        loss=Loss(model.encoder, recipe),
        callbacks=[_Bar(shown=progress)],
    )
    trainer.remove_callback(PrinterCallback)
    trainer.remove_callback(ProgressCallback)
    last = unfinished.last_checkpoint()
    trainer.train(resume_from_checkpoint=None if last is None else str(last))
    model.encoder.eval()
    return [float(entry["loss"]) for entry in trainer.state.log_history if "loss" in entry], trainer.seconds


def _columns(rows: Sequence[Row], recipe: Recipe) -> dict[str, list[Any]]:
    """Rows as the trainer's columns, in the order in which `Loss` takes them."""
    columns: dict[str, list[Any]] = {"query": _clean([row.query for row in rows])}
    columns["positive"] = _clean([row.positive for row in rows])
    for i in range(recipe.n_negatives):
        columns[f"negative_{i + 1}"] = _clean([row.negatives[i] for row in rows])
    if recipe.distil:
        columns["label"] = [list(row.scores) for row in rows]
    return columns


class _Trainer(MultiVectorEncoderTrainer):
    """Keeps only the trained weights in its checkpoints: LoRA's 3 MB instead of 90, and no merging before loading."""

    def __init__(self, *, tunable: TunableModel, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._tunable = tunable
        self._earlier, self._began = 0.0, time.perf_counter()

    @property
    def seconds(self) -> float:
        """Give the time of all steps so far, before the last interruption too."""
        return self._earlier + time.perf_counter() - self._began

    def add_model_card_callback(self, default_args_dict: dict[str, Any]) -> None:
        """Add none: we write the card ourselves, and theirs would encode examples first."""

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:  # noqa: ARG002
        folder = Path(output_dir or str(self.args.output_dir))
        folder.mkdir(parents=True, exist_ok=True)
        weights = {name: weight.detach().contiguous() for name, weight in self._tunable.trainable.items()}
        save_file(weights, folder / _WEIGHTS, metadata={"seconds": str(self.seconds)})

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:  # noqa: ARG002
        with safe_open(Path(resume_from_checkpoint) / _WEIGHTS, "pt") as saved, torch.no_grad():
            self._earlier = float(saved.metadata()["seconds"])
            for name, weight in self._tunable.trainable.items():
                weight.copy_(saved.get_tensor(name))


class _Bar(TrainerCallback):
    """Shows steps and the loss on stderr."""

    def __init__(self, *, shown: bool) -> None:
        self._shown = shown
        self._bar: Any = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: ARG002
        self._bar = progress_bar(
            total=state.max_steps,
            initial=state.global_step,
            unit=" steps",
            desc="Training",
            progress=self._shown,
        )

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: ARG002
        self._bar.update(state.global_step - self._bar.n)

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:  # noqa: ARG002
        if self._bar is not None and logs and "loss" in logs:
            self._bar.set_postfix(loss=f"{float(logs['loss']):.3f}")

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: ARG002
        self._bar.close()


def _clean(texts: Sequence[str]) -> list[str]:
    return [without_surrogates(text) for text in texts]  # a Dataset refuses surrogates


def _arguments(model: TunableModel, scratch: Path, batch_sampler: Any) -> MultiVectorEncoderTrainingArguments:
    recipe, device = model.recipe, model.encoder.device
    return MultiVectorEncoderTrainingArguments(
        output_dir=str(scratch),
        num_train_epochs=1,  # the rows hold each epoch's own negatives
        per_device_train_batch_size=recipe.batch_size,
        learning_rate=recipe.peak_learning_rate,
        warmup_steps=0.1,  # below 1: a share of all steps
        weight_decay=0.01,
        max_length={"document": min(recipe.document_tokens, model.document_tokens)},
        batch_sampler=batch_sampler,
        prompts=_prompts(model, recipe),
        save_steps=_SAVE_STEPS,
        save_total_limit=1,
        logging_steps=5,
        seed=recipe.seed,
        use_cpu=device.type == "cpu",
        bf16=in_bfloat16(recipe.precision, device),
        dataloader_pin_memory=False,
        disable_tqdm=True,
        report_to="none",
    )


def _prompts(model: TunableModel, recipe: Recipe) -> dict[str, str]:
    """Give the prefix of each column's texts. The trainer doesn't ask the model, which would learn without its markers."""
    document = document_prompt(model.encoder)
    columns = {"query": model.encoder.prompts.get("query") or "", "positive": document}
    columns |= {f"negative_{i + 1}": document for i in range(recipe.n_negatives)}
    return {name: prompt for name, prompt in columns.items() if prompt}
