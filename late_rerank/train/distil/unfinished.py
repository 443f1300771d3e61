"""An unfinished distillation on disk: which one it is, its teacher's vectors, its last checkpoint."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from hashlib import blake2b
from pathlib import Path
from typing import Any

import torch

from late_rerank.train.distil.recipe import DistilRecipe
from late_rerank.train.distil.texts import QueryTexts
from late_rerank.train.resume import DIGEST, FOLDER, KIND

_CHECKPOINT = "checkpoint.pt"
# An interrupted training may go on for longer, or for less long. A query encoder to begin with is known by its fingerprint.
_FREE = ("steps", "minutes", "begin_with")


class UnfinishedDistillation:
    """The folder of one distillation, until it is finished. `begin` makes it.

    Attributes:
        folder: Where the checkpoint and the teacher's vectors are.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def begin(cls, out: Path, recipe: DistilRecipe, texts: QueryTexts, fingerprints: Sequence[str]) -> UnfinishedDistillation:
        """Begin a distillation, or take up an interrupted one of the same recipe, texts and models.

        Args:
            out: The query encoder's folder; made where there is none.
            recipe: Steps and minutes may differ from the interrupted one's.
            texts: To train on.
            fingerprints: The teacher's, and that of the query encoder it begins with.

        Raises:
            ValueError: If the folder holds an unfinished training of another kind.
        """
        folder, digest = out / FOLDER, _digest(recipe, texts, fingerprints)
        mark = folder / DIGEST
        if mark.is_file() and mark.read_text(encoding="utf-8") != digest:
            if (folder / _CHECKPOINT).is_file() or not (folder / KIND).is_file():
                raise ValueError(
                    f"{folder} holds a training with another model, other texts or other settings: remove the folder to begin "
                    "anew, or run the same command as then to go on"
                )
            shutil.rmtree(folder)  # only the teacher's vectors of minutes are lost
        folder.mkdir(parents=True, exist_ok=True)
        (folder / KIND).write_text("distillation of a query encoder\n", encoding="utf-8")
        mark.write_text(digest, encoding="utf-8")
        return cls(folder)

    def load(self) -> dict[str, Any] | None:
        """Give what `keep` wrote last; None if there is nothing yet."""
        path = self.folder / _CHECKPOINT
        if not path.is_file():
            return None
        held: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        return held

    def keep(self, state: Mapping[str, Any]) -> None:
        """Write a checkpoint, whole or not at all.

        Args:
            state: Tensors, numbers and lists of them, by name.
        """
        scratch = self.folder / f"{_CHECKPOINT}.new"
        torch.save(dict(state), scratch)
        scratch.replace(self.folder / _CHECKPOINT)

    def remove(self) -> None:
        """Remove the folder: the training is finished."""
        shutil.rmtree(self.folder)


def _digest(recipe: DistilRecipe, texts: QueryTexts, fingerprints: Sequence[str]) -> str:
    settings = {name: value for name, value in asdict(recipe).items() if name not in _FREE}
    digest = blake2b(json.dumps([settings, list(fingerprints), dict(texts.shares)], sort_keys=True).encode(), digest_size=16)
    for kind, found in texts.kinds.items():
        digest.update(json.dumps([kind, list(found)]).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()
