"""What a store in object storage costs, beside one on the disk. Prints JSON; takes three minutes and 2 GB.

    python tests/benchmarks/remote.py EMPTY_FOLDER

The service is simulated: a server on this machine that answers from memory, and waits 25 ms (log-normal) before each answer.
Documents have 180 tokens, int8, 128 dimensions. Of the million keys 10,000 are of such documents; the others are keys alone.
"""

import hashlib
import http.client
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from object_server import ObjectServer

from late_rerank.codecs import codec
from late_rerank.evaluate.bench.provenance import commit, platform_name
from late_rerank.stores import DiskStore, TieredStore
from late_rerank.stores.keys_blocks import ROW
from late_rerank.stores.keys_runs import merged
from late_rerank.stores.keys_writer import KeysWriter, sort_rows
from late_rerank.stores.record import space_json
from late_rerank.stores.remote import RemoteStore
from late_rerank.stores.remote.committing import commit as commit_runs
from late_rerank.stores.remote.keys import every_row
from late_rerank.stores.remote.manifest import newest
from late_rerank.stores.remote.objects import Objects
from late_rerank.stores.remote.publishing import publish
from late_rerank.stores.remote.runs import Run
from late_rerank.stores.remote.snapshot import Snapshot
from late_rerank.stores.remote.uploading import digest_of, object_name
from late_rerank.testing.vectors import random_packed

SPEC = codec("int8").spec(128)
N_TOKENS = 180
N_DOCUMENTS = 10_000
N_KEYS = 1_000_000
DELAY_MS = 25
N_QUERIES = 30
N_FETCHED = 100
SIZES = 200_000, 400_000, 800_000

PEAK = """
import re, sys, threading, time
from late_rerank.stores.remote.publishing import publish
def anonymous(): return int(re.search(r"RssAnon:\\s+(\\d+)", open("/proc/self/status").read())[1]) / 1024
publish(sys.argv[1], sys.argv[3])  # libraries are loaded, and the pools of memory filled
before, peak, done = anonymous(), [0.0], threading.Event()
def watch():
    while not done.wait(0.01): peak[0] = max(peak[0], anonymous())
thread = threading.Thread(target=watch); thread.start()
publish(sys.argv[2], sys.argv[3])
done.set(); thread.join()
print(before, peak[0])
"""


def key(i):
    return hashlib.blake2b(str(i).encode(), digest_size=16).digest()


def fill(folder, n, n_tokens):
    with DiskStore(folder) as store:
        space = store.space("a", SPEC)
        for start in range(0, n, 5000):
            names = [key(i) for i in range(start, min(start + 5000, n))]
            space.put(names, random_packed([n_tokens] * len(names), SPEC, seed=start))


class Server:
    """The simulated service, in a process of its own."""

    def __init__(self):
        script = str(Path(__file__).parents[1] / "object_server.py")
        self._process = subprocess.Popen([sys.executable, script, "0"], stdout=subprocess.PIPE, text=True)
        self._port = int(self._process.stdout.readline())
        of_clients = ObjectServer()
        of_clients.port = self._port
        os.environ.update(of_clients.environment)

    def _ask(self, path):
        connection = http.client.HTTPConnection("127.0.0.1", self._port)
        connection.request("GET", path)
        answer = connection.getresponse().read()
        connection.close()
        return answer

    def delay(self, milliseconds):
        self._ask(f"/_delay/{milliseconds}")

    def counts(self):
        """Requests and bytes since the last time."""
        return json.loads(self._ask("/_counts"))

    def stop(self):
        self._process.kill()
        self._process.wait()


def add_keys(objects):
    """Put a million keys into the place of the store's run, 10,000 of which are of its documents."""
    manifest = newest(objects)
    (known,) = Snapshot(objects, manifest).keys_of(space_json("a", SPEC))
    rows = np.zeros(N_KEYS - N_DOCUMENTS, dtype=ROW)
    rows["key"] = np.frombuffer(b"".join(key(-i - 1) for i in range(len(rows))), dtype="V16")
    rows["segment"], rows["n_tokens"], rows["offset"] = 1, N_TOKENS, 4096
    path = Path("million.keys").absolute()
    with path.open("wb") as file:
        writer = KeysWriter(file, space_json("a", SPEC))
        for part in merged([every_row(objects, known), iter([sort_rows(rows)])]):
            writer.add(part)
        header = writer.finish()
    name = object_name("keys", digest_of(path), "keys")
    objects.put(name, path)
    path.unlink()
    run = manifest.runs[0]
    million = Objects.at(f"{objects.url}-million")
    for segment in run.segments.values():
        million.put(segment, objects.get(segment))
    million.put(name, objects.get(name))
    commit_runs(million, [Run(run.space, header.n_keys, name, run.segments, run.size_bytes, header.size_bytes)])
    return million.url


def quantiles(times):
    times = sorted(times)
    return {
        "p50_ms": round(statistics.median(times), 1),
        "p90_ms": round(times[len(times) * 9 // 10], 1),
        "max_ms": round(times[-1], 1),
    }


def timed(work):
    start = time.perf_counter()
    result = work()
    return (time.perf_counter() - start) * 1e3, result


def cold(server, url):
    """Open a store, then fetch 100 documents that nobody fetched before, N_QUERIES times."""
    server.counts()
    opened_ms, store = timed(lambda: RemoteStore(url))
    with store:
        space = store.space("a", SPEC)
        first_ms, _ = timed(lambda: space.missing([bytes(16)]))
        opening = server.counts()
        random, times = np.random.default_rng(1), []
        for _ in range(N_QUERIES):
            keys = [key(int(i)) for i in random.choice(N_DOCUMENTS, N_FETCHED, replace=False)]
            took, fetched = timed(lambda keys=keys: space.get(keys))
            assert not len(fetched.missing), fetched.missing
            times.append(took)
        fetching = server.counts()
    return {
        "open_ms": round(opened_ms, 1),
        "first_lookup_ms": round(first_ms, 1),
        "opening_bytes": opening["bytes"],
        "opening_requests": opening["GET"],
        **quantiles(times),
        "requests_a_query": round(fetching["GET"] / N_QUERIES, 1),
        "bytes_a_query": round(fetching["bytes"] / N_QUERIES),
    }


def warm(folder, url):
    """Fetch 100 documents that the near store has, through the tier and from a DiskStore, in turn."""
    keys = [[key(int(i)) for i in np.random.default_rng(n).choice(N_DOCUMENTS, N_FETCHED, replace=False)] for n in range(20)]
    with TieredStore(DiskStore(folder / "near"), RemoteStore(url)) as tiered:
        for some in keys:
            assert not len(tiered.space("a", SPEC).get(some).missing)
    with TieredStore(DiskStore(folder / "near"), RemoteStore(url), behind=True) as tiered, DiskStore(folder / "store") as disk:
        spaces = tiered.space("a", SPEC), disk.space("a", SPEC)
        times = ([], [])
        for _ in range(50):
            for some in keys:
                for space, found in zip(spaces, times, strict=True):
                    found.append(timed(lambda space=space, some=some: space.get(some))[0])
    tier, plain = (statistics.median(found) for found in times)
    return {"tier_p50_ms": round(tier, 3), "disk_p50_ms": round(plain, 3), "ratio": round(tier / plain, 3)}


def uploading(folder):
    """The peak of a process's own memory while it sends a published folder of few documents of one token, and of more."""
    for n in (*SIZES, 10):
        fill(folder / f"tiny-{n}", n, 1)
        with DiskStore(folder / f"tiny-{n}") as store:
            store.publish(folder / f"published-{n}")
    peaks = {}
    for n in SIZES:
        folders = str(folder / "published-10"), str(folder / f"published-{n}")
        arguments = [sys.executable, "-c", PEAK, *folders, f"s3://bucket/tiny-{n}"]
        before, peak = map(float, subprocess.run(arguments, check=True, capture_output=True, text=True).stdout.split())
        size = sum(path.stat().st_size for path in (folder / f"published-{n}").rglob("*.*"))
        peaks[n] = {"sent_mb": round(size / 1e6, 1), "before_mb": round(before, 1), "peak_mb": round(peak, 1)}
    return peaks


def main(folder):
    folder.mkdir(parents=True, exist_ok=True)
    os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
    fill(folder / "store", N_DOCUMENTS, N_TOKENS)
    os.chdir(folder)
    server = Server()
    try:
        took, report = timed(lambda: publish("store", "s3://bucket/ten-thousand"))
        million = add_keys(Objects.at("s3://bucket/ten-thousand"))
        memory = uploading(folder)
        near = warm(folder, "s3://bucket/ten-thousand")
        server.delay(DELAY_MS)
        few, many = cold(server, "s3://bucket/ten-thousand"), cold(server, million)
    finally:
        server.stop()
    result = {
        "machine": platform_name(),
        "commit": commit(),
        "command": "python tests/benchmarks/remote.py EMPTY_FOLDER",
        "simulated_delay_ms": DELAY_MS,
        "load_average": round(os.getloadavg()[0], 1),
        "publish_mb_per_s": round(report.size_bytes / 1e6 / (took / 1e3), 1),
        "cold_100_of_10_000": few,
        "cold_100_of_1_000_000_keys": many,
        "warm_100": near,
        "uploading_memory": memory,
    }
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute())
