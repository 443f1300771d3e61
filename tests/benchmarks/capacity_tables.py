"""The tables of late_rerank/stores/SCALE.md, from capacity.json: headers with rows, as Markdown. `make docs` writes them."""

import json
from pathlib import Path

CAPACITY = Path(__file__).parent / "capacity.json"
_NAMES = {10**6: "10^6", 10**7: "10^7", 10**8: "10^8", 10**9: "10^9"}
# The plans of fewer documents are all alike: everything is near.
_PLANNED = (10**7, 10**8, 10**9)


def tables():
    """Name of a part -> header and rows."""
    result = json.loads(CAPACITY.read_text(encoding="utf-8"))
    return {
        "capacity bytes": bytes_table(result["sizes"]),
        "capacity index": index_table(result["indexes"]),
        "capacity machines": machines_table(result["machines"]),
        "capacity near": near_table(result["near_copies"]),
        "capacity plans": plans_table(result["plans"]),
        "capacity laws": laws_table(result["laws"]),
        "capacity assumed": assumed_table(result["assumed"]),
    }


def bytes_table(rows):
    """Bytes by packing and number of documents."""
    sizes = list(dict.fromkeys(row["n_documents"] for row in rows))
    lines = []
    for packing, of_it in _by(rows, "packing").items():
        cells = [_amount(row["gb"]) for row in of_it]
        largest = of_it[-1]
        more = [f"{largest['segments']:,}", _usd(largest["usd_a_month"]), f"{largest['gbit_per_s']:.2g} Gbit/s"]
        lines.append(_row(packing, f"{largest['record_bytes']:,}", *cells, *more))
    names = " | ".join(_NAMES[n] for n in sizes)
    return f"| codec, dims | bytes a document | {names} | segments at 10^9 | a month at 10^9 | 1,000 requests a second |", lines


def index_table(rows):
    """What else grows: index, keys, fences, and the encoding."""
    lines = [
        _row(
            _NAMES[row["n_documents"]],
            _amount(row["index_gb"]),
            _amount(row["keys_gb"]),
            f"{row['fence_mb']:.2g} MB",
            f"{row['core_hours']:,.0f} core hours, {_usd(row['usd_to_encode'])}",
            _days(row["days_on_100_cores"]),
        )
        for row in rows
    ]
    return "| documents | a folder's index | a bucket's keys | fences in memory | encoding | on 100 cores |", lines


def machines_table(rows):
    """Machines and money by hit rate."""
    lines = [
        _row(
            f"{100 * row['hit_rate']:g} %",
            f"{row['busy_cores']:.1f}",
            str(row["machines"]),
            f"{row['p50_ms']:.0f} / {row['p99_ms']:.0f} ms",
            f"{row['gets_per_s']:,.0f}",
            str(row["prefixes"]),
            _usd(row["usd_gets"]),
            _usd(row["usd_machines"]),
        )
        for row in rows
    ]
    return (
        "| near hits | busy cores | machines | p50 / p99 | GETs a second | prefixes | GETs a month | machines a month |",
        lines,
    )


def near_table(rows):
    """Hit rates by the share that is near."""
    by_share = _by(rows, "share")
    lines = []
    for share, of_it in by_share.items():
        cells = [f"{100 * row['hit_rate']:.0f} % ({100 * row['lru']:.0f} %)" for row in of_it]
        lines.append(_row(f"{100 * share:g} %", *cells))
    exponents = " | ".join(f"exponent {row['exponent']:g}" for row in next(iter(by_share.values())))
    return f"| near | {exponents} |", lines


def plans_table(rows):
    """What a month of 1,000 requests a second takes: with one machine's disk, and with disk for all."""
    lines = []
    for packing, of_it in _by(rows, "packing").items():
        cells = [_plan(row) for row in of_it if row["n_documents"] in _PLANNED]
        lines.append(_row(packing, *cells))
    return f"| codec, dims | {' | '.join(_NAMES[n] for n in _PLANNED)} |", lines


def _plan(row):
    if row["near_share"] == 1:
        return f"all near: {_usd(row['usd'])}"
    near, hits = 100 * row["near_share"], 100 * row["hit_rate"]
    return f"{near:.0f} % near, {hits:.0f} % hits: {_usd(row['usd'])}; disks for all: {_usd(row['usd_all_near'])}"


def laws_table(laws):
    """What everything else is computed from."""
    lines = [_row(_number(law["value"]), law["unit"], law["known"], law["source"]) for law in laws.values()]
    return "| | | | from |", lines


def assumed_table(assumed):
    """What no measurement tells."""
    usd, machine = assumed["usd"], assumed["machine"]
    rows = [
        ("a document", f"{assumed['n_tokens']} tokens"),
        ("a request", f"{assumed['k']} documents"),
        (
            "a machine",
            f"{machine['cores']} cores, {machine['memory_gb']} GB, {machine['nvme_gb'] / 1000:g} TB of NVMe, "
            f"${machine['usd_an_hour']} an hour",
        ),
        ("storage", f"${usd['gb_month']} a GB and month"),
        ("a thousand GETs", f"${usd['thousand_gets']}"),
        ("a core for encoding", f"${usd['core_hour']} an hour"),
        ("a GET", f"{assumed['get_ms']} ms, its logarithm spreads by {assumed['get_sigma']}"),
        ("the slowest of a hundred requests, with one machine lost", f"{assumed['p99_ms']} ms"),
        ("the bucket's limit", f"{assumed['gets_per_s_a_prefix']:,} GETs a second and prefix"),
        ("popularity", f"Zipf, exponent {assumed['popularity']}"),
    ]
    return f"| assumed, {assumed['date']} | |", [_row(*row) for row in rows]


def _by(rows, name):
    found = {}
    for row in rows:
        found.setdefault(row[name], []).append(row)
    return found


def _row(*cells):
    return f"| {' | '.join(cells)} |"


def _amount(gb):
    if gb >= 1000:
        return f"{gb / 1000:,.3g} TB"
    return f"{gb:.3g} GB" if gb >= 1 else f"{gb * 1000:.3g} MB"


def _number(value):
    return f"{value:,.0f}" if value >= 10**4 else f"{value:.4g}"


def _usd(value):
    if value < 10:
        return f"${value:.2f}"
    return f"${value:,.0f}" if value < 1000 else f"${round(value, -2):,.0f}"


def _days(days):
    if days >= 1:
        return f"{days:.1f} days"
    return f"{days * 24:.0f} h" if days * 24 >= 2 else f"{days * 24 * 60:.0f} min"
