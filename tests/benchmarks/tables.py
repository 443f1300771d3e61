"""The README's tables of time and of codecs, from the JSON committed beside this file. Prints Markdown.

python tests/benchmarks/tables.py
"""

import json
from pathlib import Path

RESULT = Path(__file__).parent / "bench.json"
CODECS = Path(__file__).parent / "codecs.json"

DIMS = (128, 384)
K = 100
PEERS = ("numpy", "torch", "sentence-transformers", "maxsim-cpu", "numkong")


def rerank_row(result):
    times = result["end_to_end"]
    cached = [f"{times[name]:#.3g} ms" for name in ("encode_query_ms", "maxsim_ms", "other_ms", "cached_ms")]
    others = [f"{times[name] / 1000:.1f} s" for name in ("uncached_ms", "cross_encoder_ms")]
    return f"| {' | '.join(cached + others)} |"


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


def main():
    result, codecs = (json.loads(path.read_text(encoding="utf-8")) for path in (RESULT, CODECS))
    print(*kernel_rows(result), "", rerank_row(result), "", *codec_rows(codecs), sep="\n")


if __name__ == "__main__":
    main()
