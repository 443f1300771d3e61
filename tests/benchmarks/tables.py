"""The README's tables of time, from the committed JSON of `late-rerank bench --json`. Prints Markdown.

python tests/benchmarks/tables.py
"""

import json
from pathlib import Path

RESULT = Path(__file__).parent / "bench.json"
DIMS = (128, 384)
K = 100
PEERS = ("numpy", "torch", "sentence-transformers", "maxsim-cpu", "numkong")


def rerank_row(result):
    times = result["end_to_end"]
    cached = [f"{times[name]:.1f} ms" for name in ("encode_query_ms", "maxsim_ms", "other_ms", "cached_ms")]
    others = [f"{times[name] / 1000:.1f} s" for name in ("uncached_ms", "cross_encoder_ms")]
    return f"| {' | '.join(cached + others)} |"


def kernel_rows(result):
    return [_kernel_row(row) for row in result["kernel"] if row["k"] == K and row["dim"] in DIMS]


def _kernel_row(row):
    peak = f"{row['peak_percent']:.0f} %" if "peak_percent" in row else "-"
    ratios = (f"{row['ratio'][name]:.1f}" if name in row["ratio"] else "-" for name in PEERS)
    return f"| {row['codec']} | {row['dim']} | {row['median_ms']:.2f} ms | {peak} | {' | '.join(ratios)} |"


def main():
    result = json.loads(RESULT.read_text(encoding="utf-8"))
    print(*kernel_rows(result), "", rerank_row(result), sep="\n")


if __name__ == "__main__":
    main()
