"""`late-rerank distil-query`: a model and texts like queries -> a small query encoder, measured before and after."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from late_rerank.cli.options import (
    above_zero,
    add_encoding,
    add_json,
    add_revision,
    add_store,
    at_least,
    at_least_one,
    blank_refused,
)

if TYPE_CHECKING:
    from late_rerank.train import Development


def register(commands: Any) -> None:
    """Add the command to the parser."""
    command = commands.add_parser(
        "distil-query",
        help="make a small query encoder for a model",
        description="Train a student of a few layers to encode queries as the model does. Stored documents stay as they are. "
        "Learns from queries, or from the titles, sentences and train queries of a corpus; test queries never count. "
        "Measures held-out texts and development queries before and after. Interrupted, it goes on when called again.",
    )
    command.add_argument("model", metavar="MODEL", type=blank_refused, help='"minilm", "minilm-late", a folder, or a hub name')
    add_revision(command)
    command.add_argument("--out", metavar="DIR", type=Path, required=True, help="where it is written; new or empty")
    _add_texts(command)
    _add_sizes(command)
    command.add_argument("--steps", type=at_least_one, default=10_000, help="train for so many steps (default: 10000)")
    command.add_argument("--minutes", type=above_zero, help="train for so many minutes, if that is shorter")
    command.add_argument(
        "--learning-rate", type=above_zero, help="at its peak (default: 0.001, less for wide models; a fifth with --begin-with)"
    )
    command.add_argument("--device", type=blank_refused, help="a torch device (default: the fastest of this machine)")
    command.add_argument("--seed", type=at_least(0), default=0, help="of all that is drawn by chance (default: 0)")
    add_encoding(command)
    add_store(command)
    add_json(command)
    command.set_defaults(run=run)


def _add_texts(command: argparse.ArgumentParser) -> None:
    """Add the options of the texts that it learns from and is measured on."""
    command.add_argument("--queries", metavar="FILE", type=Path, help='a query a line, or JSON Lines of {"text"}')
    command.add_argument(
        "--corpus",
        metavar="PATH",
        type=Path,
        action="append",
        default=[],
        help="a BEIR folder, or any other documents; again for more",
    )
    command.add_argument(
        "--dev",
        metavar="FOLDER",
        type=Path,
        action="append",
        default=[],
        help="a BEIR folder whose dev queries are measured on (default: each --corpus that has some); again for more",
    )
    command.add_argument(
        "--dev-queries", type=at_least(0), default=200, metavar="N", help="at most so many of each; 0 for none (default: 200)"
    )
    command.add_argument(
        "--most-texts",
        type=at_least_one,
        default=200_000,
        metavar="N",
        help="learn from at most so many texts (default: 200000)",
    )


def _add_sizes(command: argparse.ArgumentParser) -> None:
    """Add the options of what the student begins as."""
    command.add_argument(
        "--layers",
        type=_layers,
        metavar="0,3,5",
        help="of the model, the first is 0 (default: the first, the middle and the last; of ModernBERT the first and the last)",
    )
    command.add_argument(
        "--width",
        type=at_least_one,
        metavar="N",
        help="neurons that each feed-forward part keeps (default: half; all in ModernBERT)",
    )
    command.add_argument(
        "--correction",
        type=at_least(0),
        metavar="RANK",
        help="of a trained correction of the word embeddings; 0 for none (default: 128, less with a large vocabulary)",
    )
    command.add_argument(
        "--begin-with",
        metavar="fast|DIR",
        type=blank_refused,
        help="a query encoder of the model, to go on with instead of the model's own layers",
    )


def run(options: argparse.Namespace) -> None:
    """Read, check, train, print."""
    from late_rerank.cli.results import print_json
    from late_rerank.train import DistilRecipe, distil_query, query_texts
    from late_rerank.train.resume import FOLDER, check_out

    if options.queries is None and not options.corpus:
        raise ValueError("name texts to learn from: a file of queries (--queries FILE), a corpus (--corpus PATH), or both")
    check_out(options.out)  # before texts are read, which may take minutes
    recipe = DistilRecipe(
        layers=options.layers,
        width=options.width,
        correction=options.correction,
        begin_with=options.begin_with,
        steps=options.steps,
        minutes=options.minutes,
        learning_rate=options.learning_rate,
        seed=options.seed,
    )
    texts = query_texts(options.queries, options.corpus, most=options.most_texts, seed=options.seed, encoding=options.encoding)
    try:
        report = distil_query(
            options.model,
            texts,
            options.out,
            recipe=recipe,
            held_out=_development(options),
            store=options.store,
            device=options.device,
            progress=True,
            tell=_tell,
        )
    except KeyboardInterrupt:
        if (options.out / FOLDER).is_dir():
            _tell(f"what is done is kept in {options.out}: the same command goes on from there")
        raise
    if options.json:
        print_json({**report.to_dict(), "out": str(options.out)})
    else:
        _print_tables(report.to_dict(), options)


def _development(options: argparse.Namespace) -> list[Development]:
    """Read the development queries that are measured on."""
    if not options.dev_queries:
        return []
    from late_rerank.train.distil.development import development_in, has_development

    folders = options.dev or [folder for folder in options.corpus if has_development(folder)]
    return [development_in(folder, options.dev_queries, options.encoding) for folder in folders]


def _print_tables(report: dict[str, Any], options: argparse.Namespace) -> None:
    from rich.table import Table

    from late_rerank.cli.results import size_text
    from late_rerank.cli.terminal import shown_console
    from late_rerank.train.distil.card import COSINE_COLUMNS, RANKING_COLUMNS, cosine_rows, ranking_rows

    console, measured = shown_console(), report["measured"]
    tables: list[tuple[str, Sequence[str], list[list[str]]]] = [
        ("cosine of a query token to the full model's, held-out texts", COSINE_COLUMNS, cosine_rows(measured))
    ]
    if measured["ndcg"]:
        tables.append(("nDCG@10 of queries that were not trained on", RANKING_COLUMNS, ranking_rows(measured)))
    for title, columns, rows in tables:
        table = Table(*columns, title=title)
        for row in rows:
            table.add_row(*row)
        console.print(table)
    times, training = measured["query_ms"], report["training"]
    console.print(
        f"a query takes {times['trained']:.2f} ms instead of {times['full']:.2f}; "
        f"{report['n_layers']} of {report['n_teacher_layers']} layers, {size_text(report['size_bytes'])}; "
        f"{training['n_steps']:,} steps, {training['seconds'] / 60:.1f} minutes",
        soft_wrap=True,
        highlight=False,
    )
    console.print(
        f"written to {options.out}: Reranker({options.model!r}, query_encoder={str(options.out)!r})",
        soft_wrap=True,
        highlight=False,
    )


def _layers(text: str) -> tuple[int, ...] | None:
    """Take numbers of layers."""
    from late_rerank.train.distil.recipe import checked_layers

    try:
        return checked_layers([int(number) for number in text.split(",")])
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"must be numbers of layers from 0, ascending, with commas between them, got {text!r}"
        ) from None


def _tell(text: str) -> None:
    print(f"note: {text}", file=sys.stderr)
