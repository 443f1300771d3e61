"""Published checkpoints, rebuilt: random weights of few and small layers, and all else as their makers published it.

    folder = build("lightonai/LateOn", tmp_path / "lateon")

No weights of them were read here. What their files say comes from public repositories and model cards: each builder names its
sources, and calls "assumed" what no source says. A new family is a file beside this one, with its builders in `MODELS`.
"""

from pathlib import Path

from published import bert, modernbert, multilingual
from published.facts import Facts

PUBLISHED: dict[str, Facts] = {**bert.MODELS, **modernbert.MODELS, **multilingual.MODELS}
"""Hub name -> what late-rerank must find in its files."""


def build(name: str, folder: Path) -> Path:
    """Write the files of a published checkpoint into a new folder."""
    folder.mkdir(parents=True)
    PUBLISHED[name].build(folder)
    return folder
