"""`late-rerank import`: token vectors that somebody made -> a store, under the keys of their texts."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from late_rerank.cli.options import add_json, add_model, add_store, is_bucket

if TYPE_CHECKING:
    from late_rerank.encode import Encoder


def register(commands: Any) -> None:
    """Add the command to the parser."""
    command = commands.add_parser(
        "import",
        help="store token vectors that the model made somewhere else",
        description="Store token vectors that --model made somewhere else, so that its queries find them. A few documents are "
        "encoded here and compared first. What the store holds already stays: stopped and started again, it goes on where it "
        "was. Memory doesn't grow with the documents.",
    )
    command.add_argument(
        "path",
        metavar="VECTORS",
        help="a .npy file of all rows, float32 or float16, with offsets.npy beside it; a safetensors file of values and "
        "offsets; or a Parquet file",
    )
    command.add_argument(
        "--texts",
        metavar="FILE",
        help="their texts, in the same order: JSON Lines or Parquet (default: those in the Parquet file)",
    )
    command.add_argument(
        "--offsets", metavar="FILE", help="where each document's rows begin: .npy of n + 1 whole numbers (default: offsets.npy)"
    )
    command.add_argument(
        "--column",
        default="token_vectors",
        metavar="NAME",
        help="the Parquet file's column of vectors (default: token_vectors)",
    )
    command.add_argument(
        "--fingerprint", metavar="F", help="the fingerprint of the model that made them; another --model is refused"
    )
    command.add_argument("--no-check", action="store_true", help="compare no document with what the model makes of its text")
    add_store(command, required=True)
    add_model(command)
    add_json(command)
    command.set_defaults(run=run, command_parser=command)


def run(options: argparse.Namespace) -> None:
    """Read, compare, store, print."""
    from late_rerank import Reranker
    from late_rerank.cli.opening import open_answering, reranker_arguments, shown_place
    from late_rerank.corpus.held import read_vectors
    from late_rerank.stores.opening import is_url
    from late_rerank.vectors.importing import check_first

    if is_bucket(options.store):
        options.command_parser.error("--store must be a folder or a server: import there, then `late-rerank store publish` it")
    held = read_vectors(options.path, texts=options.texts, offsets=options.offsets, column=options.column)
    held.check_counts()
    arguments = reranker_arguments(options)
    encoder = _model(options, arguments, held.dim)  # before a store is created
    if not options.no_check:
        check_first(encoder, held)
    arguments |= {"model": encoder, "pooling": 1}
    if is_url(options.store):
        arguments["store"] = open_answering(options.store)
    with Reranker(**arguments) as reranker:
        try:
            report = reranker.import_vectors(held, check=not options.no_check, progress=True)
        finally:
            if is_url(options.store):
                reranker.store.close()
    _show(
        {
            "path": options.path,
            "store": shown_place(options.store),
            "model": options.model,
            "codec": options.codec,
            "fingerprint": encoder.fingerprint,
            **asdict(report),
        },
        options,
    )


def _model(options: argparse.Namespace, arguments: dict[str, Any], dim: int | None) -> Encoder:
    """Load the model that is said to have made the vectors.

    Raises:
        IncompatibleError: If it is another one by its fingerprint or its width.
    """
    from late_rerank.encode import as_encoder
    from late_rerank.errors import IncompatibleError

    encoder = as_encoder(arguments["model"], arguments["backend"], None, arguments["pooling"])
    if options.fingerprint not in (None, encoder.fingerprint):
        raise IncompatibleError(
            f"the vectors were declared as made by {options.fingerprint}, but the model {options.model!r} is "
            f"{encoder.fingerprint}"
        )
    if dim not in (None, encoder.dim):
        raise IncompatibleError(
            f"{options.path} has vectors of {dim} components, but those of the model {options.model!r} have {encoder.dim}: "
            "another model made them"
        )
    return encoder


def _show(result: dict[str, Any], options: argparse.Namespace) -> None:
    from late_rerank.cli.results import counted, print_json, size_text

    if options.json:
        print_json(result)
        return
    print(
        f"{counted(result['n_documents'], 'document')} in {result['seconds']:.1f} s: {result['n_imported']:,} imported "
        f"({counted(result['n_tokens'], 'token')}, {size_text(result['size_bytes'])}), {result['n_cached']:,} already there, "
        f"{result['n_checked']:,} compared with the model"
    )
    print(f"kept in {result['store']} for model {result['model']}, codec {result['codec']}")
