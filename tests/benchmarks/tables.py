"""The tables of README.md beside this file, from the committed JSON: time, codecs, stores, contexts, starts. Prints Markdown.

python tests/benchmarks/tables.py

`make docs` writes them into the pages.
"""

import json
from pathlib import Path

RESULT = Path(__file__).parent / "bench.json"
CODECS = Path(__file__).parent / "codecs.json"
STORES = Path(__file__).parent / "stores.json"
STORE_SCALE = Path(__file__).parent / "store_scale.json"
CONTEXT = Path(__file__).parent / "context.json"
ENCODING = Path(__file__).parent / "encoding.json"
COMPRESSION = Path(__file__).parent / "compression.json"
SERVER = Path(__file__).parent / "server.json"
START = Path(__file__).parent / "start.json"
NETWORK = Path(__file__).parent / "networked_stores.json"
REPLICAS = Path(__file__).parent / "replicas.json"
CALIBRATION = Path(__file__).parent / "calibration.json"
BARS = ("0.1", "0.2", "0.3", "0.5", "0.6", "0.7", "0.8")

DIMS = (128, 384)
K = 100
STORE_COLUMNS = ("disk", "lmdb raw", "lmdb ready", "sqlite raw", "sqlite ready", "memory")
STORE_PHASES = {
    "steady": "asked for before",
    "new_documents_put": "after another process's put",
    "documents_replaced": "after a document was replaced",
    "first_pass": "asked for the first time",
}
COLD_COLUMNS = ("disk", "lmdb", "lmdb-random", "sqlite")
CONTEXT_KINDS = {"single": "one part", "both": "two parts", "joined": "two parts, candidates for the joined question"}
NAMES = {"scifact": "SciFact", "nfcorpus": "NFCorpus", "cranfield": "Cranfield"}
STARTS = {
    "search": "`late-rerank search`",
    "Reranker": "`Reranker()` and a first rerank, from a store",
    "Reranker without a store": "`Reranker()` and a first rerank, without a store",
    "serve": "`late-rerank serve`, until it is ready",
    "mcp": "`late-rerank mcp`, until the first result",
}
START_PEERS = {
    "flashrank": "FlashRank",
    "fastembed": "FastEmbed, late interaction",
    "sentence-transformers CrossEncoder": "sentence-transformers, `CrossEncoder`",
    "sentence-transformers MultiVectorEncoder": "sentence-transformers, `MultiVectorEncoder`",
}
PEERS = ("numpy", "torch", "sentence-transformers", "maxsim-cpu", "numkong")


def rerank_row(result):
    times = result["end_to_end"]
    cached = [f"{times[name]:#.3g} ms" for name in ("encode_query_ms", "maxsim_ms", "other_ms", "cached_ms")]
    others = [f"{times[name] / 1000:.1f} s" for name in ("uncached_ms", "cross_encoder_ms")]
    return f"| {' | '.join(cached + others)} |"


def encoding_rows(result):
    """What a query and a hundred documents take under each backend, and what others take over it."""
    return [
        f"| {row['backend']} {row['precision']} | {row['query_ms']:#.3g} ms | {row['ratio']['query']:.1f} | "
        f"{row['documents_ms'] / 1000:.2f} s | {row['ratio']['documents']:.1f} | {row['least_cosine']:.4f} |"
        for row in result["encoding"]
    ]


def bulk_rows(result):
    """What bulk encoding takes, of sentence-transformers' own time, and of memory."""
    return [
        f"| {way} | {run['seconds']:.1f} s | {run['of_sentence_transformers']:.2f} | {run['peak_mb']:,} MB |"
        for way, run in result["documents"].items()
    ]


def kernel_rows(result):
    return [_kernel_row(row) for row in result["kernel"] if row["k"] == K and row["dim"] in DIMS]


def _kernel_row(row):
    peak = f"{row['peak_percent']:.0f} %" if "peak_percent" in row else "-"
    ratios = (f"{row['ratio'][name]:.1f}" if name in row["ratio"] else "-" for name in PEERS)
    return f"| {row['codec']} | {row['dim']} | {row['median_ms']:.2f} ms | {peak} | {' | '.join(ratios)} |"


def codec_rows(result):
    """Bytes a token at both dims, nDCG@10 on each collection."""
    rows = {}
    for measured in result["results"]:
        size = measured["bytes_per_token"]
        row = rows.setdefault(measured["codec"], [measured["codec"], str(size["384"]), str(size["128"])])
        row.append(f"{measured['nDCG@10']:.3f}".lstrip("0"))
    return [f"| {' | '.join(row)} |" for row in rows.values()]


def store_rows(result):
    """Median milliseconds of a fetch from the page cache: DiskStore, LMDB raw and ready, SQLite raw and ready, MemoryStore."""
    rows = []
    for k, phases in result["fetch"].items():
        for phase, name in STORE_PHASES.items():
            times = phases[phase]["times"]
            cells = (f"{times[column]['median_ms']:.2f}" for column in STORE_COLUMNS)
            rows.append(f"| {k}, {name} | {' | '.join(cells)} |")
    return rows


def cold_store_rows(result):
    """Milliseconds of a hundred documents from the disk, median and 99th percentile: DiskStore, LMDB both ways, SQLite."""
    times = result["cold"]["times"]
    rows = []
    for use, name in (("packed", "copied into one array"), ("scored", "scored")):
        cells = (times[f"{column} {use}"] for column in COLD_COLUMNS)
        found = [f"{cell['median_ms']:.0f} / {cell['p99_ms']:.0f}" for cell in cells]
        rows.append(f"| {name} | {' | '.join(found)} |")
    return rows


def put_row(result):
    """Documents a second in durable batches: DiskStore, LMDB, SQLite, MemoryStore."""
    rates = (result["put"][name]["documents_per_s"] for name in ("disk", "lmdb", "sqlite", "memory"))
    return f"| {' | '.join(f'{round(rate, -2):,.0f}' for rate in rates)} |"


def scale_rows(result):
    """Documents, the indexing process's memory, bytes on the disk, opening and first fetch by a new process."""
    rows = []
    for row in result["growth"]:
        opening = row["opening_beside_the_writer"]
        rows.append(
            f"| {row['n_documents']:,} | {row['peak_anonymous_mb']:.0f} MB | {row['segment_bytes_per_document']:,.0f} | "
            f"{opening['open_ms']:.1f} ms | {opening['first_get_ms']:.1f} ms |"
        )
    return rows


def ten_million_rows(result):
    """GB of ten million documents of 180 tokens, computed: codec, 384 components, 128."""
    sizes = result["extrapolated"]["codecs"]
    names = dict.fromkeys(name.split()[0] for name in sizes)
    cells = {name: [f"{sizes[f'{name} {dim}']['both_gb']:.0f} GB" for dim in DIMS[::-1]] for name in names}
    return [f"| {name} | {' | '.join(row)} |" for name, row in cells.items()]


def context_rows(result):
    """Per cent of questions found by five documents: best ranked, by coverage, the difference; the two of answerable ones."""
    rows = []
    for kind, name in CONTEXT_KINDS.items():
        for collection, kinds in result["results"].items():
            if kind in kinds:
                found = kinds[kind]["five_documents"]
                ranked, covered = found["relevance"], found["coverage"]
                more, low, high = covered["above_relevance"]
                rows.append(
                    f"| {NAMES[collection]}, {name} | {ranked['found'][0]:.1f} | {covered['found'][0]:.1f} | "
                    f"{more:+.1f} ({low:+.1f} to {high:+.1f}) | "
                    f"{ranked['found_of_answerable']:.1f} | {covered['found_of_answerable']:.1f} |"
                )
    return rows


COMPRESSION_ROWS = (
    ("squad", "half", "words_kept", "half of five paragraphs: of the paragraph that answers"),
    ("squad", "quarter", "words_kept", "a quarter of five paragraphs: of the paragraph that answers"),
    ("scifact", "half", "sentence_kept", "half of an abstract: of the sentences nearest to the claim by words"),
)


def compression_rows(result):
    """Per cent kept at the same number of tokens: compressed, cut at the end, best sentences by BM25, and with neighbours."""
    rows = []
    for part, room, measure, name in COMPRESSION_ROWS:
        kept = (result["results"][part][room][way][measure]["mean"] for way in ("ours", "cut", "bm25", "bm25_neighbours"))
        rows.append(f"| {name} | {' | '.join(f'{mean:.1f} ({low:.0f} to {high:.0f})' for mean, low, high in kept)} |")
    return rows


def server_rows(report):
    """Requests a second, their latency, and requests a second of processor beside what a Reranker alone reaches."""
    rows = []
    for n_workers, found in report["workers"].items():
        for row in found["rows"]:
            latency = f"{row['p50_ms']:.3g} / {row['p99_ms']:.3g} ms"
            alone = f"{row['requests_per_cpu_second']:.0f} of {row['reranker']['per_cpu_second']:.0f}: {row['of_reranker']:.2f}"
            rows.append(f"| {n_workers} | {row['clients']} | {row['requests_per_second']:.0f} | {latency} | {alone} |")
    return rows


def server_memory(report):
    """What the processes had for themselves: soon after 64 clients came, when they left, and after others had come and gone."""
    n_workers, stayed, came = max((int(n), *found["soaks"]) for n, found in report["workers"].items() if "soaks" in found)
    answered = stayed["requests"] + came["requests"]
    asked = answered + stayed["failed"] + came["failed"]  # wrk's failures of connections aren't among its requests
    n_200 = answered - stayed["not_200"] - came["not_200"]
    begin, middle, end = (soak["memory"][i]["memory_mb"] for soak, i in ((stayed, 0), (stayed, -1), (came, -1)))
    minutes = stayed["memory"][-1]["minutes"]
    return (
        f"64 clients asked for {minutes:.0f} minutes, then others every {came['stay_s']} seconds for as long again: "
        f"{n_200:,} of {asked:,} requests were answered with 200, and what {n_workers} processes hold for themselves "
        f"went from {begin:,.0f} to {middle:,.0f}, then to {end:,.0f} MB."
    )


def replica_rows(report):
    """Requests of each round behind haproxy, those that failed, and their latency while servers came and went."""
    return [
        f"| {way} | {row['requests']:,} | {row['failed']} | {row['p50_ms']:.0f} / {row['p99_ms']:.0f} ms |"
        for way, rounds in report["rounds"].items()
        for row in rounds
    ]


def network_rows(report):
    """RedisStore, PostgresStore, and their ratio: fetches, what is missing, puts, a count, a drop."""
    asked = {f"fetch {k}": times for k, times in report["get_ms"].items()} | {
        "find 100 without fetching": report["missing_ms"]["100"]
    }
    rows = [
        f"| {what} | {_spread(times['redis'])} | {_spread(times['postgres'])} | {times['ratio']['p50']:.1f} |"
        for what, times in asked.items()
    ]
    redis, postgres = (report["put_documents_per_s"][name] for name in ("redis", "postgres"))
    rows.append(f"| put | {redis:,.0f} a second | {postgres:,.0f} a second | {redis / postgres:.1f} |")
    for what, said in (("count", "count"), ("drop", "forget a model of")):
        redis, postgres = (report[what][name] for name in ("redis", "postgres"))
        ratio = postgres["ms"] / redis["ms"]
        rows.append(f"| {said} {redis['n_documents']:,} | {redis['ms']:.0f} ms | {postgres['ms']:.0f} ms | {ratio:.1f} |")
    return rows


def _spread(times):
    return f"{times['p50']:.1f} / {times['p99']:.1f} ms"


def bar_rows(report):
    """Per cent at each bar of relevance: answers kept and near misses left out, without and with calibration; other topics."""
    overall = report["results"]["overall"]
    rows = []
    for bar in BARS:
        shares = [overall[way][what][bar] for way in ("clipped_mean", "calibrated") for what in ("kept", "abstained")]
        shares.append(overall["off_topic_abstained"][bar])
        rows.append(f"| {bar.lstrip('0')} | {' | '.join(f'{100 * share:.0f} %' for share in shares)} |")
    return rows


def start_rows(report):
    """What a start takes with each engine, and what it takes in others: seconds, processor seconds, MB."""
    figures = report["figures"]
    named = {
        f"{name}, {backend}": (said, backend) for name, said in STARTS.items() for backend in ("onnx", "openvino", "torch")
    }
    named |= {name: (said, "-") for name, said in START_PEERS.items()}
    return [f"| {said} | {backend} | {_start(figures[name])} |" for name, (said, backend) in named.items() if name in figures]


def _start(figure):
    memory = figure.get("pss_mb_after_answer", figure.get("peak_mb"))
    cpu = figure.get("cpu_s_after_answer", figure["cpu_s"])
    return f"{figure['seconds']:.2f} s | {cpu:.2f} s | {memory:,.0f} MB"


def size_rows(report):
    """MB of installed packages."""
    return [f"| `{name}` | {sizes['mb']:,} MB |" for name, sizes in report["site_packages"].items()]


def main():
    result, codecs = (json.loads(path.read_text(encoding="utf-8")) for path in (RESULT, CODECS))
    stores, scale = (json.loads(path.read_text(encoding="utf-8")) for path in (STORES, STORE_SCALE))
    print(*encoding_rows(result), "", *bulk_rows(json.loads(ENCODING.read_text(encoding="utf-8"))), "", sep="\n")
    print(*kernel_rows(result), "", rerank_row(result), "", *codec_rows(codecs), "", sep="\n")
    print(*store_rows(stores), "", *cold_store_rows(stores), "", put_row(stores), "", sep="\n")
    context = json.loads(CONTEXT.read_text(encoding="utf-8"))
    compression = json.loads(COMPRESSION.read_text(encoding="utf-8"))
    print(*context_rows(context), "", *compression_rows(compression), "", sep="\n")
    print(*scale_rows(scale), "", *ten_million_rows(scale), "", sep="\n")
    server = json.loads(SERVER.read_text(encoding="utf-8"))
    print(*server_rows(server), "", server_memory(server), "", sep="\n")
    print(*network_rows(json.loads(NETWORK.read_text(encoding="utf-8"))), "", sep="\n")
    print(*replica_rows(json.loads(REPLICAS.read_text(encoding="utf-8"))), "", sep="\n")
    start = json.loads(START.read_text(encoding="utf-8"))
    print(*start_rows(start), "", *size_rows(start), "", sep="\n")
    print(*bar_rows(json.loads(CALIBRATION.read_text(encoding="utf-8"))), sep="\n")


if __name__ == "__main__":
    main()
