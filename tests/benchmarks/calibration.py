"""How well "minilm" can be calibrated, on queries that it wasn't fitted to. Prints JSON; takes minutes.

    python tests/benchmarks/calibration.py FOLDER_WITH_THE_COLLECTIONS [--store DIR] [--plot FILE.svg]
        [--query-encoder fast] [--scoring maxsim]

The folder holds squad, medquad and scifact with train and test judgements. Every test query makes two lists of ten BM25
candidates: with its relevant documents, and without them. "transfer" is a calibration fitted to the train queries of the two
other collections: what to expect of a corpus that nobody calibrated for. "off_topic_abstained" has the candidates of another
query instead, of the same collection. A second run with the same store takes seconds.
"""

import argparse
import json
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.svg import axis_names, frame, page

from late_rerank import Reranker
from late_rerank.corpus import read_corpus, read_qrels, read_queries
from late_rerank.evaluate.bench.provenance import commit, platform_name
from late_rerank.evaluate.calibration import fit_calibration, label_queries, score_queries
from late_rerank.evaluate.calibration_measures import measure_calibration
from late_rerank.retrieve import BM25Retriever

COLLECTIONS = ("squad", "medquad", "scifact")
N_QUERIES = {"train": 96, "test": 80}
K = 10


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--store")
    parser.add_argument("--query-encoder", default="full")
    parser.add_argument("--scoring")
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args()
    with Reranker(store=options.store, query_encoder=options.query_encoder, scoring=options.scoring) as reranker:
        scored = {name: collection(reranker, options.folder / name) for name in COLLECTIONS}
        fit = partial(
            fit_calibration,
            fingerprint=reranker.encoder.fingerprint,
            scoring=reranker.scoring.name,
            query_fingerprint=reranker.encoder.query_fingerprint,
        )
    train = {name: splits["train"] for name, splits in scored.items()}
    fitted = fit([query for name in COLLECTIONS for query in train[name]])
    test = {name: splits["test"] for name, splits in scored.items()}
    test["overall"] = [query for name in COLLECTIONS for query in test[name]]
    off_topic = {name: splits["off_topic"] for name, splits in scored.items()}
    off_topic["overall"] = [query for name in COLLECTIONS for query in off_topic[name]]
    results = {}
    for name, queries in test.items():
        results[name] = {
            "clipped_mean": vars(measure_calibration(queries, None)),
            "calibrated": vars(measure_calibration(queries, fitted)),
            "off_topic_abstained": measure_calibration(off_topic[name], fitted).abstained,
        }
        if name in COLLECTIONS:
            others = fit([query for other in COLLECTIONS if other != name for query in train[other]])
            results[name]["transfer"] = vars(measure_calibration(queries, others))
    report = {
        "machine": platform_name(),
        "commit": commit(),
        "command": "python tests/benchmarks/calibration.py FOLDER",
        "model": "minilm",
        "query_encoder": options.query_encoder,
        "k": K,
        "n_train_queries": {name: len(queries) for name, queries in train.items()},
        "fitted": vars(fitted),
        "results": results,
    }
    print(json.dumps(report, indent=1))
    if options.plot:
        options.plot.write_text(plot(report), encoding="utf-8")


def collection(reranker, folder):
    """Split -> scored queries."""
    documents = read_corpus(folder).documents
    retriever, queries = BM25Retriever(documents, engine="bm25s"), read_queries(folder)
    labelled = {
        split: label_queries(retriever, documents, queries, read_qrels(folder, split), n_queries=n_queries, k=K)
        for split, n_queries in N_QUERIES.items()
    }
    # The candidates of another question: what a first stage gives where nothing in the corpus is even near.
    test = labelled["test"]
    labelled["off_topic"] = [replace(query, others=test[i - 1].others) for i, query in enumerate(test)]
    return {split: score_queries(reranker, found, progress=True) for split, found in labelled.items()}


# Told apart by shape as well as by colour; the colours are of the palette by Okabe and Ito.
KINDS = {"clipped_mean": ("clipped mean", "#D55E00"), "calibrated": ("calibrated", "#0072B2")}
SIDE, LEFT, TOP = 320, 60, 30


def plot(report) -> str:
    """The reliability plot as SVG: what was said, across, and how often it came true, upwards. Area = number of lists."""
    bins = {kind: report["results"]["overall"][kind]["bins"] for kind in KINDS}
    parts = [_frame(), *(_points(kind, bins[kind]) for kind in KINDS)]
    for i, kind in enumerate(KINDS):
        label, colour = KINDS[kind]
        error = report["results"]["overall"][kind]["calibration_error"]
        y = TOP + 24 + 22 * i
        parts.append(_mark(kind, LEFT + 20, y - 4, 6))
        parts.append(f'<text x="{LEFT + 34}" y="{y}" fill="{colour}">{label}: error {error:.3f}</text>')
    title = "Relevance said by the reranker against the share of documents that are relevant"
    return page(title, LEFT + SIDE + 20, TOP + SIDE + 55, parts)


def _frame() -> str:
    lines = [frame(LEFT, TOP, SIDE, SIDE)]
    lines.append(f'<path d="M{LEFT} {TOP + SIDE}L{LEFT + SIDE} {TOP}" stroke="#888" stroke-dasharray="4 4"/>')
    for i in range(0, 11, 2):
        x, y = LEFT + SIDE * i / 10, TOP + SIDE * (1 - i / 10)
        lines.append(f'<text x="{x:.0f}" y="{TOP + SIDE + 18}" text-anchor="middle">{i / 10:.1f}</text>')
        lines.append(f'<text x="{LEFT - 8}" y="{y + 4:.0f}" text-anchor="end">{i / 10:.1f}</text>')
    lines += axis_names(LEFT, TOP, SIDE, SIDE, "relevance of the best document", "share that is relevant")
    return "\n".join(lines)


def _points(kind, bins) -> str:
    largest = max(n for _, _, n in bins)
    places = [(LEFT + SIDE * said, TOP + SIDE * (1 - seen), 3 + 7 * (n / largest) ** 0.5) for said, seen, n in bins]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y, _ in places)
    marks = "\n".join(_mark(kind, *place) for place in places)
    return f'<polyline points="{line}" fill="none" stroke="{KINDS[kind][1]}"/>\n{marks}'


def _mark(kind, x, y, size) -> str:
    colour = KINDS[kind][1]
    if kind == "calibrated":
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{size:.1f}" fill="{colour}"/>'
    return f'<rect x="{x - size:.1f}" y="{y - size:.1f}" width="{2 * size:.1f}" height="{2 * size:.1f}" fill="{colour}"/>'


if __name__ == "__main__":
    main()
