"""What a small query encoder saves, and what ranking loses by it. Prints JSON.

    python tests/benchmarks/query_encoder.py encode    a query of 8 to 64 tokens, one thread, each engine; minutes
    python tests/benchmarks/query_encoder.py rerank    100 stored passages, one thread, each engine; minutes
    python tests/benchmarks/query_encoder.py serve     requests a second of a server, 64 clients; needs wrk (apt); minutes
    python tests/benchmarks/query_encoder.py quality FOLDER [--development] [--store DIR]    an hour
    python tests/benchmarks/query_encoder.py chart [FILE.svg]    of what --out has collected; takes no time

Each part compares query encoders in one run, in turns, over the same documents: --query-encoder NAME-OR-FOLDER..., and always
the full one. --out FILE.json keeps each part's report under its name, beside those of other parts. "of_full" is a figure over
the full query encoder's. "bars" says what was asked of "fast", and whether it holds.

"encode" and "rerank" run each engine in a process of its own, and each query encoder in turns of random order; "cpu_ms" is the
processor's time, which a busy machine hardly changes. "serve" starts a server for each query encoder in turns.

"quality" reranks BM25's best 100 documents of scifact, nfcorpus, trec-dl19-rerank (its stored candidates) and cranfield on
their test queries. --development has nfcorpus, squad and medquad on dev queries, and scifact on train queries that nobody
trained on; --held-out FILE.json names others, as a list. "difference" is nDCG@10 less that of the full query encoder, query by
query, with its 95 % range and its p; "token_cosine" is a token's vector against the full one's; "relevance" is the mean that
the same candidates get, of which "calibrated" uses the full query encoder's calibration. Documents are encoded once into
--store.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import query_encoder_quality as quality_part
from benchmarks.child_processes import answer_of
from benchmarks.quality import write
from benchmarks.query_encoder_tables import CHART, RESULT, bars, chart
from benchmarks.query_encoder_times import PARTS, labels

from late_rerank.evaluate.bench.provenance import commit, platform_name

BACKENDS = ("openvino", "onnx")


def main():
    options = parsed()
    if options.part == "chart":
        options.file.write_text(chart(json.loads(options.result.read_text(encoding="utf-8"))), encoding="utf-8")
        return
    if getattr(options, "child", None):
        print(json.dumps(PARTS[options.part](options.model, options.query_encoder, options.child, options.turns)))
        return
    name, report = options.run(options)
    report = {
        "machine": platform_name(),
        "commit": commit(),
        "command": command(sys.argv[1:]),
        "model": options.model,
        **report,
    }
    report["bars"] = bars(name, report)
    print(json.dumps(report, indent=1))
    if options.out:
        keep(options.out, name, report)


def keep(path, name, report):
    """Write a part's report into a file, in place of an earlier one; other parts stay."""
    kept = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    write(path, {**kept, name: report})


def timed(options):
    """The part of each engine, in a process of its own."""
    given = ["--model", options.model, "--turns", options.turns, "--query-encoder", *options.query_encoder.values()]
    engines = {name: answer_of(__file__, options.part, "--child", name, *given) for name in options.backends}
    return options.part, {"turns": options.turns, "threads": 1, "engines": engines}


def serve(options):
    """Servers one after the other, in turns, of which each is asked by the same clients."""
    from benchmarks.server import K, asked, measured, prepared
    from serving import serving

    found = {}
    with tempfile.TemporaryDirectory() as folder:
        store, _ = prepared(Path(folder), options.model)
        for backend in options.backends:
            rows = {label: [] for label in options.query_encoder}
            given = ["--model", options.model, "--backend", backend, "--workers", options.workers, "--store", store]
            for _ in range(options.turns):
                for label, each in options.query_encoder.items():
                    with serving(*given, "--query-encoder", each) as (url, process, _):
                        asked(url, Path(folder), 4, 3)  # warms it
                        rows[label].append(measured(url, process, Path(folder), options.clients, options.seconds))
                    print(backend, label, rows[label][-1], file=sys.stderr)
            found[backend] = {"turns": rows, "query_encoders": served(rows)}
    told = {"cores": os.cpu_count(), "workers": options.workers, "clients": options.clients, "seconds": options.seconds}
    return "serve", {**told, "k": K, "engines": found}


def served(rows):
    """The median of each figure over turns, and what it is of the full query encoder's.

    Raises:
        RuntimeError: If a request failed: its time would count as an answer's.
    """
    found = {}
    for label, turns in rows.items():
        if any(row["failed"] or row["not_200"] for row in turns):
            raise RuntimeError(f"requests failed with query_encoder={label!r}: {turns}")
        names = ("requests_per_second", "requests_per_cpu_second", "p50_ms", "p99_ms")
        found[label] = {name: round(statistics.median(row[name] for row in turns), 2) for name in names}
        if label != "full":
            found[label]["of_full"] = {name: round(found[label][name] / found["full"][name], 3) for name in names}
    return found


def quality(options):
    """Ranking on test queries, or on development queries."""
    splits = quality_part.DEVELOPMENT if options.development else quality_part.TEST
    splits = {name: split for name, split in splits.items() if name in (options.collections or splits)}
    most = options.n_queries or (quality_part.DEVELOPMENT_QUERIES if options.development else None)
    collections = quality_part.asked(options.folder, splits, held_out=options.held_out, n_queries=most, k=options.k)
    with tempfile.TemporaryDirectory() as temporary:
        store = options.store or Path(temporary) / "store"
        found = quality_part.compared(
            collections, options.query_encoder, model=options.model, store=store, scoring=options.scoring
        )
    return "development" if options.development else "quality", {"k": options.k, **found}


def command(arguments):
    """The command line without what is of this machine: any path is PATH."""
    shown = ["PATH" if os.sep in each else each for each in arguments]
    return " ".join(["python tests/benchmarks/query_encoder.py", *shown])


def parsed():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = parser.add_subparsers(dest="part", required=True)
    for name in PARTS:
        part = _part(parts, name, timed)
        part.add_argument("--backends", nargs="+", default=BACKENDS, choices=BACKENDS)
        part.add_argument("--turns", type=int, default=100)
        part.add_argument("--child", choices=BACKENDS, help=argparse.SUPPRESS)
    part = _part(parts, "serve", serve)
    part.add_argument("--backends", nargs="+", default=BACKENDS, choices=BACKENDS)
    part.add_argument("--turns", type=int, default=3)
    part.add_argument("--seconds", type=int, default=10)
    part.add_argument("--workers", type=int, default=2)
    part.add_argument("--clients", type=int, default=64)
    part = _part(parts, "quality", quality)
    part.add_argument("folder", type=Path, help="of the collections")
    part.add_argument("--development", action="store_true")
    part.add_argument("--held-out", type=Path, help="JSON list of train queries of scifact (default: those left out)")
    part.add_argument("--collections", nargs="+", help="these only")
    part.add_argument("--n-queries", type=int, help="at most so many of each (default: all, or 300 with --development)")
    part.add_argument("--k", type=int, default=100, help="candidates a query (default: 100)")
    part.add_argument("--store", type=Path, help="keeps token vectors between runs (default: a temporary folder)")
    part.add_argument("--scoring", help="default: the model's")
    part = parts.add_parser("chart")
    part.add_argument("file", type=Path, nargs="?", default=CHART)
    part.add_argument("--result", type=Path, default=RESULT, help="what --out has collected")
    options = parser.parse_args()
    if options.part != "chart":
        try:
            options.query_encoder = labels(options.query_encoder)
        except ValueError as error:
            parser.error(str(error))
    return options


def _part(parts, name, run):
    part = parts.add_parser(name)
    part.set_defaults(run=run)
    part.add_argument("--query-encoder", nargs="+", default=["fast"], metavar="NAME-OR-FOLDER")
    part.add_argument("--model", default="minilm")
    part.add_argument("--out", type=Path, help="a JSON file that keeps this report beside those of other parts")
    return part


if __name__ == "__main__":
    main()
