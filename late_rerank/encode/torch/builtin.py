"""How the graphs of the built-in models are made: `python -m late_rerank.encode.torch.builtin`.

Run it where a graph is to change: with another opset, say. A test makes them anew and compares.
"""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from late_rerank.encode.builtin import GRAPHS, MINILM, minilm_source
from late_rerank.encode.compiled.format import DESCRIPTION, GRAPH, PROBES, TOKENIZER, sha256, write_description
from late_rerank.encode.sources import local_folder
from late_rerank.encode.torch.compiling import proved, written
from late_rerank.encode.torch.model import torch_model


def main() -> None:
    """Write the graphs into the package."""
    for name, folder in GRAPHS.items():
        write_builtin(name, folder)


def write_builtin(name: str, folder: Path) -> None:
    """Write a built-in model's description, graph and probes.

    Args:
        name: "minilm" or "minilm-late".
        folder: Where to; made if need be.
    """
    source = local_folder(minilm_source())
    model, loaded = torch_model(name, device="cpu", max_tokens=None, pooling=1, reason="being compiled")
    write = partial(written, model, loaded, source={"model": name, "format": model.format}, hidden=name == MINILM)
    with TemporaryDirectory() as made:
        here = Path(made)
        if name == MINILM:  # its weights are the checkpoint's own file
            shutil.copyfile(source / "model.safetensors", here / "model.safetensors")
            description = write(here, weights=here / "model.safetensors", prefix="0.model.")
        else:
            description = write(here)
        shutil.copyfile(source / TOKENIZER, here / TOKENIZER)
        description.sha256[TOKENIZER] = sha256(here / TOKENIZER)
        write_description(here, proved(model, loaded, here, description))
        folder.mkdir(exist_ok=True)
        for file in (DESCRIPTION, GRAPH, PROBES):
            shutil.copyfile(here / file, folder / file)


if __name__ == "__main__":
    main()
