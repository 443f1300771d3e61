"""A rerank of stored documents, stage by stage, on one core. Prints JSON.

    OMP_NUM_THREADS=1 python tests/benchmarks/cached_rerank.py [--k 100] [--repeat 50]

The passages are the docstrings of Python's standard library, the model the built-in one.
"""

import argparse
import json
import platform
import statistics
import subprocess
from pathlib import Path

import torch

from late_rerank import Reranker
from late_rerank.corpus.standard_library import read_standard_library

QUERY = "how do I run a function in another thread and get its result later"
STAGES = ("encode_query", "fetch", "encode_missing", "maxsim", "total")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--k", type=int, default=100)
    options.add_argument("--repeat", type=int, default=50)
    arguments = options.parse_args()
    torch.set_num_threads(1)
    candidates = read_standard_library()[:: max(1, 4000 // arguments.k)][: arguments.k]
    with Reranker() as reranker:
        report = reranker.index(candidates)
        runs = [reranker.rerank(QUERY, candidates).timings_ms for _ in range(arguments.repeat + 3)][3:]
    medians = {stage: round(statistics.median(run[stage] for run in runs), 3) for stage in STAGES}
    other = [run["total"] - run["encode_query"] - run["maxsim"] for run in runs]
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False, cwd=Path(__file__).parent
    )
    result = {
        "machine": f"{platform.machine()}, {platform.system()}, Python {platform.python_version()}, one thread",
        "commit": commit.stdout.strip(),
        "k": arguments.k,
        "n_tokens": report.n_tokens,
        "encode_ahead_s": round(report.seconds, 2),
        "median_ms": medians,
        "other_ms": {"median": round(statistics.median(other), 3), "max": round(max(other), 3)},
    }
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
