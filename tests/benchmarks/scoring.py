"""What a scoring with windows gains in ranking, and what it costs in the kernel. Prints JSON; takes some minutes.

    python tests/benchmarks/scoring.py FOLDER_WITH_THE_COLLECTIONS --store FOLDER

The folder holds scifact, nfcorpus, cranfield and trec-dl19-rerank, the last with stored first stages in candidates/. Each
built-in model reranks BM25's best 100 documents under both scorings. "adds" is nDCG@10 of "proximity" less that of "maxsim".
"kernel" times one query of 32 tokens against 100 documents of int8 on one thread, both scorings in turns. "ratio" is the time
of "proximity" over that of "maxsim".
"""

import argparse
import json
import statistics
from pathlib import Path

from judged_folders import K, judged

from late_rerank import Reranker
from late_rerank.codecs import codec
from late_rerank.evaluate.bench.provenance import commit, platform_name
from late_rerank.evaluate.bench.turns import medians, timed
from late_rerank.evaluate.bench.workload import random_workload
from late_rerank.evaluate.evaluation import evaluate_judged
from late_rerank.evaluate.significance import difference
from late_rerank.maxsim import SCORINGS, kernel, scored
from late_rerank.ranking.wanted import Wanted

MODELS = ("minilm", "minilm-late")
COLLECTIONS = ("scifact", "nfcorpus", "trec-dl19-rerank", "cranfield")
DIMS, N_TURNS = (128, 384), 200
MEASURE = "nDCG@10"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--store", type=Path, required=True)
    options = parser.parse_args()
    report = {
        "machine": platform_name(),
        "commit": commit(),
        "command": "python tests/benchmarks/scoring.py FOLDER --store STORE",
        "window_tokens": {name: list(scoring.window_tokens) for name, scoring in SCORINGS.items()},
        "kernel": [times(dim) for dim in DIMS],
        "models": {},
    }
    asked = {name: judged(options.folder / name) for name in COLLECTIONS}
    for model in MODELS:
        found = {name: compared(model, options.store, asked[name]) for name in COLLECTIONS}
        means = {each: round(statistics.fmean(row[each] for row in found.values()), 4) for each in SCORINGS}
        report["models"][model] = {"collections": found, "mean": means}
    print(json.dumps(report, indent=1))


def compared(model, store, asked):
    by_scoring = {}
    for name in SCORINGS:
        with Reranker(model, store=store, scoring=name) as reranker:
            by_scoring[name] = evaluate_judged(reranker, asked, Wanted())
    figures = {name: found.by_query["reranked"][MEASURE] for name, found in by_scoring.items()}
    first = by_scoring["maxsim"].measures["first_stage"][MEASURE]
    return {
        "n_queries": len(asked.qrels),
        "first_stage": first,
        **{name: found.measures["reranked"][MEASURE] for name, found in by_scoring.items()},
        "adds": difference(figures["maxsim"], figures["proximity"]).to_dict(),
    }


def times(dim):
    work, packing, ours = random_workload(K, dim), codec("int8"), kernel("native")
    packed = packing.encode(work.documents)
    calls = {
        name: timed(lambda scoring=scoring: scored(ours, packing, scoring, work.query, packed))
        for name, scoring in SCORINGS.items()
    }
    found = medians(calls, n_turns=N_TURNS)
    return {
        "k": K,
        "dim": dim,
        "codec": "int8",
        "level": ours.level,
        **{f"{name}_ms": round(1000 * seconds, 4) for name, seconds in found.items()},
        "ratio": round(found["proximity"] / found["maxsim"], 3),
    }


if __name__ == "__main__":
    main()
