"""Ranking quality: four collections in BEIR format. Writes JSON as it goes; takes an hour or more.

    python tests/benchmarks/quality.py FOLDER_WITH_THE_COLLECTIONS [--out quality.json] [--work FOLDER]

The folder holds scifact, nfcorpus, cranfield and trec-dl19-rerank, the last with stored first stages in candidates/. Started
again with the same --out it goes on where it was. --work keeps token vectors, first stages and single vectors between runs.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from late_rerank.corpus import read_corpus, read_qrels, read_queries
from late_rerank.evaluate import evaluate, read_run, retrieve_run
from late_rerank.evaluate.bench.provenance import commit, platform_name
from late_rerank.evaluate.evaluation import means, measure
from late_rerank.evaluate.single_vector import SingleVectorReranker
from late_rerank.retrieve import BM25Retriever, DenseRetriever, HybridRetriever

COLLECTIONS = ("scifact", "nfcorpus", "cranfield")
STAGES = ("bm25", "dense", "hybrid")
POOL = "trec-dl19-rerank"
POOL_STAGES = ("BM25", "REP_LLAMA")  # REP_LLAMA: the best dense one of those that are stored
K = 100

# Under plain MaxSim, the measure that other packings are published with.
SMALL = ["--compare", "codec=int8,int4,binary", "pooling=1,2,3", "--scoring", "maxsim"]
APART = ["--keep-identical-ids"]  # Cranfield numbers queries and documents apart
DEPTH = ["--compare", f"k=20,50,{K}"]
# The one that `auto` takes runs all else. No store: these vectors must be the backend's own.
BACKENDS = ("torch", "onnx")
BACKEND_COLLECTIONS = ("scifact", "nfcorpus")


class Collection:
    """A folder in BEIR format, its first stages as files, and the bi-encoder's vectors, each made once.

    Args:
        folder: The collection.
        work: Where they are kept.
    """

    def __init__(self, folder, work):
        self.folder, self.work = folder, work / folder.name
        self.work.mkdir(parents=True, exist_ok=True)

    def read(self):
        queries, qrels = read_queries(self.folder), read_qrels(self.folder, "test")
        self.documents = read_corpus(self.folder).documents
        self.queries, self.qrels = {name: queries[name] for name in qrels}, qrels

    def stage_file(self, stage):
        if self.folder.name == POOL:
            return self.folder / "candidates" / f"{stage}.tsv"
        return self.work / f"{stage}.tsv"

    def first_stages(self):
        """Measures of each first stage alone, and milliseconds a query; its candidates are written."""
        self.read()
        found = {}
        for stage in STAGES:
            retriever = self._retriever(stage)
            started = time.perf_counter()
            run = retrieve_run(retriever, self.queries, K, ignore_identical_ids=False)
            seconds = time.perf_counter() - started
            ids = {name: [candidate.id for candidate in candidates] for name, candidates in run.items()}
            found[stage] = {
                "measures": means(measure(ids, self.qrels)),
                "ms_per_query": round(1000 * seconds / len(self.queries), 2),
            }
            rows = ((name, c.id, rank, c.score) for name in run for rank, c in enumerate(run[name], start=1))
            self.stage_file(stage).write_text("".join("\t".join(map(str, row)) + "\n" for row in rows), encoding="utf-8")
        return found

    def bi_encoder(self, stage):
        """Measures of the stage's candidates ordered by single vectors."""
        self.read()
        reranker = SingleVectorReranker()
        if self._vectors().exists():
            vectors = np.load(self._vectors() / "vectors.npy")
            reranker.keep([document.text for document in self.documents], vectors)
        documents = {document.id: document for document in self.documents}
        run = read_run(self.stage_file(stage), documents, K, ignore_identical_ids=False)
        result = evaluate(reranker, run, self.queries, self.qrels, ignore_identical_ids=False)
        return {
            "measures": result.measures,
            "latency_ms": result.latency_ms,
            "bytes_per_document": reranker.bytes_per_document,
        }

    def _vectors(self):
        return self.work / "vectors"

    def _retriever(self, stage):
        if stage == "bm25":
            return BM25Retriever(self.documents, engine="bm25s")
        if not self._vectors().exists():
            DenseRetriever(self.documents).save(self._vectors())
        dense = DenseRetriever.load(self._vectors())
        return dense if stage == "dense" else HybridRetriever([self._retriever("bm25"), dense])


def late_rerank_eval(folder, stage_file, *options):
    """What the command line reports."""
    command = [sys.executable, "-m", "late_rerank", "eval", folder, "--first-stage", stage_file, *options, *APART, "--json"]
    return json.loads(subprocess.run(list(map(str, command)), stdout=subprocess.PIPE, check=True).stdout)


def jobs(root, work):
    """Name -> what makes its report, in order: what a job writes, later ones read."""
    store = ["--store", work / "store"]
    found = {}

    def reranked(name, collection, stage, *options):
        found[name] = lambda: late_rerank_eval(collection.folder, collection.stage_file(stage), *options)

    for name in COLLECTIONS:
        collection = Collection(root / name, work)
        found[f"{name}/first stages"] = collection.first_stages
        found[f"{name}/bi-encoder"] = lambda collection=collection: collection.bi_encoder("bm25")
        reranked(f"{name}/small", collection, "bm25", *SMALL, *store)
        for stage in STAGES:
            reranked(f"{name}/{stage}", collection, stage, *store)
        reranked(f"{name}/depth", collection, "bm25", *DEPTH, *store)
    pool, first = Collection(root / POOL, work), POOL_STAGES[0]
    found[f"{POOL}/bi-encoder"] = lambda: pool.bi_encoder(first)
    reranked(f"{POOL}/small", pool, first, *SMALL, *store)
    for stage in POOL_STAGES:
        reranked(f"{POOL}/{stage}", pool, stage, *store)
    for name in BACKEND_COLLECTIONS:
        for backend in BACKENDS:
            reranked(f"{name}/{backend}", Collection(root / name, work), "bm25", "--backend", backend)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="of the collections")
    parser.add_argument(
        "--out", type=Path, default=Path("quality.json"), help="written after each part (default: quality.json)"
    )
    parser.add_argument(
        "--work", type=Path, help="keeps token vectors and first stages (default: a folder beside --out, quality-work)"
    )
    options = parser.parse_args()
    results = json.loads(options.out.read_text(encoding="utf-8"))["results"] if options.out.exists() else {}
    for name, make in jobs(options.folder, options.work or options.out.absolute().parent / "quality-work").items():
        if name in results:
            continue
        print(name, file=sys.stderr, flush=True)
        results[name] = {**make(), "machine": platform_name(), "commit": commit()}
        write(options.out, {"results": results})


def write(path, report):
    """All of it or nothing: a run may be interrupted."""
    part = path.with_name(f"{path.name}.part")
    part.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    part.replace(path)


if __name__ == "__main__":
    main()
