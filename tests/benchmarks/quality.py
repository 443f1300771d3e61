"""The README's ranking quality: three collections in BEIR format, through the command line. Prints JSON; takes minutes.

    python tests/benchmarks/quality.py FOLDER_WITH_THE_COLLECTIONS

The folder holds scifact, nfcorpus and trec-dl19-rerank, the last with its stored first stage in candidates/BM25.tsv. "results"
are torch's; "backends" those of the engines that are installed, on the first two.
"""

import json
import subprocess
import sys
from pathlib import Path

from late_rerank.encode.backends.names import installed_engines
from late_rerank.evaluate.bench.provenance import commit, platform_name


def main() -> None:
    root = Path(sys.argv[1])
    stored = root / "trec-dl19-rerank" / "candidates" / "BM25.tsv"
    runs = [[root / "scifact"], [root / "nfcorpus"], [root / "trec-dl19-rerank", "--first-stage", stored]]
    results = [evaluated("torch", run) for run in runs]
    backends = [evaluated(name, run) for name in installed_engines() for run in runs[:2]]
    print(json.dumps({"machine": platform_name(), "commit": commit(), "results": results, "backends": backends}, indent=1))


def evaluated(backend, arguments):
    command = [sys.executable, "-m", "late_rerank", "eval", *map(str, arguments), "--backend", backend, "--json"]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)


if __name__ == "__main__":
    main()
