"""The README's ranking quality: three collections in BEIR format, through the command line. Prints JSON; takes minutes.

    python tests/benchmarks/quality.py FOLDER_WITH_THE_COLLECTIONS

The folder holds scifact, nfcorpus and trec-dl19-rerank, the last with its stored first stage in candidates/BM25.tsv.
"""

import json
import subprocess
import sys
from pathlib import Path

from late_rerank.evaluate.bench.provenance import commit, platform_name


def main() -> None:
    root = Path(sys.argv[1])
    stored = root / "trec-dl19-rerank" / "candidates" / "BM25.tsv"
    runs = [[root / "scifact"], [root / "nfcorpus"], [root / "trec-dl19-rerank", "--first-stage", stored]]
    results = []
    for arguments in runs:
        command = [sys.executable, "-m", "late_rerank", "eval", *map(str, arguments), "--json"]
        results.append(json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout))
    print(json.dumps({"machine": platform_name(), "commit": commit(), "results": results}, indent=1))


if __name__ == "__main__":
    main()
