"""An unfinished training on disk: which training it is, its rows, its checkpoints. An interrupted training goes on from it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from hashlib import blake2b
from pathlib import Path

from late_rerank.train.examples import Example
from late_rerank.train.negatives import Row
from late_rerank.train.recipe import Recipe

FOLDER = "checkpoints"  # inside the model's folder
DIGEST = "of"  # names the training; no other program's folder of checkpoints has such a file
_ROWS = "rows.json"
KIND = "kind"  # beside it, where a training isn't `adapt`'s
# transformers writes this file last, so a checkpoint that has it is whole.
_LAST_WRITTEN = "trainer_state.json"


def check_out(out: Path) -> None:
    """Check that a model can be written into a folder.

    Raises:
        ValueError: If the folder holds anything but an unfinished training of ours.
    """
    if (out / FOLDER / DIGEST).is_file() or not out.exists():
        return
    if not out.is_dir() or any(out.iterdir()):
        raise ValueError(f"{out} holds something already; give a new or an empty folder")


class Unfinished:
    """The folder of one training, until the training is finished. `begin` makes it.

    Attributes:
        folder: Where the rows and the checkpoints are.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def begin(cls, out: Path, recipe: Recipe, examples: Mapping[str, Example]) -> Unfinished:
        """Begin a training, or take up an interrupted one of the same recipe and the same examples.

        The rows of another training are removed, since only minutes of mining are lost. Its checkpoints never are.

        Args:
            out: The model's folder; made where there is none.
            recipe: The training's.
            examples: The training's.

        Raises:
            ValueError: If the folder has checkpoints of another recipe or of other examples, or another program's files.
        """
        unfinished = cls(out / FOLDER)
        folder, digest = unfinished.folder, _digest(recipe, examples)
        mark = folder / DIGEST
        if folder.is_dir() and not mark.is_file() and any(folder.iterdir()):
            raise ValueError(f"{folder} is no unfinished training of this kind; give a new or an empty folder")
        is_other = mark.is_file() and mark.read_text() != digest
        if is_other and ((folder / KIND).is_file() or unfinished.last_checkpoint() is not None):
            raise ValueError(
                f"{folder} holds checkpoints of a training with other data or settings: remove the folder to begin anew, or "
                "run the same command as then to go on"
            )
        if is_other:
            shutil.rmtree(folder)
        folder.mkdir(parents=True, exist_ok=True)
        mark.write_text(digest)
        return unfinished

    def rows(self) -> list[Row] | None:
        """Give the rows that `keep_rows` wrote, to the letter; None if there are none yet."""
        path = self.folder / _ROWS
        if not path.is_file():
            return None
        return [Row(query, positive, *map(tuple, lists)) for query, positive, *lists in json.loads(path.read_text())]

    def keep_rows(self, rows: Sequence[Row]) -> None:
        """Write the rows, so that a training that goes on doesn't mine again."""
        scratch = self.folder / "rows.new"
        scratch.write_text(json.dumps([list(vars(row).values()) for row in rows]))
        scratch.replace(self.folder / _ROWS)

    def last_checkpoint(self) -> Path | None:
        """Find the newest whole checkpoint, and remove newer ones whose writing was interrupted."""
        found = sorted(self.folder.glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2]), reverse=True)
        for path in found:
            if (path / _LAST_WRITTEN).is_file():
                return path
            shutil.rmtree(path)
        return None

    def remove(self) -> None:
        """Remove the folder: the training is finished."""
        shutil.rmtree(self.folder)


def _digest(recipe: Recipe, examples: Mapping[str, Example]) -> str:
    told = json.dumps([asdict(recipe), [asdict(example) for example in examples.values()]], sort_keys=True)
    return blake2b(told.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
