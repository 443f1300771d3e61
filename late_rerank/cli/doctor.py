"""`late-rerank doctor`: which parts run here, and whether a checkpoint can be used as it was trained."""

from __future__ import annotations

import argparse
import os
from contextlib import suppress
from typing import Any

from late_rerank.cli.options import add_backend, add_json, add_revision
from late_rerank.cli.query_encoders import FULL, add_query_encoder

_PACKAGES = ("late-rerank", "sentence-transformers", "transformers", "torch", "openvino", "onnxruntime", "onnx", "numpy")
_VISUAL_PACKAGES = ("pillow", "peft", "torchvision")


def register(commands: Any) -> None:
    """Add the command to the parser."""
    command = commands.add_parser(
        "doctor",
        help="show what runs here and check a checkpoint",
        description="Show kernel, backend, model and query encoder; refuse a checkpoint that can't be encoded as it was "
        "trained (exit 1). Of the folder of a query encoder, show what it is and which model it is for.",
    )
    command.add_argument(
        "model", metavar="MODEL", nargs="?", default="minilm", help='"minilm", "minilm-late", a folder, or a hub name'
    )
    add_revision(command)
    add_backend(command)
    add_query_encoder(command)
    add_json(command)
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Load, check, describe."""
    from importlib.metadata import PackageNotFoundError, version

    from late_rerank import maxsim
    from late_rerank.encode import as_encoder
    from late_rerank.encode.visual.requirements import REMEDY, torchvision_trouble
    from late_rerank.maxsim import SCORINGS

    if (student := _query_encoder_at(options.model)) is not None:
        if options.query_encoder != FULL:
            raise ValueError(
                f"--query-encoder {options.query_encoder} is for a model, but {options.model} is itself a query encoder, of "
                f"{student['of_model']}: leave --query-encoder out, or use `late-rerank doctor {student['of_model']} "
                f"--query-encoder {options.query_encoder}`"
            )
        _show(student, options)
        return
    trouble = torchvision_trouble()
    encoder: Any = as_encoder(options.model, options.backend, None, query_encoder=options.query_encoder)
    described = encoder.describe()
    versions = {}
    is_visual = described["format"] == "visual"
    for name in (*_PACKAGES, *(_VISUAL_PACKAGES if is_visual else ())):
        with suppress(PackageNotFoundError):  # the engines are extras
            versions[name] = version(name)
    report = {
        "kernel": maxsim.kernel().name,
        "native_kernel": maxsim.describe_native(),
        "scoring": (maxsim.MAXSIM if is_visual else maxsim.DEFAULT_SCORING).name,
        "known_scorings": {name: list(scoring.window_tokens) for name, scoring in SCORINGS.items()},
        **described,
        **_files(options.model),
        **({} if trouble is None else {"torchvision": f"doesn't fit torch ({trouble}): {REMEDY}"}),
        "versions": versions,
    }
    _show(report, options)


def _show(report: dict[str, Any], options: argparse.Namespace) -> None:
    from late_rerank.cli.results import print_json

    if options.json:
        print_json(report)
        return
    width = max(map(len, report))
    for name, value in (report | _in_words(report)).items():
        print(f"{name.replace('_', ' '):<{width}} {_shown(value)}")


def _query_encoder_at(name: str) -> dict[str, Any] | None:
    """Describe the query encoder whose folder was named in a model's place; None for any other name.

    Raises:
        ModelError: If one of its files is damaged.
    """
    from pathlib import Path

    from late_rerank.encode.query_side.student import is_query_encoder, read_query_encoder

    folder = Path(os.path.expanduser(name))  # noqa: PTH111 - Path's own raises RuntimeError for "~no-such-user"
    if not is_query_encoder(folder):
        return None
    student = read_query_encoder(folder)
    described = student.compiled.description
    return {
        "query_encoder": name,
        "of_model": student.teacher.name,
        "fingerprint": student.teacher.fingerprint,
        "query_fingerprint": student.fingerprint,
        "layers": student.n_layers,
        "dim": described.dim,
        "size_bytes": student.size_bytes,
        "proved_when_compiled": described.proved,
        "versions": described.versions,
        "use": f'Reranker("{student.teacher.name}", query_encoder="{name}")',
    }


def _in_words(report: dict[str, Any]) -> dict[str, str]:
    """Say in words what the report holds as sentence-transformers' settings, and what encodes queries."""
    words = {"skiplist": report.get("skiplist") or "none: every token counts"}
    if not isinstance(report.get("query_encoder"), str):
        words["query_encoder"] = _query_encoder_in_words(report.get("query_encoder"))
    if "scripts" in report:
        counts = report["scripts"] or {}
        known = ", ".join(f"{name} {n:,}" for name, n in counts.items())
        words["scripts"] = f"{known} (entries of the vocabulary)" if known else "any: the tokenizer has no unknown token"
    expansion = report.get("query_expansion")
    if isinstance(expansion, dict):
        token = expansion.get("token") or "no token"
        attended = "attended to" if expansion.get("attend") else "not attended to"
        words["query_expansion"] = (
            f"{expansion['strategy']}: filled up to {expansion['length']} tokens with {token}, {attended}"
        )
    elif "query_expansion" in report:
        words["query_expansion"] = "none: a query's own tokens count"
    return words if "query_expansion" in report else {}


def _query_encoder_in_words(told: dict[str, Any] | None) -> str:
    if told is None:
        return "full: the model itself"
    layers = "" if told["layers"] is None else f"{told['layers']} layers, "
    return (
        f"{told['name']}: {layers}{told['size_bytes'] / 1e6:.1f} MB, made for {told['teacher']}, run by {told['backend']} "
        f"{told['precision']} with a cosine of {told['least_cosine_to_torch']} to torch; fingerprint {told['fingerprint']}"
    )


def _files(name: str) -> dict[str, str]:
    """Say where a model's files are; of the hub's snapshot the last folder is the commit. Nothing for a built-in model."""
    from late_rerank.encode.builtin import BUILT_IN
    from late_rerank.encode.sources import local_folder

    return {} if name in BUILT_IN else {"files": str(local_folder(name))}


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_windows(item) if isinstance(item, list) else item}" for name, item in value.items())
    if isinstance(value, list):
        return ", ".join(map(str, value))
    # Quotes show a prefix that is empty or ends in a space.
    return repr(value) if isinstance(value, str) and (not value or value.strip() != value) else str(value)


def _windows(n_tokens: list[int]) -> str:
    """Say in a few words what a scoring looks at, by the lengths of its windows."""
    return f"(best windows of {', '.join(map(str, n_tokens))} tokens)" if n_tokens else "(whole document)"
