"""What bulk encoding takes in time and memory, and a query on a busy machine, under each backend. Prints JSON; takes minutes.

    python tests/benchmarks/encoding.py [--n 1000]

Documents are docstrings of about 180 tokens. Each way encodes them on one thread in a process of its own, twice in turns;
"peak_mb" is that process's largest resident size, model and libraries included. "sentence-transformers" is its own
encode_document, in torch and float32. "query" has a query of 32 tokens on an idle machine, and with a process that spins on
each processor; "torch on all threads" is what torch does unless it is told otherwise.
"""

import argparse
import json
import multiprocessing
import os
import resource
import statistics
import subprocess
import sys
import time
from contextlib import nullcontext

WAYS = ("openvino", "onnx", "torch", "sentence-transformers")
QUERY_WAYS = ("openvino", "onnx", "torch", "torch on all threads")
TURNS = 2
QUERIES = 300


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--n", type=int, default=1000)
    parser.add_argument("--child", choices=["documents", "query"])
    parser.add_argument("--way")
    options = parser.parse_args()
    if options.child:
        print(json.dumps(documents(options.way, options.n) if options.child == "documents" else query(options.way)))
        return
    from late_rerank.evaluate.bench.provenance import commit, platform_name

    bulk = {way: [] for way in WAYS}
    for _ in range(TURNS):
        for way, runs in bulk.items():
            runs.append(in_a_process("documents", way, options.n, one_thread=True))
    medians = {way: {name: statistics.median(run[name] for run in runs) for name in runs[0]} for way, runs in bulk.items()}
    slowest = medians["sentence-transformers"]["seconds"]
    report = {
        "machine": platform_name(),
        "commit": commit(),
        "command": "python tests/benchmarks/encoding.py",
        "n_documents": options.n,
        "documents": {
            way: {**run, "of_sentence_transformers": round(run["seconds"] / slowest, 3)} for way, run in medians.items()
        },
        "query": {way: in_a_process("query", way, options.n, one_thread=False) for way in QUERY_WAYS},
    }
    print(json.dumps(report, indent=1))


def in_a_process(child, way, n, *, one_thread):
    command = [sys.executable, __file__, "--child", child, "--way", way, "--n", str(n)]
    environment = {**os.environ, **({"OMP_NUM_THREADS": "1"} if one_thread else {})}
    found = subprocess.run(command, stdout=subprocess.PIPE, check=True, env=environment)
    return json.loads(found.stdout.splitlines()[-1])


def documents(way, n):
    from late_rerank.encode import TextEncoder
    from late_rerank.encode.loading import load_minilm
    from late_rerank.evaluate.bench.end_to_end import passages

    texts = [candidate.text for candidate in passages(n)]
    if way == "sentence-transformers":
        model = load_minilm("cpu")
        encode = lambda: sum(len(vectors) for vectors in model.encode_document(texts, show_progress_bar=False))  # noqa: E731
    else:
        encoder = TextEncoder(backend=way)
        encode = lambda: len(encoder.encode_document(texts).values)  # noqa: E731
    started = time.process_time()
    n_tokens = encode()
    seconds = time.process_time() - started
    return {
        "seconds": round(seconds, 2),
        "n_tokens": n_tokens,
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }


def query(way):
    import late_rerank.encode.text as text
    from late_rerank.evaluate.bench.encoding import QUERY

    if way == "torch on all threads":
        text.one_thread, way = nullcontext, "torch"
    encoder = text.TextEncoder(backend=way)
    idle = times(encoder, QUERY)
    spinning = [multiprocessing.Process(target=spin, daemon=True) for _ in range(os.cpu_count() or 1)]
    for process in spinning:
        process.start()
    time.sleep(1)
    busy = times(encoder, QUERY)
    for process in spinning:
        process.kill()
    median, p99 = statistics.median(idle), statistics.quantiles(busy, n=100)[98]
    return {"idle_median_ms": round(median, 2), "busy_p99_ms": round(p99, 2), "busy_p99_of_idle_median": round(p99 / median, 1)}


def times(encoder, text):
    found = []
    for i in range(QUERIES + 20):
        started = time.perf_counter()
        encoder.encode_query([text])
        if i >= 20:
            found.append((time.perf_counter() - started) * 1000)
    return found


def spin():
    while True:
        pass


if __name__ == "__main__":
    main()
