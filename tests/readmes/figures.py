"""Each part of a page that shows figures, from the JSON in tests/benchmarks/: the whole table, or the whole sentence."""

import json
from pathlib import Path
from typing import Any

from benchmarks import capacity_tables, file_encodings_tables, language_tables, languages_tables, query_encoder_tables, tables
from benchmarks import quality_tables as quality

SCIFACT = "scifact/bm25"
# What README.md shows of the stages; one loses.
FRONT_STAGES = (
    *("SciFact, BM25", "NFCorpus, BM25", "Cranfield, BM25"),
    *("TREC DL 2019, its stored BM25", "TREC DL 2019, its stored RepLLaMA"),
)


def parts() -> dict[str, str]:
    """Name of a part -> what stands there."""
    return _quality() | _times() | _query_encoder() | _stores() | _contexts() | _server() | _capacity()


def _quality() -> dict[str, str]:
    results, scoring = _read(quality.QUALITY)["results"], _read(quality.SCORING)
    return {
        "headline": _headline(results),
        "front stages": _front_stages(results),
        "stages": _table(
            "| | first stage | bi-encoder | late interaction | adds | time, p50 / p99 |", quality.stage_rows(results)
        ),
        "depth": _table("| candidates | SciFact | NFCorpus | Cranfield |", quality.depth_rows(results)),
        "scoring": _table(
            '| | `scoring="maxsim"` | `scoring="proximity"` | adds, with 95 % range |', quality.scoring_rows(scoring)
        ),
        "scoring time": _table("| dim | maxsim | proximity | ratio |", quality.scoring_time_rows(scoring)),
        "packing": _table(
            "| codec | bytes a token | SciFact | NFCorpus | Cranfield | TREC DL 2019 |", quality.small_rows(results)
        ),
    }


def _times() -> dict[str, str]:
    result, start = _read(tables.RESULT), _read(tables.START)
    return {
        "rerank": _table(
            "| encoding the query | MaxSim | everything else | total | passages encoded again | cross-encoder |",
            [tables.rerank_row(result)],
        ),
        "engines": _table(
            "| engine | query | torch's time over it | 100 passages | sentence-transformers' time over it "
            "| least cosine to torch on some text |",
            tables.encoding_rows(result),
        ),
        "bulk": _table(
            "| | time | share of sentence-transformers' time | memory, with model and libraries |",
            tables.bulk_rows(_read(tables.ENCODING)),
        ),
        "kernel": _table(
            "| codec | dim | time | of the instruction's peak | NumPy | torch | sentence-transformers | maxsim-cpu | numkong |",
            tables.kernel_rows(result),
        ),
        "start": _table("| until the first answer | engine | time | processor time | memory |", tables.start_rows(start)),
        "sizes": _table("| installed | |", tables.size_rows(start)),
    }


def _query_encoder() -> dict[str, str]:
    report = _read(query_encoder_tables.RESULT)
    return {
        f"query encoder, {name}": _table(header, rows(report[part]))
        for name, (part, header, rows) in query_encoder_tables.TABLES.items()
    }


def _stores() -> dict[str, str]:
    stores, scale = _read(tables.STORES), _read(tables.STORE_SCALE)
    return {
        "stores": _table(
            "| documents | DiskStore | LMDB raw | LMDB ready | SQLite raw | SQLite ready | MemoryStore |",
            tables.store_rows(stores),
        ),
        "stores, cold": _table("| | DiskStore | LMDB | LMDB without readahead | SQLite |", tables.cold_store_rows(stores)),
        "stores, put": _table("| DiskStore | LMDB | SQLite | MemoryStore |", [tables.put_row(stores)]),
        "store growth": _table(
            "| documents | memory of the indexing process | bytes a document on disk | opening | first fetch |",
            tables.scale_rows(scale),
        ),
        "ten million": _table("| codec | 384 dims | 128 dims |", tables.ten_million_rows(scale)),
    }


def _contexts() -> dict[str, str]:
    return {
        "contexts": _table(
            "| questions | best ranked | by coverage | difference | best ranked, of answerable | by coverage, of answerable |",
            tables.context_rows(_read(tables.CONTEXT)),
        ),
        "compression": _table(
            "| | `compress=True` | cut around the best passage | best sentences by BM25 | BM25 with neighbours |",
            tables.compression_rows(_read(tables.COMPRESSION)),
        ),
        "encodings": _table(file_encodings_tables.HEADER, list(file_encodings_tables.rows())),
        "each encoding": _table(file_encodings_tables.HEADER_OF_EACH, list(file_encodings_tables.rows_of_each())),
        "no encodings": file_encodings_tables.sentence(),
        "languages": _table(languages_tables.HEADER, languages_tables.language_rows()),
        "mixed languages": _table(languages_tables.MIXED_HEADER, languages_tables.mixed_rows()),
        "token estimate": _table(language_tables.HEADER, language_tables.estimate_rows()),
    }


def _server() -> dict[str, str]:
    server = _read(tables.SERVER)
    return {
        "server": _table(
            "| workers | clients | requests a second | p50 / p99 | answers per processor second, of a `Reranker` alone |",
            tables.server_rows(server),
        ),
        "server memory": tables.server_memory(server),
        "stores, network": _table(
            "| documents | RedisStore | PostgresStore | times as long |", tables.network_rows(_read(tables.NETWORK))
        ),
        "replicas": _table(
            "| haproxy's settings | requests | failed | p50 / p99 |", tables.replica_rows(_read(tables.REPLICAS))
        ),
        "bars": _table(
            "| bar | answers kept | near misses left out | answers kept, calibrated | near misses left out, calibrated "
            "| other topics left out, calibrated |",
            tables.bar_rows(_read(tables.CALIBRATION)),
        ),
    }


def _capacity() -> dict[str, str]:
    return {name: _table(header, rows) for name, (header, rows) in capacity_tables.tables().items()}


def _headline(results: dict[str, Any]) -> str:
    measures = results[SCIFACT]["measures"]
    before, after = (f"{measures[run]['nDCG@10']:.3f}".lstrip("0") for run in ("first_stage", "reranked"))
    times = _read(tables.RESULT)["end_to_end"]
    start = _read(tables.START)["figures"]["search, onnx"]
    return (
        "**late-rerank puts the right passages first in your RAG app, on your own CPU.** "
        f"It lifts BM25 on SciFact from {before} to {after} nDCG@10, reranks {times['k']} stored passages in "
        f"{times['cached_ms']:.1f} ms on one core, and a cold `search` answers in {start['seconds']:.1f} s."
    )


def _front_stages(results: dict[str, Any]) -> str:
    rows = []
    for row in quality.stage_rows(results):
        name, before, _, after, added, _ = (cell.strip() for cell in row.strip("|").split("|"))
        if name in FRONT_STAGES:
            mean, spread = added.split(" ", 1)
            rows.append((FRONT_STAGES.index(name), f"| {name} | {before} | {after} | {mean} {spread} |"))
    return _table("| collection, first stage | alone | reranked | adds, with 95 % range |", [row for _, row in sorted(rows)])


def _table(header: str, rows: list[str]) -> str:
    return "\n".join([header, "|---" * (header.count("|") - 1) + "|", *rows])


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
