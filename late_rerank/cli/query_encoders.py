"""--query-encoder: what encodes queries, of one model or of each of several."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

# As late_rerank.encode has them, which would load NumPy for --help.
FULL, FAST = "full", "fast"
NAMES = (FULL, FAST)

_HELP = (
    "what encodes queries: full, the whole model; fast, a small one that comes with minilm; or a folder that "
    "`late-rerank distil-query` wrote; stored documents serve all of them"
)


def query_encoder_name(text: str) -> str:
    """Take "full", "fast" or the folder of a query encoder."""
    if text in NAMES:
        return text
    # A shell doesn't expand the "~" of --query-encoder=~/fast, and Path's own raises RuntimeError for "~no-such-user".
    folder = Path(os.path.expanduser(text))  # noqa: PTH111
    if not text.strip() or not folder.is_dir():
        raise argparse.ArgumentTypeError(
            f"must be full, fast or the folder of a query encoder, got {text!r}: `late-rerank distil-query` writes one"
        )
    return str(folder)


def add_query_encoder(command: argparse.ArgumentParser) -> None:
    """Add --query-encoder, of --model."""
    command.add_argument(
        "--query-encoder",
        type=query_encoder_name,
        default=FULL,
        metavar="full|fast|DIR",
        help=f"{_HELP} (default: full)",
    )


def add_query_encoders(command: argparse.ArgumentParser) -> None:
    """Add --query-encoder, once for each model that needs one."""
    command.add_argument(
        "--query-encoder",
        action=_OfModels,
        default=[],
        type=_of_model,
        metavar="[NAME=]full|fast|DIR",
        help=f"{_HELP}; of the first model, or of the model called NAME (default: full)",
    )


def by_model(given: Iterable[tuple[str, str]], models: Iterable[str]) -> dict[str, str]:
    """Give each model's query encoder.

    Args:
        given: What --query-encoder collected: pairs of a model's name, empty for the first, and a query encoder.
        models: The names of all models, the first one first.

    Raises:
        ValueError: If no model has the name, or two query encoders are for one model.
    """
    names = list(models)
    found: dict[str, str] = {}
    for asked, encoder in given:
        name = asked or names[0]
        if name not in names:
            raise ValueError(f"--query-encoder {asked}={encoder}: no --model is called {asked!r}; known: {', '.join(names)}")
        if name in found:
            raise ValueError(f"--query-encoder: two are for the model {name}, {found[name]} and {encoder}; give one")
        found[name] = encoder
    return {name: found.get(name, FULL) for name in names}


def query_encoder_digest(name: str, model: str) -> str | None:
    """Give the digest of a query encoder, before a model is loaded; None for the full one.

    Raises:
        ModelError: If there is none at that place, or none of that name for the model.
    """
    if name == FULL:
        return None
    from late_rerank.encode.query_side.opening import open_student

    student = open_student(name, model)
    return None if student is None else student.fingerprint


class _OfModels(argparse.Action):
    """Collects pairs of a model's name and its query encoder."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option: Any = None) -> None:  # noqa: ARG002
        setattr(namespace, self.dest, [*getattr(namespace, self.dest), values])


def _of_model(text: str) -> tuple[str, str]:
    name, equals, encoder = text.partition("=")
    if not equals or Path(text).is_dir():  # a path may hold a "="
        return "", query_encoder_name(text)
    if not name.strip():
        raise argparse.ArgumentTypeError(f"must be [NAME=]full, fast or a folder, got {text!r}")
    return name.strip(), query_encoder_name(encoder.strip())
