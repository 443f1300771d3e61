"""A training on its way, on disk: which one it is, its rows, its checkpoints. What an interrupted one goes on from."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict
from hashlib import blake2b
from pathlib import Path

from late_rerank.train.examples import Example
from late_rerank.train.negatives import Row
from late_rerank.train.recipe import Recipe

# transformers writes it last, so a checkpoint that has it is whole.
_LAST_WRITTEN = "trainer_state.json"
# Says which training it is; ours alone have it.
_OF = "of"


def is_unfinished(folder: Path) -> bool:
    """Whether the folder is one of our trainings, which can go on."""
    return (folder / _OF).is_file()


class Unfinished:
    """The folder of one training, of one recipe and these examples, until it is finished.

    Args:
        folder: Made where there is none.
        recipe: The training's.
        examples: The training's.

    Raises:
        ValueError: The folder has checkpoints of another recipe or other examples.
    """

    def __init__(self, folder: Path, recipe: Recipe, examples: Mapping[str, Example]) -> None:
        self.folder = folder
        told = json.dumps([asdict(recipe), [asdict(example) for example in examples.values()]], sort_keys=True)
        mark = blake2b(told.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
        of = folder / _OF
        if folder.is_dir() and not of.is_file() and any(folder.iterdir()):
            raise ValueError(f"{folder} is no unfinished training of this kind; give a new or an empty folder")
        is_other = of.is_file() and of.read_text() != mark
        if is_other and self.last_checkpoint() is not None:
            raise ValueError(
                f"{folder} holds checkpoints of a training with other data or settings: remove the folder to begin anew, or "
                "run the same command as then to go on"
            )
        if is_other:
            shutil.rmtree(folder)
        folder.mkdir(parents=True, exist_ok=True)
        of.write_text(mark)

    def rows(self, mine: Callable[[], list[Row]]) -> list[Row]:
        """Those of before, to the letter, else those that `mine` gives, kept."""
        kept = self.folder / "rows.json"
        if kept.is_file():
            return [Row(query, positive, *map(tuple, lists)) for query, positive, *lists in json.loads(kept.read_text())]
        rows = mine()
        scratch = kept.with_suffix(".new")
        scratch.write_text(json.dumps([list(vars(row).values()) for row in rows]))
        scratch.replace(kept)
        return rows

    def last_checkpoint(self) -> Path | None:
        """The newest that is whole; later ones, whose writing was interrupted, are removed."""
        found = sorted(self.folder.glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2]), reverse=True)
        for path in found:
            if (path / _LAST_WRITTEN).is_file():
                return path
            shutil.rmtree(path)
        return None

    def remove(self) -> None:
        """It is finished."""
        shutil.rmtree(self.folder)
