"""`late-rerank index`: documents of any number -> token vectors in a store, ahead of queries."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from itertools import chain
from typing import TYPE_CHECKING, Any

from late_rerank.cli.options import add_json, add_model, add_path, add_store, at_least_one

if TYPE_CHECKING:
    from collections.abc import Iterator

    from late_rerank import Candidate
    from late_rerank.bulk import BulkReport
    from late_rerank.corpus import CorpusStream


# Documents between two puts: a kill loses at most so many. Flushing to disk costs nothing beside encoding them.
_BATCH_SIZE = 128
# Each split is a run of a store in object storage, and a query asks each run.
_MANY_RUNS = 16
_ENGINES = ("local", "ray", "dask", "spark")  # as in late_rerank.bulk.engines, which would load NumPy for --help


def register(commands: Any) -> None:
    """Add the command to the parser."""
    command = commands.add_parser(
        "index",
        help="encode documents into a store, ahead of queries",
        description="Encode documents and keep their token vectors, so that queries need not. What the store holds already "
        "isn't encoded again: stopped and started again, it goes on where it was. Memory doesn't grow with the documents. "
        "With --engine, many workers encode parts of the documents: processes of this machine, or those of a cluster. PATH may "
        "then be a pattern as 'shards/*.jsonl', or a URL in object storage.",
    )
    add_path(command)
    add_store(command, required=True)
    add_model(command)
    _add_engine(command)
    add_json(command)
    command.set_defaults(run=run, command_parser=command)


def _add_engine(command: argparse.ArgumentParser) -> None:
    """Add --engine, --address, --workers and --split-mb."""
    command.add_argument(
        "--engine",
        choices=_ENGINES,
        help="encode on many workers: local for processes of this machine, or ray, dask, spark (default: in this process; "
        "local for a store in object storage)",
    )
    command.add_argument("--address", metavar="ADDRESS", help="where the engine's cluster is (default: on this machine)")
    command.add_argument(
        "--workers", type=at_least_one, metavar="N", help="workers of the engine (default: one a core, or all of the cluster)"
    )
    command.add_argument(
        "--split-mb",
        type=at_least_one,
        metavar="N",
        help="MB of text that a worker encodes before it tells so; another size begins anew (default: at most 16)",
    )


def run(options: argparse.Namespace) -> None:
    """Read, encode, store, print."""
    from late_rerank.stores.opening import is_url
    from late_rerank.stores.remote.address import SCHEMES

    if options.path.startswith("file://"):
        from late_rerank.bulk.places import as_place

        options.path = as_place(options.path)
    if options.engine is None and is_url(options.store) and options.store.startswith(SCHEMES):
        options.engine = "local"
    if options.engine is not None:
        _run_in_bulk(options)
        return
    for name in ("address", "workers", "split_mb"):
        if getattr(options, name) is not None:
            options.command_parser.error(f"--{name.replace('_', '-')} needs --engine")
    _run_here(options)


def _run_in_bulk(options: argparse.Namespace) -> None:
    """Let the workers of an engine read, encode and store."""
    from late_rerank import bulk
    from late_rerank.cli.documents import no_documents, read_json, tell_passed_over, tell_skipped
    from late_rerank.cli.opening import shown_place

    try:
        report = bulk.index(
            options.path,
            store=options.store,
            model=options.model,
            codec=options.codec,
            backend=options.backend,
            pooling=options.pooling,
            engine=options.engine,
            workers=options.workers,
            address=options.address,
            encoding=options.encoding,
            split_bytes=None if options.split_mb is None else options.split_mb * 2**20,
            progress=True,
        )
    except KeyboardInterrupt as interrupted:
        if str(interrupted):
            print(interrupted, file=sys.stderr)
        raise
    tell_skipped(report)
    if not report.n_documents:
        raise no_documents(options.path, report)
    tell_passed_over(report)
    counts = asdict(report)
    del counts["json_lines"]
    result = {
        "path": options.path,
        "store": shown_place(options.store),
        "model": options.model,
        "codec": options.codec,
        **counts,
        **read_json(report),
    }
    _show(result, options)
    if not options.json:
        _print_workers(report, options.store)


def _run_here(options: argparse.Namespace) -> None:
    """Read, encode and store in this process."""
    from late_rerank.cli.documents import no_documents, read_json, tell_passed_over, tell_skipped
    from late_rerank.cli.opening import open_answering, opened_reranker, sees_images, shown_place
    from late_rerank.corpus import CorpusStream
    from late_rerank.observing.progress import progress_bar

    stream = CorpusStream(options.path, images=True, encoding=options.encoding)
    if next(iter(stream), None) is None:  # before seconds are spent on the model, and before a store is created
        tell_skipped(stream)
        raise no_documents(options.path, stream)
    with opened_reranker(options, open_url=open_answering) as reranker:
        stream = CorpusStream(options.path, images=sees_images(reranker), encoding=options.encoding)
        documents = iter(stream)
        first = next(documents, None)
        if first is None:  # nothing but images and scans, and a model of texts
            tell_skipped(stream)
            raise no_documents(options.path, stream)
        try:
            with progress_bar(unit="B", unit_scale=True, desc="Indexing") as bar:
                report = reranker.index(_watched(stream, chain([first], documents), bar), batch_size=_BATCH_SIZE)
        finally:
            tell_skipped(stream)
            tell_passed_over(stream)
        fingerprint = reranker.encoder.fingerprint
    result = {
        "path": options.path,
        "store": shown_place(options.store),
        "model": options.model,
        "codec": options.codec,
        "fingerprint": fingerprint,
        **asdict(report),
        **read_json(stream),
    }
    _show(result, options)


def _show(result: dict[str, Any], options: argparse.Namespace) -> None:
    from late_rerank.cli.results import print_json

    if options.json:
        print_json(result)
    else:
        _print(result)


def _watched(stream: CorpusStream, documents: Iterator[Candidate], bar: Any) -> Iterator[Candidate]:
    """Pass documents on. The bar counts bytes, since the number of documents isn't known."""
    if not bar.disable:
        bar.reset(total=stream.size_bytes)
    n_bytes_before = 0
    for n_documents, document in enumerate(documents):
        if n_documents and n_documents % _BATCH_SIZE == 0:  # all documents before this one are stored
            rate = n_documents / max(bar.format_dict["elapsed"], 0.001)  # 0 where no bar is drawn
            bar.set_postfix_str(f"{n_documents:,} documents, {rate:,.1f}/s", refresh=False)
            bar.update(n_bytes_before - bar.n)
        n_bytes_before = stream.n_bytes_read
        yield document
    bar.update(stream.n_bytes_read - bar.n)


def _print(result: dict[str, Any]) -> None:
    from late_rerank.cli.results import counted, size_text

    print(
        f"{counted(result['n_documents'], 'document')} in {result['seconds']:.1f} s: {result['n_encoded']:,} encoded "
        f"({counted(result['n_tokens'], 'token')}, {size_text(result['size_bytes'])}), {result['n_cached']:,} already there"
    )
    print(f"kept in {result['store']} for model {result['model']}, codec {result['codec']}")


def _print_workers(report: BulkReport, store: str) -> None:
    from late_rerank.cli.results import counted

    resumed = f", {report.n_resumed:,} of them before" if report.n_resumed else ""
    print(
        f"{counted(report.n_splits, 'split')}{resumed}, by {counted(report.n_workers, 'worker')} of engine {report.engine}: "
        f"{report.documents_per_s:,.1f} documents/s"
    )
    if report.commit is not None and report.n_splits > _MANY_RUNS:
        print(
            f"{report.n_splits:,} runs are looked into by each query; this makes one of them: late-rerank store merge {store}"
        )
