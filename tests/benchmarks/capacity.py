"""What a million to a billion documents take: bytes, objects, money, machines, near copies. Writes JSON in two minutes.

    python tests/benchmarks/capacity.py [--out tests/benchmarks/capacity.json]

It measures nothing. Its laws are what other benchmarks measured, read from their JSON, and the sizes that the format fixes.
ASSUMED is what no measurement can tell: change it for your case, and run this again; `make docs` writes the tables of
late_rerank/stores/SCALE.md. Every result says whether it is "exact", "measured", "simulated" or "extrapolated", encoding
the last.
"""

import argparse
import json
import math
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
from benchmarks.capacity_simulation import Load, Popularity, hit_rates, least_machines

from late_rerank.codecs import codec
from late_rerank.evaluate.bench.provenance import commit
from late_rerank.stores.disk.internals import USUAL
from late_rerank.stores.keys_blocks import BLOCK_BYTES, ROWS_A_BLOCK
from late_rerank.stores.record import HEADER_BYTES, layout

HERE = Path(__file__).parent

# What no measurement here can tell. Prices are list prices without taxes and rebates, of one large provider.
ASSUMED = {
    "date": "2026-11",
    "n_tokens": 180,
    "k": 100,
    "requests_per_s": 1000,
    "machine": {"cores": 16, "memory_gb": 128, "nvme_gb": 3750, "usd_an_hour": 1.37},
    "usd": {"gb_month": 0.023, "thousand_gets": 0.0004, "thousand_puts": 0.005, "core_hour": 0.045},
    "hours_a_month": 730,
    # Of one GET, from a machine in the bucket's region: its median, and the spread of its logarithm.
    "get_ms": 25,
    "get_sigma": 0.35,
    # What one request of a hundred may take while one machine is lost.
    "p99_ms": 250,
    # Candidates by their popularity: rank r is asked for by 1 / r ** exponent.
    "popularity": 0.8,
    # What a near copy may take of a machine's disk.
    "near_share_of_nvme": 0.9,
    "gets_per_s_a_prefix": 5500,
}

SIZES = (10**6, 10**7, 10**8, 10**9)
PACKINGS = (
    ("int8", 384, 1),
    ("int8", 128, 1),
    ("int4", 128, 1),
    ("binary", 384, 2),
    ("binary", 128, 1),
    ("binary", 128, 2),
)
HIT_RATES = (0.0, 0.5, 0.9, 0.99, 0.999, 1.0)
SHARES = (0.01, 0.05, 0.1, 0.2, 0.5)
EXPONENTS = (0.6, 0.8, 1.0)
# Of the simulated near copy. Below an exponent of 1 its hit rate hardly depends on the number of documents.
N_SIMULATED = 200_000
N_SEGMENTS = 16
N_ASKED = 500_000


def laws():
    """Everything the tables are computed from: value, unit, how it is known, and from where."""
    server, encoding, growth = (_read(name) for name in ("server", "encoding", "index_growth"))
    remote, networked = _read("capacity_remote"), _read("networked_stores")["get_ms"]["100"]
    one_worker = next(row for row in server["workers"]["1"]["rows"] if row["clients"] == 8)
    bulk = encoding["n_documents"] / encoding["documents"]["openvino"]["seconds"]
    index = growth["growth"]["index_bytes_per_document"]
    return {
        "cpu_ms": _law(1000 / one_worker["requests_per_cpu_second"], "ms of a core, a request", "server.json"),
        "cpu_ms_of_get": _law(remote["cpu_ms_of_get"], "ms of a core, a GET", "capacity_remote.json"),
        "documents_per_core_s": _law(bulk, "documents a second of a core", "encoding.json"),
        "index_bytes": _law(index, "bytes of SQLite a document", "index_growth.json"),
        "redis_ms": _law(networked["redis"]["p50"], "ms, 100 documents from Redis, over loopback", "networked_stores.json"),
        "postgres_ms": _law(networked["postgres"]["p50"], "ms, the same from Postgres", "networked_stores.json"),
        "keys_bytes": _law(BLOCK_BYTES / ROWS_A_BLOCK, "bytes of a keys file a document", "FORMAT.md", "exact"),
        "fence_bytes": _law(8 / ROWS_A_BLOCK, "bytes in memory a document", "FORMAT.md", "exact"),
        "segment_bytes": _law(USUAL.segment_bytes, "bytes of a full segment", "FORMAT.md", "exact"),
        # A block of keys, then the document. Documents of one query hardly ever share a block among millions.
        "gets": _law(2, "GETs a document that isn't near", "FORMAT.md", "exact"),
    }


def _law(value, unit, source, known="measured"):
    return {"value": value, "unit": unit, "known": known, "source": source}


def record_bytes(name, dim, pooling):
    """What the format makes of a document of the assumed tokens."""
    n_tokens = math.ceil(ASSUMED["n_tokens"] / pooling)
    return int(layout(codec(name).spec(dim).columns, np.array([n_tokens]), HEADER_BYTES)[1][0])


def sizes(known):
    """Bytes, objects and money by packing and number of documents."""
    rows = []
    for name, dim, pooling in PACKINGS:
        size = record_bytes(name, dim, pooling)
        for n in SIZES:
            gb = n * size / 1e9
            rows.append(
                {
                    "packing": packing(name, dim, pooling),
                    "n_documents": n,
                    "record_bytes": size,
                    "gb": gb,
                    "gbit_per_s": size * ASSUMED["k"] * ASSUMED["requests_per_s"] * 8 / 1e9,
                    "segments": math.ceil(n * size / known["segment_bytes"]["value"]),
                    "usd_a_month": (gb + n * known["keys_bytes"]["value"] / 1e9) * ASSUMED["usd"]["gb_month"],
                    "known": "exact",
                }
            )
    return rows


def packing(name, dim, pooling):
    return f"{name}, {dim}" + (f", pooling {pooling}" if pooling > 1 else "")


def indexes(known):
    """What grows with the number of documents, whatever their vectors."""
    rows = []
    for n in SIZES:
        hours = n / known["documents_per_core_s"]["value"] / 3600
        rows.append(
            {
                "n_documents": n,
                "index_gb": n * known["index_bytes"]["value"] / 1e9,
                "keys_gb": n * known["keys_bytes"]["value"] / 1e9,
                "fence_mb": n * known["fence_bytes"]["value"] / 1e6,
                "core_hours": hours,
                "days_on_100_cores": hours / 100 / 24,
                "usd_to_encode": hours * ASSUMED["usd"]["core_hour"],
                "known": {"index_gb": "measured" if n <= SIZES[0] else "extrapolated", "keys_gb": "exact", "fence_mb": "exact"},
            }
        )
    return rows


def load(known):
    return Load(
        rate=ASSUMED["requests_per_s"],
        k=ASSUMED["k"],
        cpu_ms=known["cpu_ms"]["value"],
        cpu_ms_of_get=known["cpu_ms_of_get"]["value"],
        gets=known["gets"]["value"],
        get_ms=ASSUMED["get_ms"],
        sigma=ASSUMED["get_sigma"],
    )


def machines(known):
    """Machines, GETs and money for the assumed rate, by the near copies' hit rate."""
    return [served_at(load(known), hit_rate) for hit_rate in HIT_RATES]


def served_at(asked, hit_rate):
    n_machines, (p50, p99) = least_machines(asked, hit_rate, cores=ASSUMED["machine"]["cores"], p99_ms=ASSUMED["p99_ms"])
    gets = asked.rate * asked.k * (1 - hit_rate) * asked.gets
    seconds = ASSUMED["hours_a_month"] * 3600
    return {
        "hit_rate": hit_rate,
        "busy_cores": asked.busy_cores(hit_rate),
        "machines": n_machines,
        "p50_ms": p50,
        "p99_ms": p99,
        "gets_per_s": gets,
        "prefixes": math.ceil(gets / ASSUMED["gets_per_s_a_prefix"]),
        "usd_gets": gets * seconds / 1000 * ASSUMED["usd"]["thousand_gets"],
        "usd_machines": n_machines * ASSUMED["machine"]["usd_an_hour"] * ASSUMED["hours_a_month"],
        "known": "simulated",
    }


def near_copies():
    """Hit rates of a warm near copy, by the share of documents that it holds and by their popularity."""
    rows = []
    for exponent in EXPONENTS:
        popularity = Popularity(N_SIMULATED, exponent)
        for share in SHARES:
            ours, lru = hit_rates(popularity, share, n_segments=N_SEGMENTS, n_asked=N_ASKED)
            rows.append({"exponent": exponent, "share": share, "hit_rate": ours, "lru": lru, "known": "simulated"})
    return rows


def plans(known, near):
    """A month of the assumed rate by packing and size: the near copy takes what a machine's disk has room for.

    "usd_all_near" is a month of machines whose disks hold every document: twice the disk costs twice as much.
    """
    room = ASSUMED["machine"]["nvme_gb"] * ASSUMED["near_share_of_nvme"]
    all_near = served_at(load(known), 1.0)["usd_machines"]
    rows = []
    for row in sizes(known):
        share = min(1.0, room / row["gb"])
        served = served_at(load(known), hit_rate_of(share, near))
        rows.append(
            {
                "packing": row["packing"],
                "n_documents": row["n_documents"],
                "near_share": share,
                **{name: served[name] for name in ("hit_rate", "machines", "usd_gets", "usd_machines")},
                "usd_storage": row["usd_a_month"],
                "usd": served["usd_gets"] + served["usd_machines"] + row["usd_a_month"],
                "usd_all_near": all_near * max(1, math.ceil(row["gb"] / room)) + row["usd_a_month"],
                "known": "extrapolated",
            }
        )
    return rows


def hit_rate_of(share, near):
    """Of a near copy that holds this share, at the assumed popularity; straight lines between what was simulated."""
    if share >= 1:
        return 1.0
    simulated = [(row["share"], row["hit_rate"]) for row in near if row["exponent"] == ASSUMED["popularity"]]
    return float(np.interp(share, *zip((0.0, 0.0), *simulated, (1.0, 1.0), strict=True)))


def _read(name):
    return json.loads((HERE / f"{name}.json").read_text(encoding="utf-8"))


def rounded(value):
    """Five digits: no law is known better."""
    if isinstance(value, dict):
        return {name: rounded(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [rounded(inner) for inner in value]
    return float(f"{value:.5g}") if isinstance(value, float) else value


def computed():
    """All results."""
    known, near = laws(), near_copies()
    return {
        "commit": commit(),
        "command": "python tests/benchmarks/capacity.py",
        "assumed": ASSUMED,
        "laws": known,
        "sizes": sizes(known),
        "indexes": indexes(known),
        "machines": machines(known),
        "near_copies": near,
        "plans": plans(known, near),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=HERE / "capacity.json")
    arguments = parser.parse_args()
    arguments.out.write_text(json.dumps(rounded(computed()), indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
