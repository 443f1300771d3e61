"""The tables of ranking quality in README.md beside this file, from what quality.py and training.py wrote. Prints Markdown.

python tests/benchmarks/quality_tables.py [quality.json]
"""

import json
import sys
from pathlib import Path

QUALITY = Path(__file__).parent / "quality.json"
TRAINING = Path(__file__).parent / "training.json"
SCORING = Path(__file__).parent / "scoring.json"

COLLECTIONS = {
    "scifact": "SciFact",
    "nfcorpus": "NFCorpus",
    "cranfield": "Cranfield",
    "trec-dl19-rerank": "TREC DL 2019",
}
STAGES = {"bm25": "BM25", "dense": "dense", "hybrid": "hybrid", "BM25": "its stored BM25", "REP_LLAMA": "its stored RepLLaMA"}
# Which job holds the reranking of BM25's candidates.
_BM25 = {"scifact": "bm25", "nfcorpus": "bm25", "cranfield": "bm25", "trec-dl19-rerank": "BM25"}
MEASURE = "nDCG@10"


def stage_rows(results):
    """First stages, each alone, reordered by single vectors where that was measured, and by late interaction, with its range.

    The best is bold.
    """
    rows = []
    for collection, title in COLLECTIONS.items():
        for stage, name in STAGES.items():
            report = _of_stage(results, collection, stage)
            if report is None:
                continue
            before, after = (_short(report["measures"][run][MEASURE]) for run in ("first_stage", "reranked"))
            change = report["differences"][MEASURE]
            single = _single(results, collection) if stage == _BM25[collection] else "-"
            latency = f"{report['latency_ms']['p50']:.1f} / {report['latency_ms']['p99']:.1f} ms"
            figures = [before, single, after]
            best = max(figure for figure in figures if figure != "-")
            shown = [f"**{figure}**" if figure == best else figure for figure in figures]
            rows.append(f"| {title}, {name} | {' | '.join(shown)} | {_spread(change)} | {latency} |")
    return rows


def small_rows(results):
    """Codecs and poolings over BM25's candidates: bytes a token, then nDCG@10 on each collection."""
    rows = {}
    for collection in COLLECTIONS:
        for row in results[f"{collection}/small"]["compared"]:
            name = row["codec"] + (f", pooling {row['pooling']}" if row["pooling"] > 1 else "")
            cells = rows.setdefault(name, [name, f"{row['bytes_per_token']:g}"])
            significant = row["difference"] is not None and row["difference"]["p"] < 0.05
            cells.append(_short(row["measures"][MEASURE]) + ("*" if significant else ""))
    return [f"| {' | '.join(cells)} |" for cells in rows.values()]


def depth_rows(results):
    """How many of BM25's candidates are reranked: nDCG@10 on each collection that it was measured on."""
    rows = {}
    for collection in COLLECTIONS:
        for row in results.get(f"{collection}/depth", {"compared": []})["compared"]:
            rows.setdefault(row["k"], [str(row["k"])]).append(_short(row["measures"][MEASURE]))
    return [f"| {' | '.join(cells)} |" for cells in rows.values()]


def scoring_rows(report):
    """Both scorings over BM25's candidates, by each built-in model, and what windows add, with its range."""
    rows = []
    for model, found in report["models"].items():
        for collection, row in found["collections"].items():
            both = f"{_short(row['maxsim'])} | {_short(row['proximity'])}"
            rows.append(f"| {COLLECTIONS[collection]}, `{model}` | {both} | {_spread(row['adds'])} |")
    for model, found in report["models"].items():
        both = f"{_short(found['mean']['maxsim'])} | {_short(found['mean']['proximity'])}"
        rows.append(f"| mean of the four, `{model}` | {both} | |")
    return rows


def scoring_time_rows(report):
    """What windows cost in the kernel."""
    return [
        f"| {row['dim']} | {row['maxsim_ms']:.2f} ms | {row['proximity_ms']:.2f} ms | {row['ratio']:.2f} |"
        for row in report["kernel"]
    ]


def backend_rows(results):
    """What runs the model: nDCG@10 over BM25's candidates, each with vectors of its own."""
    rows = {}
    for collection in COLLECTIONS:
        jobs = [results.get(f"{collection}/{job}") for job in (_BM25[collection], "torch", "onnx")]
        if None in jobs:
            continue
        for report in jobs:
            rows.setdefault(report["backend"], [report["backend"]]).append(_short(report["measures"]["reranked"][MEASURE]))
    return [f"| {' | '.join(cells)} |" for cells in rows.values()]


def training_rows(report):
    """What adapting adds on the test queries: the mean of the seeds trained with judgements, and one without."""
    trained, unlabelled = report["trainings"]["train split, seed 0"], report["trainings"]["without labels"]
    minutes = [each["minutes"] for name, each in report["trainings"].items() if name.startswith("train split")]
    figure, spread = _short(report["mean_of_seeds"][MEASURE]), _spread(report["mean_of_seeds"]["difference"])
    with_judgements = (
        f"adapted to the {trained['n_queries_trained_on']} queries of its train split, mean of {len(minutes)} seeds"
    )
    return [
        f"| BM25 | {_short(report['first_stage'])} | | |",
        f"| `minilm` | {_short(report['minilm'])} | | |",
        f"| {with_judgements} | **{figure}** | {spread} | {max(minutes):.0f} minutes each |",
        f"| adapted to {unlabelled['n_queries_trained_on']} sentences of its documents, no judgements | "
        f"{_short(unlabelled[MEASURE])} | {_spread(unlabelled['difference'])} | {unlabelled['minutes']:.0f} minutes |",
    ]


def _of_stage(results, collection, stage):
    """The report of late interaction over that stage."""
    return results.get(f"{collection}/{stage}")


def _single(results, collection):
    return _short(results[f"{collection}/bi-encoder"]["measures"]["reranked"][MEASURE])


def _short(value):
    return f"{value:.3f}".replace("0.", ".", 1)


def _spread(change):
    return f"{_signed(change['mean'])} ({_signed(change['low'])} to {_signed(change['high'])})"


def _signed(value):
    return f"{value:+.3f}".replace("0.", ".", 1)


def main():
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else QUALITY
    results = json.loads(path.read_text(encoding="utf-8"))["results"]
    print("| | first stage | bi-encoder | late interaction | adds | time, p50 / p99 |", "|---|---|---|---|---|---|", sep="\n")
    print(*stage_rows(results), "", sep="\n")
    print(f"| codec | bytes a token | {' | '.join(COLLECTIONS.values())} |", "|---|---|---|---|---|---|", sep="\n")
    print(*small_rows(results), "", sep="\n")
    print(f"| candidates | {' | '.join(list(COLLECTIONS.values())[:3])} |", "|---|---|---|---|", sep="\n")
    print(*depth_rows(results), "", sep="\n")
    print("| backend | SciFact | NFCorpus |", "|---|---|---|", *backend_rows(results), "", sep="\n")
    if not TRAINING.exists():
        return
    print("| SciFact test, nDCG@10 | | adds | |", "|---|---|---|---|", sep="\n")
    print(*training_rows(json.loads(TRAINING.read_text(encoding="utf-8"))), sep="\n")


if __name__ == "__main__":
    main()
