"""What many workers bring: documents a second beside plain indexing, and the memory of a worker. Prints JSON. Linux.

    python tests/benchmarks/bulk.py [--documents 3000] [--runs 3] [--out FILE] [--engines local,dask] [--python NAME=PYTHON]

"throughput" is the built-in model over docstrings of Python's standard library, some of them repeated with a number. Each
figure is the median of so many runs, plain indexing and engines in turns. A run is a command in a process of its own, from its
start to its end: models are loaded in it, by every worker. Plain indexing and every worker have one thread. "load" is the
machine's load before each run: other work shares the processors.

"cpu_s" is what all processes of a run took of the processors. It hardly depends on the load: on two idle processors a run of
two workers takes little more than half of it.

"memory" is one worker with FakeEncoder over tiny documents, in splits as `index` makes them, or in one. "anonymous_mb" is its
largest anonymous memory, seen every 10 ms: mapped files don't count, since the system takes them back.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

# No library here, as in start.py: it would count in the processes' memory.
WORKERS = 2
SIZES = ((20_000, False), (200_000, False), (200_000, True))

CORPUS = """
import json, sys
from late_rerank.corpus.standard_library import read_standard_library
texts = [document.text for document in read_standard_library()]
for i in range(int(sys.argv[1])):
    round = i // len(texts)
    print(json.dumps({"_id": str(i), "text": texts[i % len(texts)] + (f" (copy {round})" if round else "")}))
"""
WORKER = """
import json, sys
from late_rerank.bulk.job import Job, encoder_of
from late_rerank.bulk.planning import plan
from late_rerank.bulk.worker import Worker
from late_rerank.codecs import codec
from late_rerank.stores.record import space_json
from late_rerank.stores.remote.committing import prove
from late_rerank.stores.remote.objects import Objects
corpus, store, model, in_one = sys.argv[1:]
encoder = encoder_of(model)
job = Job(store=store, model=model, space=space_json(encoder.fingerprint, codec("int8").spec(encoder.dim)))
if store.startswith("file"):
    prove(Objects.at(store))
worker = Worker(job.to_json(), "benchmark")
splits = plan(corpus, images=False, split_bytes=2**40 if in_one == "True" else None).splits
print(json.dumps(sum(worker.task(split.to_json())["n_encoded"] for split in splits)))
"""
MODEL = "late_rerank.testing.fakes:FakeEncoder"


def throughput(scratch: Path, n_documents: int, n_runs: int, engines: list[str], pythons: dict[str, str]) -> dict:
    """Documents a second of plain indexing and of each engine."""
    corpus = scratch / "corpus.jsonl"
    made = subprocess.run([sys.executable, "-c", CORPUS, str(n_documents)], capture_output=True, text=True, check=True)
    corpus.write_text(made.stdout)
    runs: dict[str, list[dict]] = {}
    for turn in range(n_runs):
        for engine in ("plain", *engines):
            for kind in (
                ("folder",) if engine == "plain" else ("folder", "object storage") if engine == "local" else ("object storage",)
            ):
                name = engine if engine == "plain" else f"{engine}, {kind}"
                store = scratch / f"{turn}-{name}".replace(", ", "-").replace(" ", "-")
                options = [] if engine == "plain" else ["--engine", engine, "--workers", str(WORKERS)]
                place = str(store) if kind == "folder" else f"file://{store}"
                run = _run(pythons.get(engine, sys.executable), corpus, place, options)
                runs.setdefault(name, []).append(run)
    return {"n_documents": n_documents, "workers": WORKERS, "runs": n_runs, **_summary(runs)}


def _summary(runs: dict[str, list[dict]]) -> dict:
    plain = statistics.median(run["seconds"] for run in runs["plain"])
    return {
        name: {
            "seconds": round(statistics.median(run["seconds"] for run in some), 2),
            "documents_per_s": round(some[0]["n_documents"] / statistics.median(run["seconds"] for run in some), 1),
            "times_plain": round(plain / statistics.median(run["seconds"] for run in some), 2),
            "cpu_s": round(statistics.median(run["cpu_s"] for run in some), 2),
            "each": [round(run["seconds"], 2) for run in some],
            "load": [run["load"] for run in some],
        }
        for name, some in runs.items()
    }


def _run(python: str, corpus: Path, store: str, options: list[str]) -> dict:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    load = round(os.getloadavg()[0], 2)
    before, began = sum(os.times()[2:4]), time.perf_counter()
    command = [python, "-W", "ignore", "-m", "late_rerank", "index", str(corpus), "--store", store, "--json", *options]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    seconds, cpu_s = time.perf_counter() - began, sum(os.times()[2:4]) - before
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed: {done.stderr[-2000:]}")
    found = json.loads(done.stdout)
    return {"seconds": seconds, "cpu_s": cpu_s, "n_documents": found["n_documents"], "load": load}


def memory(scratch: Path) -> dict:
    """The largest memory of one worker, by the number of documents of its split."""
    found = {}
    for n_documents, in_one in SIZES:
        corpus = scratch / f"tiny-{n_documents}.jsonl"
        corpus.write_text("".join(json.dumps({"text": f"d{i}"}) + "\n" for i in range(n_documents)))
        for kind in ("folder", "object storage"):
            store = scratch / f"tiny-{n_documents}-{in_one}-{kind[:6]}"
            process = subprocess.Popen(
                [
                    sys.executable,
                    "-c",
                    WORKER,
                    corpus,
                    str(store) if kind == "folder" else f"file://{store}",
                    MODEL,
                    str(in_one),
                ],
                stdout=subprocess.PIPE,
            )
            peak = _Peak(process.pid)
            began = time.perf_counter()
            out, _ = process.communicate()
            if process.returncode or json.loads(out) != n_documents:
                sys.exit(f"a worker failed: {process.returncode}, {out!r}")
            found[f"{n_documents:,} documents{' in one split' if in_one else ''}, {kind}"] = {
                "anonymous_mb": round(peak.kb / 1024, 1),
                "seconds": round(time.perf_counter() - began, 1),
            }
    return found


class _Peak(threading.Thread):
    """Watches a process' anonymous memory until it ends."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._status = Path(f"/proc/{pid}/status")
        self.kb = 0
        self.start()

    def run(self) -> None:
        try:
            while True:
                rows = self._status.read_text().splitlines()
                self.kb = max(self.kb, *(int(row.split()[1]) for row in rows if row.startswith("RssAnon")))
                time.sleep(0.01)
        except (OSError, TypeError):  # it has ended
            pass


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--documents", type=int, default=3000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--engines", default="local")
    parser.add_argument("--python", action="append", default=[], metavar="NAME=PYTHON")
    parser.add_argument("--out")
    parser.add_argument("--only", choices=["throughput", "memory"])
    args = parser.parse_args()
    result = {"command": " ".join(["python", "tests/benchmarks/bulk.py", *sys.argv[1:]])}
    with tempfile.TemporaryDirectory() as scratch:
        if args.only != "memory":
            pythons = dict(each.split("=", 1) for each in args.python)
            result["throughput"] = throughput(Path(scratch), args.documents, args.runs, args.engines.split(","), pythons)
        if args.only != "throughput":
            result["memory"] = memory(Path(scratch))
    from late_rerank.evaluate.bench.provenance import commit, platform_name

    text = json.dumps({"machine": platform_name(), "processors": os.cpu_count(), "commit": commit(), **result}, indent=1)
    print(text)
    if args.out:
        Path(args.out).write_text(text + "\n")


if __name__ == "__main__":
    main()
