"""How a store's index grows: two million tiny documents. Prints JSON; takes ten minutes and 4 GB.

    python tests/benchmarks/index_growth.py EMPTY_FOLDER > tests/benchmarks/index_growth.json

The rate of `put` by what is there, the memory and time of publishing and verifying, each in a new process, and a cold lookup of
100 keys among fifty million: their keys file is made here, of random rows, and no documents belong to it. Rates are told by the
clock and by the processor's time, which other programs disturb less. The folder is left for who wants to look; remove it.
"""

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np

from late_rerank.codecs import codec
from late_rerank.evaluate.bench.provenance import commit, platform_name
from late_rerank.stores import DiskStore, PublishedStore
from late_rerank.stores.disk.block_keys import BlockKeys
from late_rerank.stores.keys_blocks import BLOCK, ROW, ROWS_A_BLOCK
from late_rerank.stores.keys_writer import KeysWriter, sort_rows
from late_rerank.types import TokenVectors

N_DOCUMENTS = 2_000_000
BATCH = 5_000
WINDOW = 10
SIZES = (0, 250_000, 500_000, 1_000_000, 1_500_000, 2_000_000)
DIM = 32
SPEC = codec("int8").spec(DIM)

N_KEYS = 50_000_000
N_LOOKUPS = 25
N_ASKED = 100
_PARTS = 256  # of the range of keys, each sorted alone

_MB = 1e6


def keys_of(batch):
    raw = np.random.default_rng(batch).bytes(16 * BATCH)
    return [raw[16 * i : 16 * i + 16] for i in range(BATCH)]


def grow(folder):
    """Put documents of one token. Returns a row a size: the mean of the ten puts from there on, or up to there at the end."""
    vector = np.random.default_rng(0).standard_normal((1, DIM), dtype=np.float32)
    packed = codec("int8").encode(TokenVectors.from_arrays([vector / np.linalg.norm(vector)] * BATCH, DIM))
    taken = []
    with DiskStore(folder) as store:
        space = store.space("tiny", SPEC)
        for batch in range(N_DOCUMENTS // BATCH + WINDOW):
            keys = keys_of(batch)
            clock, processor = time.perf_counter(), time.process_time()
            space.put(keys, packed)
            taken.append(((time.perf_counter() - clock) * 1000, (time.process_time() - processor) * 1000))
            if batch * BATCH % 250_000 == 0:
                say(f"{batch * BATCH:,} documents: {taken[-1][0]:.0f} ms a put")
    rows = []
    for size in SIZES:
        window = np.array(taken[size // BATCH : size // BATCH + WINDOW])
        rows.append({"n_documents": size, "put_ms": float(window[:, 0].mean()), "put_cpu_ms": float(window[:, 1].mean())})
    index_bytes = (folder / "index.sqlite").stat().st_size
    n = (N_DOCUMENTS // BATCH + WINDOW) * BATCH
    return {
        "batch": BATCH,
        "puts": rows,
        "rate_at_the_end_by_the_clock": rows[0]["put_ms"] / rows[-1]["put_ms"],
        "rate_at_the_end_by_processor": rows[0]["put_cpu_ms"] / rows[-1]["put_cpu_ms"],
        "index_bytes_per_document": index_bytes / n,
    }


class MemoryPeak:
    """The peak of this process's own memory (RssAnon), looked at every 20 ms."""

    def __init__(self):
        self.bytes = 0
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self):
        while True:
            for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
                if line.startswith("RssAnon"):
                    self.bytes = max(self.bytes, int(line.split()[1]) * 1024)
            time.sleep(0.02)


def in_a_new_process(*words):
    command = [sys.executable, __file__, *map(str, words)]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def one_command(what, folder, out):
    """Publish or verify, and print its time and memory."""
    peak, clock, processor = MemoryPeak(), time.perf_counter(), time.process_time()
    if what == "publish":
        with DiskStore(folder) as store:
            n_documents = store.publish(out).n_documents
    else:
        with DiskStore(folder) if what == "verify" else PublishedStore(folder) as store:
            report = store.verify()
        if report.problems:
            raise SystemExit(f"{what}: {report.problems[0]}")
        n_documents = report.n_documents
    print(
        json.dumps(
            {
                "n_documents": n_documents,
                "seconds": time.perf_counter() - clock,
                "cpu_seconds": time.process_time() - processor,
                "peak_anonymous_mb": peak.bytes / _MB,
            }
        )
    )


def stats_ms(folder):
    with PublishedStore(folder) as store:
        clock = time.perf_counter()
        store.stats()
        return (time.perf_counter() - clock) * 1000


def make_keys(path):
    """Write a keys file of random rows, sorted part by part."""
    random = np.random.default_rng(1)
    with path.open("wb") as file:
        writer = KeysWriter(file, '{"keys":"random"}')
        for part in range(_PARTS):
            rows = np.zeros(N_KEYS // _PARTS, dtype=ROW)
            raw = np.frombuffer(bytearray(random.bytes(16 * len(rows))), dtype=np.uint8).reshape(-1, 16)
            raw[:, 0] = part
            rows["key"] = raw.reshape(-1).view("V16")
            rows["offset"], rows["segment"], rows["n_tokens"] = np.arange(len(rows)) * 192 + 4096, part + 1, 1
            writer.add(sort_rows(rows))
        header = writer.finish()
        file.flush()
        os.fsync(file.fileno())
    return header


def look_up(path):
    header = make_keys(path)
    cold, warm, opening = [], [], []
    for seed in range(N_LOOKUPS):
        keys = keys_in(path, header, seed)
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        clock = time.perf_counter()
        opened = BlockKeys(path)
        opening.append((time.perf_counter() - clock) * 1000)
        for times in (cold, warm):
            clock = time.perf_counter()
            places, damage = opened.find(keys)
            times.append((time.perf_counter() - clock) * 1000)
            if None in places or damage:
                raise SystemExit("a key wasn't found")
        del opened  # or its pages stay
    start, end = header.tail
    return {
        "n_keys": header.n_keys,
        "file_mb": header.size_bytes / _MB,
        "fence_mb": (end - start) / _MB,
        "n_asked": N_ASKED,
        "cold_open_ms": percentiles(opening),
        "cold_ms": percentiles(cold),
        "warm_ms": percentiles(warm),
    }


def keys_in(path, header, seed):
    """Choose keys of random blocks."""
    random = np.random.default_rng(seed)
    keys = []
    with path.open("rb") as file:
        for block in random.choice(header.n_blocks - 1, N_ASKED, replace=False).tolist():
            start, end = header.span(block)
            file.seek(start)
            rows = np.frombuffer(file.read(end - start), dtype=BLOCK)[0]["rows"]
            keys.append(rows["key"][int(random.integers(ROWS_A_BLOCK))].tobytes())
    return keys


def percentiles(times):
    return {"p50": float(np.percentile(times, 50)), "p99": float(np.percentile(times, 99))}


def say(line):
    print(line, file=sys.stderr, flush=True)


def rounded(value):
    if isinstance(value, dict):
        return {name: rounded(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [rounded(inner) for inner in value]
    return float(f"{value:.4g}") if isinstance(value, float) else value


def main():
    if sys.argv[1] in ("publish", "verify", "verify-published"):
        one_command(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
        return
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    store, published = folder / "store", folder / "published"
    report = {"machine": platform_name(), "commit": commit(), "command": "python tests/benchmarks/index_growth.py EMPTY_FOLDER"}
    report["growth"] = grow(store)
    for what, place in (("publish", store), ("verify", store), ("verify-published", published)):
        say(what)
        report[what.replace("-", "_")] = in_a_new_process(what, place, published)
    report["published_stats_ms"] = stats_ms(published)
    say("keys")
    report["cold_lookup"] = look_up(folder / "simulated.keys")
    print(json.dumps(rounded(report), indent=1))


if __name__ == "__main__":
    main()
