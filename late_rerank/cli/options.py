"""Options that several commands share, and their types."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from late_rerank.cli.priors import add_priors
from late_rerank.cli.query_encoders import add_query_encoder

if TYPE_CHECKING:
    from late_rerank.ranking.wanted import Wanted


_MODEL_HELP = '"minilm" or "minilm-late" (built in), a folder, or a hub name (default: minilm)'


def at_least(least: int) -> Callable[[str], int]:
    """Make the type of an option that is a whole number of at least `least`."""

    def whole_number(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if value < least:
            raise argparse.ArgumentTypeError(f"must be a whole number of at least {least}, got {text!r}")
        return value

    return whole_number


at_least_one = at_least(1)


def blank_refused(text: str) -> str:
    """Take text that isn't blank."""
    from late_rerank.text.words import is_blank  # loads regex, which --help must not

    if is_blank(text):
        raise argparse.ArgumentTypeError("must not be blank")
    return text


def store_place(text: str) -> str:
    """Take the place of a store: a folder, or a URL."""
    # These load NumPy, which --help must not.
    from late_rerank.stores.folders import folder_at
    from late_rerank.stores.opening import room_of

    try:
        room = room_of(text)
        if room is not None:
            room.shown_url(text)  # refuses a wrong one
            return text
        return str(folder_at(text))  # a shell doesn't expand the "~" of --store=~/vectors
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def new_folder(text: str) -> str:
    """Take the path of a folder to be made, no server's URL."""
    place = store_place(text)
    if place == text and ("://" in text or text == ":memory:"):
        raise argparse.ArgumentTypeError(f"must be a folder, got {text!r}")
    return place


def is_bucket(place: str) -> bool:
    """Whether a store's place is in object storage."""
    return place.startswith(("s3://", "gs://", "az://", "file://"))  # as in late_rerank.stores.opening, which loads NumPy


def new_folder_or_bucket(text: str) -> str:
    """Take the path of a folder to be made, or a URL of object storage."""
    return store_place(text) if is_bucket(text) else new_folder(text)


def hours(text: str) -> float:
    """Take a number of hours, 0 or more."""
    try:
        number = float(text)
    except ValueError:
        number = -1
    if not 0 <= number < float("inf"):
        raise argparse.ArgumentTypeError(f"must be a number of hours, 0 or more, got {text!r}")
    return number


def add_path(command: argparse.ArgumentParser) -> None:
    """Add PATH, where documents are."""
    command.add_argument(
        "path",
        metavar="PATH",
        type=blank_refused,
        help="a folder of txt, md, rst, adoc, html, pdf, ipynb; one such file; JSON Lines; Parquet; a BEIR folder",
    )
    add_encoding(command)


def add_encoding(command: argparse.ArgumentParser) -> None:
    """Add --encoding, of text files that aren't UTF-8."""
    command.add_argument(
        "--encoding",
        type=_encoding,
        metavar="NAME",
        help="of text that isn't UTF-8: cp1252, shift_jis, gb18030 ... (default: what the file declares, or its letters show)",
    )


def _encoding(text: str) -> str:
    from late_rerank.corpus.labels import python_name

    try:
        return python_name(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def add_folders(command: argparse.ArgumentParser, text: str) -> None:
    """Add --folder, once for each, and --encoding; `text` says what for."""
    command.add_argument("--folder", action=_Named, default=[], type=_folder, metavar="NAME=PATH", help=text)
    add_encoding(command)


class _Named(argparse.Action):
    """Collects (name, value) pairs, each with another name."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option: Any = None) -> None:  # noqa: ARG002
        given = getattr(namespace, self.dest)
        if values[0] in dict(given):
            raise argparse.ArgumentError(self, f"two are called {values[0]!r}; give each a name of its own")
        setattr(namespace, self.dest, [*given, values])


def _folder(text: str) -> tuple[str, str]:
    name, equals, path = text.partition("=")
    if not equals or not name.strip() or not path.strip():
        raise argparse.ArgumentTypeError(f"must be NAME=PATH, got {text!r}")
    return name.strip(), path


def share(text: str) -> float:
    """Take a number from 0 to 1."""
    return _number(text, "from 0 to 1", lambda value: 0 <= value <= 1)


def share_of_some(text: str) -> float:
    """Take a number above 0 and at most 1."""
    return _number(text, "above 0 and at most 1", lambda value: 0 < value <= 1)


def zero_or_more(text: str) -> float:
    """Take a number from 0 up."""
    return _number(text, "of 0 or more", lambda value: 0 <= value < float("inf"))


def above_zero(text: str) -> float:
    """Take a positive number."""
    return _number(text, "above 0", lambda value: 0 < value < float("inf"))


def _number(text: str, which: str, fits: Callable[[float], bool]) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not fits(value):
        raise argparse.ArgumentTypeError(f"must be a number {which}, got {text!r}")
    return value


def add_relevance(command: argparse.ArgumentParser) -> None:
    """Add --min-relevance and --calibration."""
    command.add_argument(
        "--min-relevance", type=share, metavar="X", help="leave out documents of lower relevance, from 0 to 1 (default: none)"
    )
    command.add_argument(
        "--calibration",
        metavar="FILE",
        help='what makes relevance of scores: a file of `late-rerank calibrate`, or "minilm", ours for that model',
    )


def weight_or_auto(text: str) -> float | str:
    """Take a number from 0 up, or "auto"."""
    return text if text == "auto" else _number(text, 'of 0 or more, or "auto"', lambda value: 0 <= value < float("inf"))


def add_identical_ids(command: argparse.ArgumentParser) -> None:
    """Add --keep-identical-ids."""
    command.add_argument(
        "--keep-identical-ids",
        action="store_true",
        help="count a candidate that has its query's id, which is left out else, as BEIR does: where queries and documents are "
        "numbered apart, equal ids mean nothing",
    )


def rank_options(options: argparse.Namespace) -> dict[str, Any]:
    """Give the options of a rerank that a command has, by the names of Wanted's fields."""
    from dataclasses import fields

    from late_rerank.ranking.wanted import Wanted  # loads NumPy, which --help must not

    return {field.name: getattr(options, field.name) for field in fields(Wanted) if hasattr(options, field.name)}


def wanted_of(options: argparse.Namespace, **instead: Any) -> Wanted:
    """Give the same options as a rerank takes them; those of `instead` count before them."""
    from late_rerank.ranking.wanted import Wanted

    return Wanted.of(options, **instead)


def add_fusion(command: argparse.ArgumentParser) -> None:
    """Add --first-stage-weight."""
    command.add_argument(
        "--first-stage-weight",
        type=weight_or_auto,
        default=0.0,
        metavar="X",
        help="how much the first stage's scores count for the order beside MaxSim: 0 for not at all, 1 for as much, "
        '"auto" for what each query\'s scores say (default: 0)',
    )


def add_searching(command: argparse.ArgumentParser) -> None:
    """Add the options of a search: PATH, QUERY, the first stage, --store, the model, --scoring, relevance, --json."""
    add_path(command)
    command.add_argument("query", metavar="QUERY", type=blank_refused, help="what you want to know")
    add_first_stage(command, files=False)
    add_fusion(command)
    add_priors(command)
    add_store(command)
    add_model(command)
    add_query_encoder(command)
    add_fuse(command)
    add_scoring(command)
    add_relevance(command)
    add_json(command)


def add_store(command: argparse.ArgumentParser, *, required: bool = False) -> None:
    """Add --store."""
    command.add_argument(
        "--store",
        metavar="DIR|URL",
        type=store_place,
        required=required,
        help="where token vectors are kept: a folder, made where there is none, or a URL: redis://..., postgresql://..., s3://..."
        + ("" if required else " (default: nowhere, they are made anew each time)"),
    )


SCORINGS = ("maxsim", "proximity")  # as in late_rerank.maxsim, which would load NumPy for --help
DEFAULT_SCORING = "proximity"


def add_scoring(command: argparse.ArgumentParser) -> None:
    """Add --scoring."""
    command.add_argument(
        "--scoring",
        choices=SCORINGS,
        help="what makes a score of token vectors: maxsim, of the whole document, or proximity, of its best windows, which "
        f"suits long documents and finds their best passages (default: {DEFAULT_SCORING}, or a calibration's own)",
    )


def scoring_name(text: str) -> str:
    """Take one of SCORINGS."""
    return _one_of(SCORINGS, text)


CODECS = ("float32", "float16", "int8", "int4", "binary")  # as in late_rerank.codecs, which would load NumPy for --help


def add_model(command: argparse.ArgumentParser) -> None:
    """Add --model, --revision, --backend, --codec and --pooling."""
    command.add_argument("--model", default="minilm", help=_MODEL_HELP)
    add_revision(command)
    _add_backend_and_packing(command)


def add_revision(command: argparse.ArgumentParser) -> None:
    """Add --revision."""
    command.add_argument(
        "--revision",
        type=blank_refused,
        metavar="R",
        help="a branch, a tag or a commit of the model on the hub (default: the newest); OWNER/NAME@R says the same",
    )


def at_given_revision(options: argparse.Namespace) -> None:
    """Make --revision part of the model's name, in place.

    Raises:
        ValueError: If the model isn't given by its name on the hub.
    """
    revision = getattr(options, "revision", None)
    if revision is None:
        return
    from late_rerank.encode.revisions import at_revision, one_at_revision

    several = isinstance(options.model, list)
    default = [("minilm", "minilm")]
    options.model = one_at_revision(options.model or default, revision) if several else at_revision(options.model, revision)


def add_fuse(command: argparse.ArgumentParser) -> None:
    """Add --fuse."""
    command.add_argument(
        "--fuse",
        action="append",
        default=[],
        type=blank_refused,
        metavar="MODEL",
        help="a second model, whose scores are fused with those of --model: one of page images beside one of texts, for "
        "example; may be given again",
    )


def add_models(command: argparse.ArgumentParser) -> None:
    """Add --model, once for each of several, --revision, --backend, --codec and --pooling."""
    command.add_argument(
        "--model",
        action=_Named,
        default=[],
        type=_named_model,
        metavar="[NAME=]MODEL",
        help=f'{_MODEL_HELP}; given several times, a request\'s "model" picks one by NAME, and others get the first',
    )
    add_revision(command)
    _add_backend_and_packing(command)


def _named_model(text: str) -> tuple[str, str]:
    name, equals, model = text.partition("=")
    if Path(text).exists():  # a path may hold a "="
        return Path(text).resolve().name, text
    if not equals:
        return text, text
    if not name.strip() or not model.strip():
        raise argparse.ArgumentTypeError(f"must be NAME=MODEL or MODEL, got {text!r}")
    return name.strip(), model


def _add_backend_and_packing(command: argparse.ArgumentParser) -> None:
    """Add --backend, --codec and --pooling."""
    add_backend(command)
    command.add_argument(
        "--codec",
        default="int8",
        choices=CODECS,
        help="how token vectors are packed (default: int8)",
    )
    command.add_argument(
        "--pooling",
        type=at_least_one,
        default=1,
        metavar="N",
        help="keep one of N token vectors of a document, those that are alike merged (default: 1, all of them)",
    )


def codec_name(text: str) -> str:
    """Take one of CODECS."""
    return _one_of(CODECS, text)


def _one_of(names: tuple[str, ...], text: str) -> str:
    if text not in names:
        raise argparse.ArgumentTypeError(f"must be one of {', '.join(names)}, got {text!r}")
    return text


def add_backend(command: argparse.ArgumentParser) -> None:
    """Add --backend."""
    command.add_argument(
        "--backend",
        default="auto",
        choices=["auto", "torch", "openvino", "onnx"],  # BACKENDS, which would load NumPy for every --help
        help="what runs the model (default: auto, the fastest installed that gives torch's vectors)",
    )


def add_bm25(command: argparse.ArgumentParser) -> None:
    """Add --engine and --language."""
    command.add_argument(
        "--engine", default="rank-bm25", choices=["rank-bm25", "bm25s"], help="what computes BM25 (default: rank-bm25)"
    )
    add_language(command, "documents")


def add_language(command: argparse.ArgumentParser, documents: str) -> None:
    """Add --language; `documents` says whose."""
    text = f'whose endings BM25 leaves off (default: auto, those of the languages that the {documents} are in); "none" for any'
    command.add_argument("--language", default="auto", type=language, metavar="NAME", help=text)


def language(text: str) -> str | None:
    """Take "auto" or a Snowball stemmer's name; give None for "none"."""
    if text in ("none", "auto", "english"):
        return None if text == "none" else text
    from snowballstemmer import algorithms

    if text not in algorithms():
        raise argparse.ArgumentTypeError(f"must be auto, none or one of {', '.join(algorithms())}; got {text!r}")
    return text


FIRST_STAGES = ("bm25", "dense", "hybrid")


def add_first_stage(command: argparse.ArgumentParser, *, files: bool) -> None:
    """Add --first-stage (with `files`, also a file of candidates), --engine, --language and --k."""
    names = ", ".join(FIRST_STAGES) + (", or a file of candidates (query id, document id, rank, score)" if files else "")

    def first_stage(text: str) -> str:
        if text not in FIRST_STAGES and not (files and Path(text).is_file()):
            raise argparse.ArgumentTypeError(f"must be one of {names}; got {text!r}")
        return text

    command.add_argument("--first-stage", default="bm25", metavar="STAGE", type=first_stage, help=f"{names} (default: bm25)")
    add_bm25(command)
    command.add_argument("--k", type=at_least_one, default=100, help="candidates that are reranked (default: 100)")


def add_json(command: argparse.ArgumentParser) -> None:
    """Add --json."""
    command.add_argument("--json", action="store_true", help="print one JSON object and nothing else to stdout")
