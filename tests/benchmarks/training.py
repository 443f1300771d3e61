"""What `late-rerank train` adds on a collection's test queries: with its train split, three seeds, and without labels.

    python tests/benchmarks/training.py BEIR_FOLDER [--out training.json] [--work FOLDER]

Three quarters of an hour on two cores for SciFact. --work keeps models and token vectors; a model that is there is not trained
again. Written anew after each training.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from late_rerank import Reranker
from late_rerank.corpus import read_collection
from late_rerank.evaluate import difference, evaluate, retrieve_run
from late_rerank.evaluate.bench.provenance import commit, platform_name
from late_rerank.retrieve import BM25Retriever

SEEDS = (0, 1, 2)
MEASURE = "nDCG@10"
# Name -> what the command is given.
TRAININGS = {f"train split, seed {seed}": ["--seed", seed] for seed in SEEDS}
TRAININGS["without labels"] = ["--unlabelled", "--n-queries", 1000, "--epochs", 1]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="with train and test judgements")
    parser.add_argument("--out", type=Path, default=Path("training.json"), help="default: training.json")
    parser.add_argument("--work", type=Path, help="keeps models and token vectors (default: a temporary folder)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        for report in reports(options.folder, options.work or Path(temporary)):
            options.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


def reports(folder, work):
    """What is known after each training."""
    collection = read_collection(folder, "test")
    queries = {name: collection.queries[name] for name in collection.qrels}
    run = retrieve_run(BM25Retriever(collection.documents, engine="bm25s"), queries, 100)

    def by_query(model):
        with Reranker(model, store=str(work / "store")) as reranker:
            result = evaluate(reranker, run, queries, collection.qrels)
        return result.by_query["reranked"][MEASURE], result.by_query["first_stage"][MEASURE]

    before, first_stage = by_query("minilm")
    after, results = {}, {}
    for name, options in TRAININGS.items():
        out = work / name.replace(" ", "-").replace(",", "")
        if not (out / "training.json").exists():
            command = ["train", folder, "--eval-split", "test", "--engine", "bm25s", "--store", work / "store", *options]
            subprocess.run([sys.executable, "-m", "late_rerank", *map(str, command), "--out", str(out)], check=True)
        told = json.loads((out / "training.json").read_text(encoding="utf-8"))
        after[name], _ = by_query(str(out))
        results[name] = {
            "data": told["data"],
            "measured_on": told["held_out"]["data"],
            "n_queries_trained_on": told["n_queries"],
            "minutes": round(told["seconds"]["training"] / 60, 1),
            MEASURE: round(statistics.mean(after[name].values()), 4),
            "difference": difference(before, after[name]).to_dict(),
        }
        labelled = [found for name, found in after.items() if name.startswith("train split")]
        mean = {query: statistics.mean(found[query] for found in labelled) for query in before}
        yield {
            "machine": platform_name(),
            "commit": commit(),
            "dataset": folder.resolve().name,
            "n_queries": len(before),
            "first_stage": round(statistics.mean(first_stage.values()), 4),
            "minilm": round(statistics.mean(before.values()), 4),
            "trainings": results,
            "mean_of_seeds": {
                "n_seeds": len(labelled),
                MEASURE: round(statistics.mean(mean.values()), 4),
                "difference": difference(before, mean).to_dict(),
            },
        }


if __name__ == "__main__":
    main()
