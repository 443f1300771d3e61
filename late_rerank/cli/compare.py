"""`late-rerank eval --compare`: its axes, and its table."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from late_rerank.cli.options import at_least_one, blank_refused, codec_name, scoring_name, weight_or_auto
from late_rerank.cli.query_encoders import FULL, query_encoder_name

if TYPE_CHECKING:
    from late_rerank.evaluate import Setup


def _picture(text: str) -> Path:
    path = Path(text)
    if path.suffix.lower() not in (".png", ".svg"):
        raise argparse.ArgumentTypeError(f"must end in .png or .svg, got {text!r}")
    return path


# As late_rerank.evaluate.comparison.AXES, which would load NumPy for --help: how a value is read, and how a table shows it.
_AXES: dict[str, tuple[Callable[[str], Any], str]] = {
    "model": (blank_refused, "{}"),
    "pooling": (at_least_one, "pooling {}"),
    "query_encoder": (query_encoder_name, "{} query encoder"),
    "codec": (codec_name, "{}"),
    "scoring": (scoring_name, "{}"),
    "k": (at_least_one, "k={}"),
    "first_stage_weight": (weight_or_auto, "weight {}"),
}


def add_compare(command: argparse.ArgumentParser) -> None:
    """Add --compare."""
    command.add_argument(
        "--compare",
        action="extend",
        type=_axis,
        nargs="+",
        metavar="AXIS=VALUE,...",
        help="measure every combination of these, against the first: codec=int8,binary k=20,50,100 pooling=1,2 "
        "scoring=maxsim,proximity model=minilm,FOLDER first_stage_weight=0,auto; query_encoder=fast or FOLDER, beside full",
    )


def add_plot(command: argparse.ArgumentParser) -> None:
    """Add --plot."""
    command.add_argument(
        "--plot",
        type=_picture,
        metavar="FILE",
        help="draw what --compare gives, a .png or .svg: quality against depth, and against bytes a token (extra `plot`)",
    )


def setups_of(options: argparse.Namespace) -> list[Setup]:
    """Give the setups of --compare; an axis that it doesn't name has the value of the option of that name."""
    from late_rerank.evaluate import crossed

    given = {name: getattr(options, name) for name in _AXES}
    single = {name: [value] for name, value in given.items() if value is not None}
    return crossed(**{**single, **dict(options.compare)})


def check_axes(options: argparse.Namespace) -> None:
    """Check that --compare names no axis twice."""
    names = [name for name, _ in options.compare]
    if twice := [name for name in _AXES if names.count(name) > 1]:
        options.wrong_use(f"argument --compare: {twice[0]} is given twice; list its values as {twice[0]}=VALUE,VALUE")


def compared_rows(report: dict[str, Any]) -> list[list[str]]:
    """Give the table of a report with "compared", cell by cell, without its head."""
    varied = [name for name in _AXES if _varies(report, name)]
    return [_cells(row, varied or ["model"]) for row in report["compared"]]


def _varies(report: dict[str, Any], name: str) -> bool:
    return len({row[name] for row in report["compared"]}) > 1


def print_compared(report: dict[str, Any]) -> None:
    """Print the table, with the first stage beneath."""
    from rich.table import Table

    from late_rerank.cli.judged import left_out_text
    from late_rerank.cli.terminal import shown_console

    title = f"{report['dataset']} {report['split']}, {report['n_queries']} queries, reranking {report['first_stage']}"
    table = Table(title=title)
    heads = ["", "nDCG@10", "RR@10", "R@100", "nDCG@10 to the first", "by chance", "bytes a token", "p50 / p99"]
    for head in [*heads, *(["its query"] if _varies(report, "query_encoder") else [])]:
        table.add_column(head, justify="left" if not head else "right")
    for cells in compared_rows(report):
        table.add_row(*cells)
    console = shown_console()
    console.print(table)
    deepest = max(report["compared"], key=lambda row: row["k"])
    before = ", ".join(f"{name} {value:.4f}" for name, value in deepest["first_stage"].items())
    console.print(f"{report['first_stage']} alone, best {deepest['k']}: {before}")
    if (line := left_out_text(deepest["n_own_documents_left_out"])) is not None:
        console.print(line, highlight=False, soft_wrap=True)


def setup_label(row: dict[str, Any], names: Sequence[str]) -> str:
    """Describe a setup in a few words, by the axes named."""
    shown = {**row, "model": Path(row["model"]).name, "query_encoder": Path(row["query_encoder"]).name}
    return ", ".join(_AXES[name][1].format(shown[name]) for name in names)


def _axis(given: str) -> tuple[str, list[Any]]:
    name, equals, listed = given.partition("=")
    if not equals or name not in _AXES:
        raise argparse.ArgumentTypeError(f"expected AXIS=VALUE,... with AXIS one of {', '.join(_AXES)}; got {given!r}")
    values = []
    for text in listed.split(","):
        try:
            value = _AXES[name][0](text)
        except argparse.ArgumentTypeError as error:
            raise argparse.ArgumentTypeError(f"{name} {error}") from error
        if value in values:
            raise argparse.ArgumentTypeError(f"{name} names {text} twice")
        values.append(value)
    if name == "query_encoder" and FULL not in values:  # a smaller one is asked about for what it loses
        values.insert(0, FULL)
    return name, values


def _cells(row: dict[str, Any], names: Sequence[str]) -> list[str]:
    added, measures, latency = row["difference"], row["measures"], row["latency_ms"]
    change = "" if added is None else f"{added['mean']:+.4f} ({added['low']:+.4f} to {added['high']:+.4f})"
    return [
        setup_label(row, names),
        *(f"{measures[name]:.4f}" for name in ("nDCG@10", "RR@10", "R@100")),
        change,
        "" if added is None else f"p = {added['p']:.4f}",
        f"{row['bytes_per_token']:g}",
        f"{latency['p50']:.1f} / {latency['p99']:.1f} ms",
        *([f"{latency['encode_query']:.1f} ms"] if "query_encoder" in names else []),
    ]
