"""What documents that aren't near take of the reader: milliseconds, processor time, GETs. Prints JSON; takes a minute and 1 GB.

    python tests/benchmarks/capacity_remote.py > tests/benchmarks/capacity_remote.json

The service is simulated as in remote.py: a process of its own that answers 25 ms (log-normal) after each request. 20,000
documents of 180 tokens are there, more keys than a reader keeps. 100 of them, by chance, are read again and again without a
near copy. "cpu_ms_of_get" is the reader's processor time over its GETs, without TLS, which a real service adds.
"""

import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.remote import DELAY_MS, N_FETCHED, N_TOKENS, SPEC, Server, fill, key

from late_rerank.evaluate.bench.provenance import commit, platform_name
from late_rerank.stores.remote import RemoteStore
from late_rerank.stores.remote.publishing import publish

N_DOCUMENTS = 20_000
ROUNDS = 60
# Until connections are open.
FIRST = 3
URL = "s3://bucket/capacity"


def read(server):
    """Read by chance, and give what a query takes."""
    random = np.random.default_rng(1)
    wall, cpu = [], []
    with RemoteStore(URL) as store:
        space = store.space("a", SPEC)
        for i in range(ROUNDS + FIRST):
            if i == FIRST:
                server.counts()
            keys = [key(int(number)) for number in random.choice(N_DOCUMENTS, N_FETCHED, replace=False)]
            began, began_cpu = time.perf_counter(), time.process_time()
            fetched = space.get(keys)
            wall.append((time.perf_counter() - began) * 1000)
            cpu.append((time.process_time() - began_cpu) * 1000)
            if len(fetched.missing):
                raise SystemExit(f"{len(fetched.missing)} of {N_FETCHED} documents are missing")
        gets = server.counts()["GET"] / ROUNDS
    wall, cpu = sorted(wall[FIRST:]), statistics.mean(cpu[FIRST:])
    return {"p50_ms": statistics.median(wall), "max_ms": wall[-1], "cpu_ms": cpu, "gets": gets, "cpu_ms_of_get": cpu / gets}


def main():
    server = Server()
    try:
        with tempfile.TemporaryDirectory() as name:
            fill(Path(name) / "store", N_DOCUMENTS, N_TOKENS)
            publish(Path(name) / "store", URL)
        server.delay(DELAY_MS)
        found = read(server)
    finally:
        server.stop()
    result = {
        "machine": platform_name(),
        "commit": commit(),
        "command": "python tests/benchmarks/capacity_remote.py",
        "k": N_FETCHED,
        "n_documents": N_DOCUMENTS,
        "n_tokens": N_TOKENS,
        "simulated_delay_ms": DELAY_MS,
        **{name: float(f"{value:.4g}") for name, value in found.items()},
    }
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
