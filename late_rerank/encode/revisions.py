"""A model's name and its revision on the hub, as one name: `owner/name@revision`. No hub and no torch here."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import Any, TypeVar

from late_rerank.encode.builtin import BUILT_IN

_Model = TypeVar("_Model")

# What git takes as the name of a branch or a tag, and the digits of a commit.
_REVISION = re.compile(r"[^\s~^:?*\[\\@]+")
_MEANT = "a branch, a tag or a commit of a model on the hub"


def at_revision(model: _Model, revision: str | None) -> _Model | str:
    """Give the name of a model at a revision, which is taken wherever a hub name is; without a revision, the model as it is.

    Args:
        model: What the user gave.
        revision: A branch, a tag or a commit; None for the newest of the branch "main".

    Raises:
        ValueError: If the revision is no name of one, or the model isn't given by its name on the hub.
        TypeError: If the revision is no str.
    """
    if revision is None:
        return model
    if not isinstance(revision, str):
        raise TypeError(f"revision must be a str, {_MEANT}, got {type(revision).__name__}")
    check_revision(revision)
    trouble = _trouble(model)
    if trouble:
        raise ValueError(f"revision={revision!r} names {_MEANT} (owner/name), but {trouble}")
    return f"{model}@{revision}"


def one_at_revision(models: Sequence[tuple[str, str]], revision: str | None) -> list[tuple[str, str]]:
    """Give (name, model) of a server's only model at a revision; without a revision, the models as they are.

    Raises:
        ValueError: As in `at_revision`. Also if there is another number of models than one.
    """
    if revision is None:
        return list(models)
    if len(models) != 1:
        raise ValueError(f"revision={revision!r} is for one model, got {len(models)}: give each as NAME=MODEL@REVISION")
    return [(name, str(at_revision(model, revision))) for name, model in models]


def split_revision(name: str) -> tuple[str, str | None]:
    """Split the name of a model on the hub into its name there and the revision; None where it names none.

    Raises:
        ValueError: If what stands behind the "@" is no name of a revision.
    """
    model, at, revision = name.partition("@")
    if at:
        check_revision(revision)
    return model, revision if at else None


def check_revision(revision: str) -> None:
    """Refuse what can't be the name of a branch, a tag or a commit.

    Raises:
        ValueError: If it isn't.
    """
    if not _REVISION.fullmatch(revision) or ".." in revision or revision.startswith(("/", "-")):
        raise ValueError(f"revision must be {_MEANT}, got {revision!r}")


def _trouble(model: Any) -> str | None:
    """Say why a model has no revision; None if it may have one."""
    if not isinstance(model, (str, os.PathLike)):
        return f"the model is an Encoder ({type(model).__name__}), which is loaded already"
    if model in BUILT_IN:
        return f"model={str(model)!r} is built in: a release of late-rerank fixes its weights"
    if not isinstance(model, str) or os.path.isdir(os.path.expanduser(model)):  # noqa: PTH111, PTH112 - as `local_folder` does
        return f"model={str(model)!r} is a folder, which holds one revision: leave the revision out, or give the hub name"
    if "@" in model:
        return f"model={model!r} names one already"
    return None
