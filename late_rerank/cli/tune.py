"""`late-rerank tune`: judged queries, or a log of choices -> the cheapest setting that ranks this corpus as well as any."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import asdict, fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from late_rerank.cli.options import (
    DEFAULT_SCORING,
    FIRST_STAGES,
    add_backend,
    add_bm25,
    add_encoding,
    add_identical_ids,
    add_json,
    add_revision,
    add_store,
    at_least,
    at_least_one,
    codec_name,
    scoring_name,
    weight_or_auto,
)
from late_rerank.cli.query_encoders import FULL, add_query_encoder

if TYPE_CHECKING:
    from late_rerank.encode import Encoder
    from late_rerank.evaluate.settings import Setting
    from late_rerank.evaluate.tuning import Tuning
    from late_rerank.types import Candidate


def register(commands: Any) -> None:
    """Add the command to the parser."""
    command = commands.add_parser(
        "tune",
        help="pick depth, first-stage weight, codec, pooling and scoring on judged queries",
        description="Try combinations of depth, first-stage weight, codec, pooling and scoring on a random half of the judged "
        "queries, pick the cheapest that is as good as the best (at most .01 nDCG@10 below it, and not significantly), and "
        "measure it on the other half. That reranking doesn't help is an answer too.",
    )
    command.add_argument(
        "folder", metavar="BEIR_FOLDER", help="corpus.jsonl, queries.jsonl and qrels/SPLIT.tsv; with --log any PATH"
    )
    command.add_argument("--split", help="which judgements (default: dev, else train; leave test for `late-rerank eval`)")
    command.add_argument(
        "--log", metavar="FILE", type=Path, help='instead of judgements: JSON Lines {"query", "id" of the chosen}'
    )
    command.add_argument(
        "--n-queries", type=at_least(20), default=500, metavar="N", help="at most so many, drawn by chance (default: 500)"
    )
    command.add_argument("--first-stage", default="bm25", choices=FIRST_STAGES, help="default: bm25")
    add_bm25(command)
    add_encoding(command)
    add_identical_ids(command)
    _add_grid(command)
    command.add_argument(
        "--model", default="minilm", help='"minilm" or "minilm-late" (built in), a folder, or a hub name (default: minilm)'
    )
    add_revision(command)
    add_backend(command)
    add_query_encoder(command)
    add_store(command)
    add_json(command)
    command.set_defaults(run=run, wrong_use=command.error)


def run(options: argparse.Namespace) -> None:
    """Read, retrieve, encode, score, pick, measure, print."""
    from late_rerank.cli.documents import read_json, tell_skipped
    from late_rerank.cli.first_stage import first_stage
    from late_rerank.cli.opening import opened_store
    from late_rerank.cli.results import print_json
    from late_rerank.corpus import read_corpus
    from late_rerank.evaluate.evaluation import check_measures
    from late_rerank.evaluate.judged import retrieve_judged
    from late_rerank.evaluate.settings import Grid, Setting
    from late_rerank.evaluate.tuning import draw_queries, tune

    if options.log is not None and options.split is not None:
        options.wrong_use("argument --split: not allowed with argument --log")
    check_measures()  # fails now, not after minutes
    grid = Grid(**{axis.name: getattr(options, axis.name) for axis in fields(Grid)})
    corpus = read_corpus(options.folder, encoding=options.encoding)
    tell_skipped(corpus)
    documents = corpus.documents
    queries, qrels = _judgements(options, documents)
    queries = draw_queries(queries, qrels, options.n_queries)
    retriever = first_stage(options.first_stage, documents, options.engine, options.language)
    alike = options.log is None and not options.keep_identical_ids  # the queries of a log are numbered by us
    judged = retrieve_judged(retriever, queries, qrels, max(*grid.k, Setting.k), ignore_identical_ids=alike, progress=True)
    load = partial(_encoder, options.backend, options.query_encoder)
    with opened_store(options) as store:
        result = tune(judged, grid, model=options.model, store=store, load=load, progress=True)
    report = _report(options, result) | read_json(corpus)
    if options.json:
        print_json(report)
    else:
        _print_table(report)


def _encoder(backend: str, query_encoder: str, model: str, pooling: int) -> Encoder:
    from late_rerank.encode import TextEncoder  # loads tokenizers: a wrong option must not wait for it

    return TextEncoder(model, backend=backend, pooling=pooling, query_encoder=query_encoder)


def _judgements(options: argparse.Namespace, documents: list[Candidate]) -> tuple[dict[str, str], dict[str, dict[str, int]]]:
    """Read the log; else the folder's judgements, as `eval` reads them, with the same warnings."""
    from late_rerank.cli.documents import no_documents
    from late_rerank.cli.judged import tell_of_judgements, tell_of_nothing_relevant
    from late_rerank.corpus import read_judged
    from late_rerank.evaluate.choices import read_choices

    if not documents:
        raise no_documents(options.folder)
    if options.log is not None:
        return read_choices(options.log, {str(document.id) for document in documents}, encoding=options.encoding)
    split = _split(options)
    queries, qrels = read_judged(Path(options.folder), split, options.encoding)
    tell_of_judgements(documents, qrels, split, ignore_identical_ids=not options.keep_identical_ids)
    tell_of_nothing_relevant(qrels, "tune")
    return queries, qrels


def _split(options: argparse.Namespace) -> str:
    """Give --split, else the judgements to tune to."""
    from late_rerank.corpus import splits_of
    from late_rerank.evaluate.tuning import tuning_split

    folder = Path(options.folder)
    there = splits_of(folder)
    found = options.split or tuning_split(there)
    if found is None:
        raise ValueError(
            f"{folder} has neither dev nor train judgements; its splits: {', '.join(there) or 'none'}. Name one with --split; "
            "what is tuned to queries can't be measured on them afterwards"
        )
    return str(found)


def _report(options: argparse.Namespace, result: Tuning) -> dict[str, Any]:
    picked = result.picked
    return {
        "dataset": Path(options.folder).resolve().name,
        "split": _split(options) if options.log is None else None,
        "log": None if options.log is None else str(options.log),
        "first_stage": options.first_stage,
        "model": options.model,
        "query_encoder": options.query_encoder,
        "n_tuning": result.n_tuning,
        "n_reporting": result.n_reporting,
        "n_settings": result.n_settings,
        "best_on_tuning": None if result.best is None else asdict(result.best),
        "picked": None if picked is None else asdict(picked),
        "nDCG@10": result.measured,
        "differences": {name: found.to_dict() for name, found in result.differences.items()},
        "bytes_per_token": result.bytes_per_token,
        "latency_ms": result.latency_ms,
        "n_own_documents_left_out": result.n_own_documents_left_out,
        "helps": result.helps,
        "verdict": result.verdict,
        "python": None if picked is None else _python(options, picked),
        "command": None if picked is None else _command(options, picked),
    }


def _rank_options(picked: Setting) -> dict[str, Any]:
    """Give the rank options that aren't the default's, as code and as the command line name them."""
    from late_rerank.ranking.wanted import Wanted

    default = asdict(Wanted())
    return {name: value for name, value in asdict(picked.wanted).items() if value != default[name]}


def _python(options: argparse.Namespace, picked: Setting) -> str:
    engine = "" if options.engine == "rank-bm25" else f', engine="{options.engine}"'
    engine += "" if options.language == "auto" else f", language={options.language!r}".replace("'", '"')
    stages = {
        "bm25": f"BM25Retriever(documents{engine})",
        "dense": "DenseRetriever(documents)",
        "hybrid": f"HybridRetriever([BM25Retriever(documents{engine}), DenseRetriever(documents)])",
    }
    pooling = "" if picked.pooling == 1 else f", pooling={picked.pooling}"
    scoring = "" if picked.scoring == DEFAULT_SCORING else f', scoring="{picked.scoring}"'
    queries = "" if options.query_encoder == FULL else f', query_encoder="{options.query_encoder}"'
    reranker = f'Reranker("{options.model}", codec="{picked.codec}"{pooling}{scoring}{queries})'
    weight = ", ".join(["", *(f"{name}={value!r}" for name, value in _rank_options(picked).items())])
    return f"Searcher({stages[options.first_stage]}, {reranker}, k={picked.k}{weight})"


def _command(options: argparse.Namespace, picked: Setting) -> str:
    import shlex

    words = ["late-rerank", "search", options.folder, "QUERY", "--first-stage", options.first_stage, "--k", str(picked.k)]
    words += [] if options.engine == "rank-bm25" else ["--engine", options.engine]
    words += [] if options.language == "auto" else ["--language", options.language or "none"]
    words += [] if options.encoding is None else ["--encoding", options.encoding]
    words += ["--model", options.model, "--codec", picked.codec]
    words += [] if picked.pooling == 1 else ["--pooling", str(picked.pooling)]
    words += [] if options.query_encoder == FULL else ["--query-encoder", options.query_encoder]
    words += [] if picked.scoring == DEFAULT_SCORING else ["--scoring", picked.scoring]
    for name, value in _rank_options(picked).items():
        words += [f"--{name.replace('_', '-')}", str(value)]
    words += [] if options.store is None else ["--store", options.store]
    return shlex.join(words)


def _print_table(report: dict[str, Any]) -> None:
    from rich.table import Table

    from late_rerank.cli.judged import left_out_text
    from late_rerank.cli.terminal import shown_console

    title = f"{report['dataset']}, {report['n_reporting']} queries; picked on {report['n_tuning']} others"
    table = Table("", "nDCG@10", "bytes a token", "p50 / p99", title=title)
    table.add_row(f"{report['first_stage']} alone", f"{report['nDCG@10']['first_stage']:.4f}", "", "")
    picked = _setting_text(report["picked"])
    for name, setting in (("default", "the default"), ("picked", f"picked: {picked}")):
        latency = report["latency_ms"][name]
        spent = f"{latency['p50']:.1f} / {latency['p99']:.1f} ms"
        table.add_row(setting, f"{report['nDCG@10'][name]:.4f}", f"{report['bytes_per_token'][name]:g}", spent)
    console = shown_console()
    console.print(table)
    change = report["differences"]["default"]
    best = _setting_text(report["best_on_tuning"])
    for line in (
        f"picked of {report['n_settings']} as the cheapest that is as good as the best there ({best})",
        f"to the default {change['mean']:+.4f}, 95 % range {change['low']:+.4f} to {change['high']:+.4f}, "
        f"p = {change['p']:.4f}",
        left_out_text(report["n_own_documents_left_out"]),
        report["verdict"],
        report["python"],
        report["command"],
    ):
        if line is not None:
            console.print(line, highlight=False, markup=False, soft_wrap=True)


def _setting_text(picked: dict[str, Any] | None) -> str:
    if picked is None:
        return "no reranking"
    weight = picked["first_stage_weight"]
    more = ["" if picked["pooling"] == 1 else f"pooling {picked['pooling']}"]
    more += ["" if picked["scoring"] == DEFAULT_SCORING else picked["scoring"], "" if weight == 0 else f"weight {weight}"]
    return ", ".join(filter(None, [picked["codec"], f"k={picked['k']}", *more]))


def _add_grid(command: argparse.ArgumentParser) -> None:
    """Add the axes of the grid: lists of values, under the names of other commands' single values."""
    lists: list[tuple[str, Callable[[str], Any], str, str]] = [
        ("--k", at_least_one, "20,50,100", "candidates that are reranked"),
        ("--first-stage-weight", weight_or_auto, "0,auto,0.1,0.2,0.5,1", "how much the first stage's scores count"),
        ("--codec", codec_name, "binary,int4,int8", "how token vectors are packed"),
        ("--pooling", at_least_one, "1,2", "one of N token vectors is kept"),
        ("--scoring", scoring_name, "proximity,maxsim", "what makes a score of token vectors"),
    ]
    for name, of_one, default, what in lists:
        command.add_argument(
            name,
            type=partial(_listed, of_one),
            default=default,
            metavar="X,...",
            help=f"{what}, tried in turn (default: {default})",
        )


def _listed(of_one: Callable[[str], Any], text: str) -> list[Any]:
    return [of_one(value.strip()) for value in text.split(",")]
