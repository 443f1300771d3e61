"""Bars, tables and the chart of query encoders, from what query_encoder.py wrote. Prints Markdown.

python tests/benchmarks/query_encoder_tables.py [query_encoder.json]
"""

import json
import math
import sys
from html import escape
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.svg import axis_names, frame, page

RESULT = Path(__file__).parent / "query_encoder.json"
CHART = Path(__file__).parent / "query_encoder.svg"
MEASURE = "nDCG@10"
NAMES = {
    "scifact": "SciFact",
    "nfcorpus": "NFCorpus",
    "trec-dl19-rerank": "TREC DL 2019",
    "cranfield": "Cranfield",
    "squad": "SQuAD",
    "medquad": "MedQuAD",
}
# The bars of quality are of all of these.
COLLECTIONS = {"scifact", "nfcorpus", "trec-dl19-rerank", "cranfield"}

ENCODE_TOKENS = "32"
RERANK_TOKENS = "16"  # as many as the question of `late-rerank bench` has
# What is asked of a query encoder: part -> what, and its bound. A bound of time is the most, all others the least.
BARS = {
    "encode": {f"time of a query of {ENCODE_TOKENS} tokens, of the full one's": 0.40},
    "rerank": {f"time of a cached rerank for {RERANK_TOKENS} tokens, of the full one's": round(3.5 / 5.9, 3)},
    "serve": {"requests a second, of the full one's": 1.6},
    "quality": {f"mean difference in {MEASURE}": -0.008, f"worst difference in {MEASURE}": -0.015},
}


def bars(part, report):
    """Each bar of a part, for each query encoder but the full one: what was measured, and whether it holds."""
    found = []
    for label, figures in _measured(part, report):
        for (what, bound), (where, figure) in zip(BARS[part].items(), figures, strict=True):
            holds = figure <= bound if what.startswith("time") else figure >= bound
            found.append(
                {"query_encoder": label, "what": what, "where": where, "bound": bound, "figure": figure, "holds": holds}
            )
    return found


def _measured(part, report):
    """Label of a query encoder, and (where, figure) for each bar, once for each engine."""
    if part in ("encode", "rerank"):
        tokens = ENCODE_TOKENS if part == "encode" else RERANK_TOKENS
        for engine, told in report["engines"].items():
            for label, found in _but_full(told["n_tokens"][tokens]):
                yield label, [(engine, found["of_full"]["median_ms"])]
    elif part == "serve":
        for engine, told in report["engines"].items():
            for label, found in _but_full(told["query_encoders"]):
                yield label, [(engine, found["of_full"]["requests_per_second"])]
    elif part == "quality" and set(report["collections"]) == COLLECTIONS:
        for label, found in _but_full(report["mean"]):
            worst = found["worst"]
            yield label, [("all", found["difference"]["mean"]), (worst["collection"], worst["difference"])]


def _but_full(by_label):
    return [(label, found) for label, found in by_label.items() if label != "full"]


def encode_rows(report):
    """Engine, tokens, query encoder: what a query takes, and the share of the full one's clock and processor time."""
    return _time_rows(report, lambda found: f"{found['median_ms']:.2f} / {found['p99_ms']:.2f} ms")


def rerank_rows(report):
    """The same of a cached rerank, with the part of encoding the query."""
    return _time_rows(report, lambda found: f"{found['median_ms']:.2f} ms, of which the query {found['encode_query_ms']:.2f}")


def _time_rows(report, shown):
    rows = []
    for engine, told in report["engines"].items():
        for n_tokens, by_label in told["n_tokens"].items():
            full = by_label["full"]
            rows += [
                f"| {engine} | {n_tokens} | {_code(label)} | {shown(full)} | {shown(found)} | "
                f"{found['of_full']['median_ms']:.2f} | {found['of_full']['cpu_ms']:.2f} |"
                for label, found in _but_full(by_label)
            ]
    return rows


def serve_rows(report):
    """Engine, query encoder: requests a second, their latency, and requests a second of processor."""
    return [
        f"| {engine} | {_code(label)} | {found['requests_per_second']:.0f} | "
        f"{found['p50_ms']:.0f} / {found['p99_ms']:.0f} ms | {found['requests_per_cpu_second']:.0f} | {_times(found)} |"
        for engine, told in report["engines"].items()
        for label, found in told["query_encoders"].items()
    ]


def _times(found):
    return f"{found['of_full']['requests_per_second']:.2f}" if "of_full" in found else "1"


def quality_rows(report):
    """Collection, query encoder: nDCG@10 of the full one and of this one, the difference with its range, its p; means last."""
    rows = []
    for name, told in report["collections"].items():
        full = told["query_encoders"]["full"][MEASURE]
        for label, found in _but_full(told["query_encoders"]):
            change = found["difference"]
            rows.append(_quality_row(NAMES.get(name, name), label, full, found[MEASURE], change, _short(change["p"])))
    full = report["mean"]["full"][MEASURE]
    for label, found in _but_full(report["mean"]):
        rows.append(_quality_row("mean", label, full, found[MEASURE], found["difference"], ""))
    return rows


def _quality_row(name, label, full, figure, change, p):
    spread = f"{_signed(change['mean'])} ({_signed(change['low'])} to {_signed(change['high'])})"
    return f"| {name} | {_code(label)} | {_short(full)} | {_short(figure)} | {spread} | {p} |"


def relevance_rows(report):
    """Collection, query encoder: mean relevance of each query's best document, by the full one and by this one."""
    rows = []
    for name, told in report["collections"].items():
        by_label = {label: found["relevance"] for label, found in told["query_encoders"].items()}
        for label, found in _but_full(by_label):
            both = [f"{_short(by_label['full'][kind]['best'])} | {_short(found[kind]['best'])}" for kind in found]
            rows.append(f"| {NAMES.get(name, name)}, {_code(label)} | {' | '.join(both)} |")
    return rows


def _code(label):
    return f"`{label}`"


def _short(value):
    return f"{value:.3f}".replace("0.", ".", 1)


def _signed(value):
    return f"{value:+.3f}".replace("0.", ".", 1)


WIDTH, HEIGHT, LEFT, TOP = 420, 300, 70, 40
# Told apart by shape and by label as well; the colours are of the palette by Okabe and Ito.
COLOURS = {"full": "#0072B2", "fast": "#D55E00"}
OTHER = "#009E73"


def points(report, part="quality"):
    """Label -> milliseconds of a query of 32 tokens on the fastest engine, and mean nDCG@10, of what has both."""
    engines = [told["n_tokens"][ENCODE_TOKENS] for told in report["encode"]["engines"].values()]
    times = min(engines, key=lambda by_label: by_label["full"]["median_ms"])
    means = report[part]["mean"]
    return {label: (found["median_ms"], means[label][MEASURE]) for label, found in times.items() if label in means}


def chart(report):
    """Quality against time as SVG: a query of 32 tokens, across, and mean nDCG@10 on the test queries, upwards.

    Dashed lines are the bars: the most time, and the least quality.
    """
    places = points(report)
    time, quality = places["full"]
    most = time * next(iter(BARS["encode"].values()))
    least = quality + next(iter(BARS["quality"].values()))
    across = _Axis(0, 1.15 * max(x for x, _ in places.values()), LEFT, LEFT + WIDTH)
    low, high = min(least, *(y for _, y in places.values())), max(y for _, y in places.values())
    room = 0.15 * (high - low)
    up = _Axis(low - room, high + room, TOP + HEIGHT, TOP)
    parts = [_frame(across, up), _bars(across, up, most, least)]
    parts += [_point(label, across.at(x), up.at(y)) for label, (x, y) in places.items()]
    return page("Ranking quality of query encoders against the time of a query", LEFT + WIDTH + 20, TOP + HEIGHT + 55, parts)


class _Axis:
    """Values to pixels."""

    def __init__(self, low, high, start, end):
        self.low, self.high, self.start, self.end = low, high, start, end

    def at(self, value):
        return self.start + (self.end - self.start) * (value - self.low) / (self.high - self.low)

    def ticks(self):
        """Round values, three to six of them."""
        rough = (self.high - self.low) / 5
        power = 10 ** math.floor(math.log10(rough))
        step = next(power * each for each in (1, 2, 5, 10) if power * each >= rough)
        first = math.ceil(self.low / step)
        return [step * i for i in range(first, math.floor(self.high / step) + 1)]


def _frame(across, up):
    lines = [frame(LEFT, TOP, WIDTH, HEIGHT)]
    lines += [
        f'<text x="{across.at(value):.0f}" y="{TOP + HEIGHT + 18}" text-anchor="middle">{value:.3g}</text>'
        for value in across.ticks()
    ]
    lines += [
        f'<text x="{LEFT - 8}" y="{up.at(value) + 4:.0f}" text-anchor="end">{_short(value)}</text>' for value in up.ticks()
    ]
    names = "encoding a query of 32 tokens, ms", f"mean {MEASURE}, four collections"
    return "\n".join(lines + axis_names(LEFT, TOP, WIDTH, HEIGHT, *names))


def _bars(across, up, most, least):
    x, y = across.at(most), up.at(least)
    lines = [f"M{x:.1f} {TOP}V{TOP + HEIGHT}", f"M{LEFT} {y:.1f}H{LEFT + WIDTH}"]
    return "\n".join(f'<path d="{line}" stroke="#888" stroke-dasharray="4 4"/>' for line in lines)


def _point(label, x, y):
    colour = COLOURS.get(label, OTHER)
    side = "end" if x > LEFT + 0.7 * WIDTH else "start"
    text = f'<text x="{x + (-10 if side == "end" else 10):.1f}" y="{y - 8:.1f}" text-anchor="{side}" fill="{colour}">'
    return f"{_mark(label, x, y, colour)}\n{text}{escape(label)}</text>"


def _mark(label, x, y, colour):
    if label in COLOURS:
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="6" fill="{colour}"/>'
    return f'<rect x="{x - 5:.1f}" y="{y - 5:.1f}" width="10" height="10" fill="{colour}"/>'


_TIMES = "| engine | tokens | | full{} | this one | of its time | of its processor time |"
_QUALITY = "| | | full | this one | difference, with 95 % range | p |"
_RELEVANCE = "| | full, clipped mean | this one | full, calibrated | this one, by the full one's calibration |"
# Table -> the part that it is of, its header, and what makes its rows.
TABLES = {
    "encode": ("encode", _TIMES.format(", p50 / p99"), encode_rows),
    "rerank": ("rerank", _TIMES.format(""), rerank_rows),
    "serve": (
        "serve",
        "| engine | | requests a second | p50 / p99 | requests a processor second | times as many requests a second |",
        serve_rows,
    ),
    "quality": ("quality", _QUALITY, quality_rows),
    "relevance": ("quality", _RELEVANCE, relevance_rows),
    "development": ("development", _QUALITY, quality_rows),
}


def main():
    report = json.loads((Path(sys.argv[1]) if len(sys.argv) > 1 else RESULT).read_text(encoding="utf-8"))
    for part, header, rows in TABLES.values():
        if part in report:
            print(header, "|---" * (header.count("|") - 1) + "|", *rows(report[part]), "", sep="\n")


if __name__ == "__main__":
    main()
