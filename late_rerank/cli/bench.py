"""`late-rerank bench`: the cost of scoring and of a whole rerank on this machine, beside other libraries."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from typing import TYPE_CHECKING, Any

from late_rerank.cli.options import add_json

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

# OpenMP, the BLAS libraries and Rust's thread pool read these when they are loaded.
_ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS", "RAYON_NUM_THREADS"), "1"
)

_STAGES = (("  encoding the query", "encode_query_ms"), ("  MaxSim", "maxsim_ms"), ("  everything else", "other_ms"))


def register(commands: Any) -> None:
    """Add the command to the parser."""
    command = commands.add_parser(
        "bench",
        help="time MaxSim and a whole rerank on this machine, beside others",
        description="Time MaxSim on each codec beside NumPy, torch, sentence-transformers, and numkong and maxsim-cpu where "
        'they are installed (pip install "late-rerank[bench]"); then encoding under each installed backend, and a rerank of '
        "100 stored passages, with the full and the fast query encoder, beside encoding them again, and beside a "
        "cross-encoder. One thread, turns interleaved, medians. Takes some minutes.",
    )
    command.add_argument("--quick", action="store_true", help="time MaxSim for 100 documents at dim 128 only")
    command.add_argument("--skip-end-to-end", action="store_true", help="time MaxSim only; needs no model")
    add_json(command)
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Measure, print."""
    from late_rerank.cli.results import print_json

    report = _in_one_thread(quick=options.quick, end_to_end=not options.skip_end_to_end, progress=True)
    if options.json:
        print_json(report)
    else:
        _print_tables(report)


def _in_one_thread(**options: bool) -> dict[str, Any]:
    """Measure in a new process, where no library has chosen its number of threads yet."""
    from multiprocessing import get_context

    context = get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_measure, args=(theirs, options))
    process.start()
    theirs.close()  # else the end of the process isn't noticed here
    try:
        with ours:
            report, complaint = ours.recv()
    except EOFError:
        process.join()
        raise ChildProcessError(f"the process that measures ended with code {process.exitcode}") from None
    except BaseException:
        process.terminate()
        raise
    finally:
        process.join()
    if complaint is not None:
        raise ValueError(complaint)
    return dict(report)


def _measure(connection: Connection, options: dict[str, bool]) -> None:
    """Send the report and None, or None and an error's message. Runs in the new process."""
    # Ctrl-C reaches both processes. The waiting one prints the message and terminates this one, which exits cleanly.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    os.environ.update(_ONE_THREAD)
    from late_rerank.errors import LateRerankError
    from late_rerank.evaluate.bench import benchmark

    try:
        connection.send((benchmark(**options), None))
    except (LateRerankError, OSError, ValueError) as error:
        connection.send((None, str(error)))


def _print_tables(report: dict[str, Any]) -> None:
    from late_rerank.cli.terminal import shown_console

    console = shown_console(highlight=False)
    console.print(report["machine"])
    console.print(_kernel_table(report["kernel"]))
    console.print(_ratio_table(report["kernel"]))
    for name, notes in _notes(report["peers"]).items():
        console.print(f"{name}: {'; '.join(notes)}")
    if report["encoding"]:
        console.print(_encoding_table(report["encoding"]))
    if report["end_to_end"]:
        console.print(_end_to_end_table(report["end_to_end"]))


def _kernel_table(rows: list[dict[str, Any]]) -> Any:
    headings = ["ms", "% of peak", "scattered, ms", "top 10"]
    table = _table(f"MaxSim of 32 query tokens, {rows[0]['level']}", ["k", "dim", "codec"], headings)
    for row in rows:
        peak = f"{row['peak_percent']:.0f}" if "peak_percent" in row else ""
        figures = (f"{row['median_ms']:.3f}", peak, f"{row['scattered_ms']:.3f}", f"{row['top10_overlap']:.1f}")
        table.add_row(str(row["k"]), str(row["dim"]), row["codec"], *figures)
    return table


def _ratio_table(rows: list[dict[str, Any]]) -> Any:
    peers = list(dict.fromkeys(name for row in rows for name in row["ratio"]))
    table = _table("others' time over ours", ["k", "dim", "codec"], peers)
    for row in rows:
        ratios = (f"{row['ratio'][name]:.1f}" if name in row["ratio"] else "" for name in peers)
        table.add_row(str(row["k"]), str(row["dim"]), row["codec"], *ratios)
    return table


def _table(title: str, names: list[str], figures: list[str]) -> Any:
    from rich.table import Table
    from rich.text import Text

    table = Table(*names, title=Text(title, style="bold"), title_justify="left")
    for heading in figures:
        table.add_column(heading, justify="right")
    return table


def _notes(peers: list[dict[str, Any]]) -> dict[str, list[str]]:
    """Collect the remarks on each peer beside its time, each remark once."""
    notes: dict[str, dict[str, None]] = {}
    for peer in peers:
        if "refused" in peer:
            notes.setdefault(peer["name"], {})[peer["refused"]] = None
    for name in dict.fromkeys(peer["name"] for peer in peers):
        overlaps = [peer["top10_overlap"] for peer in peers if peer["name"] == name and "top10_overlap" in peer]
        if overlaps and min(overlaps) < 1:
            notes.setdefault(name, {})[f"not exact, its top 10 agrees with float64 to {min(overlaps):.1f} at worst"] = None
    return {name: list(said) for name, said in notes.items()}


def _encoding_table(rows: list[dict[str, Any]]) -> Any:
    documents = f"{rows[0]['n_documents']} documents, ms"
    headings = ["query, ms", "torch's over it", "fast query encoder, ms", documents, "sentence-transformers' over it"]
    headings.append("cosine to torch")
    table = _table("encoding by the built-in model", ["backend"], headings)
    for row in rows:
        times = (
            f"{row['query_ms']:.1f}",
            f"{row['ratio']['query']:.1f}",
            f"{row['fast_query_ms']:.1f}" if "fast_query_ms" in row else "",
            f"{row['documents_ms']:,.0f}",
            f"{row['ratio']['documents']:.1f}",
        )
        table.add_row(f"{row['backend']} {row['precision']}", *times, f"{row['least_cosine']:.4f}")
    return table


def _end_to_end_table(result: dict[str, Any]) -> Any:
    title = f"{result['k']} passages, {result['n_tokens']:,} tokens, {result['model']}, {result['codec']}, {result['kernel']}"
    table = _table(title, [""], ["ms"])
    for name, times in (("rerank, passages stored", result), ("the same, fast query encoder", result["fast"])):
        for row, key in ((name, "cached_ms"), *_STAGES):
            table.add_row(row, f"{times[key]:,.1f}")
    for name, key in (("rerank, passages encoded", "uncached_ms"), ("cross-encoder of the same size", "cross_encoder_ms")):
        table.add_row(name, f"{result[key]:,.1f}")
    return table
