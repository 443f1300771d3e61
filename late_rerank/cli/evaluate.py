"""`late-rerank eval`: a BEIR folder -> measures of a first stage, and of it reranked."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from late_rerank.cli.options import FIRST_STAGES, add_first_stage, add_json, add_model, add_store

if TYPE_CHECKING:
    from late_rerank.evaluate import Difference


def register(commands: Any) -> None:
    """Add the command to the parser."""
    command = commands.add_parser(
        "eval",
        help="measure a first stage and its reranking on a BEIR folder",
        description="Measure nDCG@10, RR@10 and R@100 of a first stage and of the same candidates reranked.",
    )
    command.add_argument("folder", metavar="BEIR_FOLDER", help="corpus.jsonl, queries.jsonl and qrels/SPLIT.tsv")
    command.add_argument("--split", default="test", help="which judgements (default: test)")
    add_first_stage(command, files=True)
    add_store(command)
    add_model(command)
    command.add_argument("--write-run", metavar="FILE", type=Path, help="write the reranked run, as TREC's six columns")
    add_json(command)
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Read, retrieve, index, rerank, measure, print."""
    from late_rerank.cli.first_stage import first_stage
    from late_rerank.cli.opening import opened_reranker
    from late_rerank.cli.results import print_json
    from late_rerank.corpus import read_corpus, read_qrels, read_queries
    from late_rerank.evaluate import evaluate, read_run, retrieve_run, write_run
    from late_rerank.stores import MemoryStore

    folder, stage = Path(options.folder), options.first_stage
    if not (folder / "corpus.jsonl").is_file():
        raise ValueError(f"{folder} is no BEIR folder: it has no corpus.jsonl")
    queries, qrels = read_queries(folder), read_qrels(folder, options.split)
    documents = read_corpus(folder).documents
    if not documents:
        raise ValueError(f"{folder / 'corpus.jsonl'} holds no documents")
    judged = {name: queries[name] for name in qrels if name in queries}
    if stage in FIRST_STAGES:
        run = retrieve_run(first_stage(stage, documents, options.engine), judged, options.k, progress=True)
    else:
        run = read_run(Path(stage), {str(document.id): document for document in documents}, options.k)
    unbounded = MemoryStore(max_bytes=None)  # a bound would drop candidates before they are scored
    with opened_reranker(options, otherwise=unbounded) as reranker:
        result = evaluate(reranker, run, queries, qrels, progress=True)
        bytes_per_token = reranker.codec.spec(reranker.encoder.dim).bytes_per_token
        backend = reranker.stats()["backend"]
    if options.write_run:
        write_run(options.write_run, result.ranked, f"late-rerank-{options.codec}")
    report = {
        "dataset": folder.resolve().name,
        "split": options.split,
        "n_queries": result.n_queries,
        "k": options.k,
        "first_stage": stage if stage in FIRST_STAGES else Path(stage).stem,
        "measures": result.measures,
        "differences": {name: _rounded(found) for name, found in result.differences.items()},
        "latency_ms": result.latency_ms,
        "bytes_per_token": bytes_per_token,
        "model": options.model,
        "codec": options.codec,
        "backend": backend,
    }
    if options.json:
        print_json(report)
    else:
        _print_table(report)


def _rounded(difference: Difference) -> dict[str, float]:
    return {name: round(value, 4) for name, value in asdict(difference).items()}


def _print_table(report: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    before, after = report["measures"]["first_stage"], report["measures"]["reranked"]
    title = f"{report['dataset']} {report['split']}, {report['n_queries']} queries, k={report['k']}"
    table = Table("", report["first_stage"], f"reranked by {report['model']}", "change", "95 % range", "by chance", title=title)
    for name, change in report["differences"].items():
        spread = f"{change['low']:+.4f} to {change['high']:+.4f}"
        table.add_row(
            name, f"{before[name]:.4f}", f"{after[name]:.4f}", f"{change['mean']:+.4f}", spread, f"p = {change['p']:.4f}"
        )
    console = Console()
    console.print(table)
    latency = report["latency_ms"]
    console.print(
        f"rerank with stored vectors: p50 {latency['p50']:.1f} ms, p99 {latency['p99']:.1f} ms; "
        f"{report['bytes_per_token']} bytes a token ({report['codec']})"
    )
