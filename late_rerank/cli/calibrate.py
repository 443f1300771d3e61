"""`late-rerank calibrate`: BEIR folders -> a file that says which relevance a model's scores mean."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from late_rerank.cli.options import add_bm25, add_identical_ids, add_json, add_model, add_scoring, add_store, at_least_one
from late_rerank.cli.query_encoders import FULL, add_query_encoder

if TYPE_CHECKING:
    from late_rerank.evaluate.calibration import LabelledQuery


def register(commands: Any) -> None:
    """Add the command to the parser."""
    command = commands.add_parser(
        "calibrate",
        help="fit a model's relevance to judged queries, so that min_relevance means something",
        description="Fit what relevance, 0 to 1, a model's scores mean, to judged queries in BEIR folders. The table is of "
        "a fifth of the queries, held out; the calibration is then fitted to all. Use it as Reranker(model, calibration=FILE), "
        "which then scores by the same rule.",
    )
    command.add_argument("folders", metavar="BEIR_FOLDER", nargs="+", help="corpus.jsonl, queries.jsonl and qrels/SPLIT.tsv")
    command.add_argument("--out", metavar="FILE", help="where the calibration is written, as JSON (default: nowhere)")
    command.add_argument("--split", default="train", help="which judgements (default: train)")
    command.add_argument(
        "--n-queries", type=at_least_one, default=400, help="at most so many queries a folder, drawn by chance (default: 400)"
    )
    command.add_argument("--k", type=at_least_one, default=10, help="candidates a query, by BM25 (default: 10)")
    add_bm25(command)
    add_identical_ids(command)
    add_store(command)
    add_model(command)
    add_query_encoder(command)
    add_scoring(command)
    add_json(command)
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Read, retrieve, score, fit, measure, write, print."""
    from late_rerank.cli.opening import opened_reranker
    from late_rerank.cli.results import print_json
    from late_rerank.encode.describe import query_fingerprint
    from late_rerank.evaluate.calibration import score_queries
    from late_rerank.evaluate.calibration_measures import calibrate

    if options.out is not None and not Path(options.out).absolute().parent.is_dir():
        raise ValueError(f"--out {options.out}: there is no folder {Path(options.out).parent}")  # fails now, not after minutes
    labelled = [query for folder in options.folders for query in _labelled(Path(folder), options)]
    with opened_reranker(options) as reranker:
        scored = score_queries(reranker, labelled, progress=True)
        encoder = reranker.encoder
        measured = calibrate(scored, encoder.fingerprint, reranker.scoring.name, query_fingerprint(encoder))
    if options.out is not None:
        measured.calibration.save(options.out)
    report = {
        "datasets": [Path(folder).resolve().name for folder in options.folders],
        "split": options.split,
        "n_queries": len(scored),
        "n_own_documents_left_out": sum(query.n_own_documents_left_out for query in labelled),
        "k": options.k,
        "model": options.model,
        "query_encoder": options.query_encoder,
        "codec": options.codec,
        "scoring": measured.calibration.scoring,
        "calibration": vars(measured.calibration),
        "held_out": {"clipped_mean": vars(measured.clipped_mean), "calibrated": vars(measured.calibrated)},
        "out": options.out,
    }
    if options.json:
        print_json(report)
    else:
        _print_table(report)


def _labelled(folder: Path, options: argparse.Namespace) -> list[LabelledQuery]:
    from late_rerank.cli.judged import tell_of_judgements, tell_of_nothing_relevant
    from late_rerank.corpus import read_collection
    from late_rerank.evaluate.calibration import label_queries
    from late_rerank.retrieve import BM25Retriever

    documents, queries, qrels = read_collection(folder, options.split)
    alike = not options.keep_identical_ids
    tell_of_judgements(documents, qrels, options.split, ignore_identical_ids=alike)
    tell_of_nothing_relevant(qrels, "calibrate")
    retriever = BM25Retriever(documents, engine=options.engine, language=options.language)
    return label_queries(
        retriever, documents, queries, qrels, n_queries=options.n_queries, k=options.k, ignore_identical_ids=alike
    )


def _print_table(report: dict[str, Any]) -> None:
    from rich.table import Table

    from late_rerank.cli.judged import left_out_text
    from late_rerank.cli.terminal import shown_console

    before, after = report["held_out"]["clipped_mean"], report["held_out"]["calibrated"]
    title = f"{', '.join(report['datasets'])} {report['split']}, {after['n_queries']} queries held out of {report['n_queries']}"
    table = Table("", "clipped mean", "calibrated", title=title)
    rows = {
        "expected calibration error": (before["calibration_error"], after["calibration_error"]),
        "area under the ROC curve": (before["area_under_curve"], after["area_under_curve"]),
        "abstains at 0.5 where no candidate is relevant": (before["abstained"]["0.5"], after["abstained"]["0.5"]),
        "answers at 0.5 where one is": (before["kept"]["0.5"], after["kept"]["0.5"]),
    }
    for label, values in rows.items():
        table.add_row(label, *(f"{value:.3f}" for value in values))
    console = shown_console()
    console.print(table)
    fitted = report["calibration"]
    console.print(
        f"intercept {fitted['intercept']:.4f}, mean_weight {fitted['mean_weight']:.4f}, "
        f"length_weight {fitted['length_weight']:.4f}; fitted to all {report['n_queries']} queries",
        soft_wrap=True,
    )
    if (line := left_out_text(report["n_own_documents_left_out"])) is not None:
        console.print(line, highlight=False, soft_wrap=True)
    if report["out"] is not None:
        queries = "" if report["query_encoder"] == FULL else f"query_encoder={report['query_encoder']!r}, "
        console.print(
            f"written to {report['out']}: Reranker({report['model']!r}, {queries}calibration={report['out']!r})", soft_wrap=True
        )
