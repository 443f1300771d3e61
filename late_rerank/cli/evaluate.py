"""`late-rerank eval`: a BEIR folder -> measures of a first stage, and of it reranked, in one way or in several."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from late_rerank.cli.compare import add_compare, add_plot, check_axes, print_compared, setups_of
from late_rerank.cli.options import (
    DEFAULT_SCORING,
    FIRST_STAGES,
    add_first_stage,
    add_fuse,
    add_fusion,
    add_identical_ids,
    add_json,
    add_model,
    add_scoring,
    add_store,
    rank_options,
    wanted_of,
)
from late_rerank.cli.query_encoders import FULL, add_query_encoder

if TYPE_CHECKING:
    from late_rerank.evaluate import Compared, Evaluation, Judged


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
    add_fusion(command)
    add_identical_ids(command)
    command.add_argument(
        "--rerank-with",
        default="maxsim",
        choices=["maxsim", "single-vector"],
        help="what orders the candidates: token vectors, or, to compare, the cosine of the model's single vectors "
        "(default: maxsim)",
    )
    add_store(command)
    add_model(command)
    add_query_encoder(command)
    add_fuse(command)
    command.add_argument(
        "--fuse-method",
        choices=["zscore", "rrf"],
        help="what a score is worth to --fuse: zscore, standard deviations from the query's mean, or rrf, 1 / (60 + rank) "
        "(default: zscore)",
    )
    add_scoring(command)
    add_compare(command)
    add_plot(command)
    command.add_argument("--write-run", metavar="FILE", type=Path, help="write the reranked run, as TREC's six columns")
    add_json(command)
    command.set_defaults(run=run, wrong_use=command.error)


def run(options: argparse.Namespace) -> None:
    """Read, retrieve, index, rerank, measure, print."""
    from late_rerank.cli.results import print_json
    from late_rerank.evaluate.evaluation import check_measures

    _check(options)
    check_measures()  # fails now, not after minutes
    setups = [] if options.compare is None else setups_of(options)
    others = {(model, FULL) for model in options.fuse}
    alone = {(options.model, options.query_encoder)} if others or options.query_encoder != FULL else set()
    _check_models({(setup.model, setup.query_encoder) for setup in setups} or alone | others)
    judged = _judged(options, max([setup.k for setup in setups], default=options.k))
    if setups:
        report = _comparison(options, judged)
        print_json(report) if options.json else print_compared(report)
        return
    single = options.rerank_with == "single-vector"
    result, report = (_fused if options.fuse else _single_vector if single else _maxsim)(options, judged)
    print_json(report) if options.json else (_print_fused if options.fuse else _print_table)(report)
    if options.write_run:  # last: an id that a run can't hold must not cost the figures
        _write(options, result)


def _check_models(named: set[tuple[str, str]]) -> None:
    if named:
        from late_rerank.encode.loading import check_model

        for name, query_encoder in sorted(named):  # a wrong name fails now, not when the models before it are done
            check_model(name, query_encoder=query_encoder)


def _check(options: argparse.Namespace) -> None:
    """Check that no option is given that would have no effect."""
    if options.write_run is not None and not options.write_run.absolute().parent.is_dir():
        raise ValueError(f"--write-run {options.write_run}: there is no folder {options.write_run.parent}")
    if options.fuse_method is not None and not options.fuse:
        options.wrong_use("--fuse-method says how --fuse fuses: name a second model, as in --fuse minilm-late")
    if options.fuse and options.rerank_with != "maxsim":
        options.wrong_use("--fuse fuses scores of token vectors: leave it out with --rerank-with single-vector")
    if options.compare is not None:
        check_axes(options)
        given = {"--write-run": options.write_run is not None, "--fuse": bool(options.fuse)}
        given["--rerank-with single-vector"] = options.rerank_with != "maxsim"
        if unheard := [name for name in given if given[name]]:
            options.wrong_use(f"{' and '.join(unheard)} can't be given with --compare")
        if options.plot is not None:
            from late_rerank.evaluate.plot import check_plot

            check_plot(options.plot)  # fails now, not after minutes
    elif options.plot is not None:
        options.wrong_use("--plot draws what --compare compares: name some axes, as in --compare codec=int8,binary")
    elif options.rerank_with == "single-vector":
        given = {"--store": options.store is not None, "--pooling": options.pooling != 1}
        given |= {"--codec": options.codec != "int8", "--backend": options.backend != "auto"}
        given |= {"--scoring": options.scoring is not None, "--query-encoder": options.query_encoder != FULL}
        if unheard := [name for name in given if given[name]]:
            options.wrong_use(f"{' and '.join(unheard)} is about token vectors: leave it out with --rerank-with single-vector")


def _judged(options: argparse.Namespace, k: int) -> Judged:
    """Read the collection, and retrieve the best `k` candidates of its judged queries."""
    from late_rerank.cli.first_stage import first_stage
    from late_rerank.cli.judged import tell, tell_of_judgements
    from late_rerank.corpus import read_collection
    from late_rerank.evaluate import Judged, read_run
    from late_rerank.evaluate.judged import retrieve_judged

    stage = options.first_stage
    documents, queries, qrels = read_collection(Path(options.folder), options.split)
    queries, ignored = {name: queries[name] for name in qrels}, not options.keep_identical_ids
    tell_of_judgements(documents, qrels, options.split, ignore_identical_ids=ignored)
    if stage in FIRST_STAGES:
        retriever = first_stage(stage, documents, options.engine, options.language)
        return retrieve_judged(retriever, queries, qrels, k, ignore_identical_ids=ignored, progress=True)
    by_id = {str(document.id): document for document in documents if document.id is not None}
    run = read_run(Path(stage), by_id, k, ignore_identical_ids=ignored, tell=tell)
    absent = [name for name in queries if name not in run]
    if 0 < len(absent) < len(queries):
        tell(f"{stage} has no candidates for {len(absent)} of {len(queries)} queries, {absent[0]!r} first: each counts as 0")
    return Judged(run, queries, qrels, ignored)


def _maxsim(options: argparse.Namespace, judged: Judged) -> tuple[Evaluation, dict[str, Any]]:
    from late_rerank.cli.opening import opened_reranker
    from late_rerank.evaluate.comparison import bytes_per_token
    from late_rerank.evaluate.evaluation import evaluate_judged
    from late_rerank.stores import MemoryStore

    unbounded = MemoryStore(max_bytes=None)  # a bound would evict candidates before they are scored
    with opened_reranker(options, otherwise=unbounded) as reranker:
        result = evaluate_judged(reranker, judged, wanted_of(options), progress=True)
        stats, size = reranker.stats(), bytes_per_token(reranker, options.pooling)
    chosen = {name: getattr(options, name) for name in ("k", "model", "pooling", "query_encoder", "codec")}
    told = {"scoring": stats["scoring"], "bytes_per_token": size, "backend": stats["backend"]}
    return result, _report(options, result, {**chosen, **told})


def _fused(options: argparse.Namespace, judged: Judged) -> tuple[Evaluation, dict[str, Any]]:
    """Measure several models together and each alone: the report of all together, with "alone", by model."""
    from late_rerank.cli.opening import fused_with, opened_reranker
    from late_rerank.evaluate.comparison import bytes_per_token
    from late_rerank.evaluate.fused import evaluate_fused
    from late_rerank.stores import MemoryStore

    unbounded = MemoryStore(max_bytes=None)  # as in `_maxsim`
    with opened_reranker(options, otherwise=unbounded) as first, fused_with(first, options) as fused:
        result = evaluate_fused(fused, judged, wanted_of(options), progress=True)
        sizes = [bytes_per_token(reranker, options.pooling) for reranker in fused.rerankers]
        told = [{name: reranker.stats()[name] for name in ("scoring", "backend")} for reranker in fused.rerankers]
    alone = result.to_dict()
    for row, size, of_model in zip(alone.values(), sizes, told, strict=True):
        row.update({"bytes_per_token": size, **of_model})
    chosen = {name: getattr(options, name) for name in ("k", "model", "pooling", "query_encoder", "codec")} | told[0]
    together = {"bytes_per_token": sum(sizes), "fused_with": options.fuse, "fuse_method": fused.method, "alone": alone}
    return result.fused, _report(options, result.fused, {**chosen, **together})


def _single_vector(options: argparse.Namespace, judged: Judged) -> tuple[Evaluation, dict[str, Any]]:
    from late_rerank.evaluate.evaluation import evaluate_judged
    from late_rerank.evaluate.single_vector import SingleVectorReranker

    reranker = SingleVectorReranker(options.model)
    result = evaluate_judged(reranker, judged, wanted_of(options), progress=True)
    size = {"bytes_per_token": None, "bytes_per_document": reranker.bytes_per_document}
    chosen = {"k": options.k, "model": options.model, "pooling": None, "query_encoder": FULL, "codec": "float32"}
    return result, _report(options, result, {**chosen, "scoring": None, **size, "backend": reranker.encoder.backend})


def _comparison(options: argparse.Namespace, judged: Judged) -> dict[str, Any]:
    """Compare setups: the report of the first, with "compared", a row for each setup."""
    from late_rerank.cli.opening import opened_store
    from late_rerank.encode import Encoder, TextEncoder
    from late_rerank.evaluate import compare

    def load(model: str, pooling: int, *, query_encoder: str = FULL) -> Encoder:
        return TextEncoder(model, backend=options.backend, pooling=pooling, query_encoder=query_encoder)

    with opened_store(options) as store:
        found = compare(setups_of(options), judged, store=store, load=load, progress=True)
    rows = [each.to_dict() for each in found]
    own = ("k", "model", "pooling", "query_encoder", "codec", "scoring", *rank_options(options), "bytes_per_token", "backend")
    report = {**_report(options, found[0].evaluation, {name: rows[0][name] for name in own}), "compared": rows}
    if options.plot is not None:
        _plot(options.plot, found, report)
    return report


def _plot(path: Path, found: list[Compared], report: dict[str, Any]) -> None:
    from late_rerank.evaluate.plot import plot_comparison

    title = f"{report['dataset']} {report['split']}, {report['n_queries']} queries: {report['first_stage']} reranked"
    plot_comparison(found, path, title=title, first_stage=report["first_stage"])
    print(f"wrote {path}", file=sys.stderr)


def _report(options: argparse.Namespace, result: Evaluation, chosen: dict[str, Any]) -> dict[str, Any]:
    return {
        "dataset": Path(options.folder).resolve().name,
        "split": options.split,
        "n_queries": result.n_queries,
        "first_stage": options.first_stage if options.first_stage in FIRST_STAGES else Path(options.first_stage).stem,
        "rerank_with": options.rerank_with,
        **rank_options(options),
        "measures": result.measures,
        "differences": {name: found.to_dict() for name, found in result.differences.items()},
        "latency_ms": result.latency_ms,
        "n_own_documents_left_out": result.n_own_documents_left_out,
        **chosen,
    }


def _write(options: argparse.Namespace, result: Evaluation) -> None:
    from late_rerank.evaluate import write_run

    windows = "" if options.scoring in (None, DEFAULT_SCORING) else f"-{options.scoring}"
    windows += "-fused" if options.fuse else ""
    how = f"{options.codec}{windows}" if options.rerank_with == "maxsim" else options.rerank_with
    write_run(options.write_run, result.ranked, f"late-rerank-{how}")


def _print_fused(report: dict[str, Any]) -> None:
    from rich.table import Table

    from late_rerank.cli.judged import left_out_text
    from late_rerank.cli.terminal import shown_console

    title = f"{report['dataset']} {report['split']}, {report['n_queries']} queries, k={report['k']}, {report['fuse_method']}"
    table = Table("", *report["measures"]["reranked"], "fusion adds to nDCG@10", "by chance", "p50 / p99", title=title)
    before, after = report["measures"]["first_stage"], report["measures"]["reranked"]
    rows = [(report["first_stage"], before, "", "", "")]
    for name, row in report["alone"].items():
        added = row["differences"]["nDCG@10"]
        change = f"{added['mean']:+.4f} ({added['low']:+.4f} to {added['high']:+.4f})"
        rows.append((name, row["measures"], change, f"p = {added['p']:.4f}", _latency(row)))
    for name, measures, *rest in [*rows, ("fused", after, "", "", _latency(report))]:
        table.add_row(name, *(f"{value:.4f}" for value in measures.values()), *rest)
    console = shown_console()
    console.print(table)
    if (line := left_out_text(report["n_own_documents_left_out"])) is not None:
        console.print(line, highlight=False, soft_wrap=True)


def _latency(report: dict[str, Any]) -> str:
    return f"{report['latency_ms']['p50']:.1f} / {report['latency_ms']['p99']:.1f} ms"


def _print_table(report: dict[str, Any]) -> None:
    from late_rerank.cli.judged import left_out_text
    from late_rerank.cli.results import changes_table
    from late_rerank.cli.terminal import shown_console

    scoring = "" if report["scoring"] in (None, DEFAULT_SCORING) else f", {report['scoring']}"
    title = f"{report['dataset']} {report['split']}, {report['n_queries']} queries, k={report['k']}{scoring}"
    queries = "" if report["query_encoder"] == FULL else f", {Path(report['query_encoder']).name} query encoder"
    heads = {"first_stage": report["first_stage"], "reranked": f"reranked by {report['model']}{queries}"}
    columns = [(head, report["measures"][run]) for run, head in heads.items()]
    console = shown_console()
    console.print(changes_table(title, columns, report["differences"]))
    latency, pooled = report["latency_ms"], "" if report["pooling"] in (None, 1) else f", pooling {report['pooling']}"
    size = (
        f"{report['bytes_per_document']} bytes a document (single vectors)"
        if report["bytes_per_token"] is None
        else f"{report['bytes_per_token']:g} bytes a token ({report['codec']}{pooled})"
    )
    console.print(f"rerank with stored vectors: p50 {latency['p50']:.1f} ms, p99 {latency['p99']:.1f} ms; {size}")
    if (line := left_out_text(report["n_own_documents_left_out"])) is not None:
        console.print(line, highlight=False, soft_wrap=True)
