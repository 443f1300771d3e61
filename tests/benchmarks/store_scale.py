"""How DiskStore grows: 200,000 documents through Reranker.index, measured on the way. Prints JSON; takes minutes and 3 GB.

    python tests/benchmarks/store_scale.py EMPTY_FOLDER

Memory while indexing, opening and reading in a new process, bytes on the disk, verifying and rebuilding; then the same for a
million documents of one token, where the index is what grows. What ten million documents would take is computed from the
measured bytes, and says so. The folder is left for who wants to look; remove it.
"""

import json
import os
import resource
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np

from late_rerank import Reranker
from late_rerank.codecs import codec
from late_rerank.evaluate.bench.provenance import commit, platform_name
from late_rerank.stores import DiskStore
from late_rerank.stores.disk import rebuild
from late_rerank.stores.record import HEADER_BYTES, layout
from late_rerank.types import TokenVectors
from late_rerank.vectors.keys import key_of

SIZES = (20_000, 50_000, 100_000, 200_000)
N_TOKENS = 180
DIM = 128
CODEC = "int4"
SMALL_SIZES = (250_000, 500_000, 1_000_000)
SMALL_BATCH = 5000

N_OPENINGS = 7
N_FETCHED = 100

EXTRAPOLATED = 10_000_000
CODECS = ("int8", "int4", "binary")
DIMS = (384, 128)

_KIB = 1024


class PooledEncoder:
    """Token vectors taken from a pool of random unit vectors: the indexing is to be measured, not an encoder."""

    dim = DIM
    fingerprint = "pooled"

    def __init__(self):
        self._pool = np.random.default_rng(0).standard_normal((50_000, DIM), dtype=np.float32)
        self._pool /= np.linalg.norm(self._pool, axis=1, keepdims=True)

    def one_token(self):
        return self._pool[:1]

    def encode_query(self, texts):
        return self.encode_document(texts)

    def encode_document(self, texts):
        starts = (int.from_bytes(key_of(text)[:4], "little") % (len(self._pool) - N_TOKENS) for text in texts)
        return TokenVectors.from_arrays([self._pool[start : start + N_TOKENS] for start in starts], DIM)


def text(i):
    return f"Passage {i} of the collection: what it says is of no matter, only that no other says it."


class MemoryPeak:
    """The peak of this process's own memory (RssAnon), looked at every 20 ms. Of all its memory the kernel keeps it: VmHWM."""

    def __init__(self):
        self.anonymous = 0
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self):
        while True:
            self.anonymous = max(self.anonymous, _status()["RssAnon"])
            time.sleep(0.02)

    def take(self):
        peak, self.anonymous = self.anonymous, 0
        return peak


def _status():
    fields = {}
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition(":")
        if value.endswith(" kB"):
            fields[name] = int(value[:-3]) * _KIB
    return fields


def index_in_steps(folder, encoder):
    rows, done, peak = [], 0, MemoryPeak()
    with Reranker(encoder, codec=CODEC, store=folder) as reranker:
        for size in SIZES:
            peak.take()
            cpu = time.process_time()
            report = reranker.index(map(text, range(done, size)))
            cpu, done = time.process_time() - cpu, size
            status = _status()
            row = {
                "n_documents": size,
                "documents_per_s": (report.n_encoded) / report.seconds,
                "cpu_share": cpu / report.seconds,
                "peak_anonymous_mb": peak.take() / 1e6,
                "peak_resident_mb": status["VmHWM"] / 1e6,
                "resident_files_mb": status["RssFile"] / 1e6,
                **disk_bytes(folder, size),
                "opening_beside_the_writer": openings(folder, size),
            }
            say(row)
            rows.append(row)
    return rows


def grow_index(folder):
    """Documents of one token, so many that SQLite's caches (64 MiB for reading, 64 MiB for writing) fill up."""
    spec = codec(CODEC).spec(DIM)
    packed = codec(CODEC).encode(TokenVectors.from_arrays([PooledEncoder().one_token()] * SMALL_BATCH, DIM))
    rows, done, peak = [], 0, MemoryPeak()
    with DiskStore(folder) as store:
        space = store.space(PooledEncoder.fingerprint, spec)
        for size in SMALL_SIZES:
            peak.take()
            started = time.perf_counter()
            for start in range(done, size, SMALL_BATCH):
                keys = [key_of(text(i)) for i in range(start, start + SMALL_BATCH)]
                if len(space.get(keys).missing) != len(keys):
                    raise SystemExit("a document was there before it was put")
                space.put(keys, packed)
            seconds, n_new, done = time.perf_counter() - started, size - done, size
            row = {
                "n_documents": size,
                "documents_per_s": n_new / seconds,
                "peak_anonymous_mb": peak.take() / 1e6,
                "index_bytes_per_document": disk_bytes(folder, size)["index_bytes_per_document"],
                "opening_beside_the_writer": openings(folder, size),
            }
            say(row)
            rows.append(row)
    closed = disk_bytes(folder, SMALL_SIZES[-1])["index_bytes_per_document"]
    return {"growth": rows, "index_bytes_per_document": closed, "opening": openings(folder, SMALL_SIZES[-1])}


def disk_bytes(folder, n_documents):
    segments = sum(path.stat().st_size for path in (folder / "segments").iterdir())
    index = sum(path.stat().st_size for path in folder.glob("index.sqlite*") if not path.name.endswith("-shm"))
    return {"segment_bytes_per_document": segments / n_documents, "index_bytes_per_document": index / n_documents}


def openings(folder, n_documents, *, cold=False):
    """Medians over new processes."""
    samples = []
    for seed in range(N_OPENINGS):
        if cold:
            drop_pages(folder)
        command = [sys.executable, __file__, "--open", str(folder), str(n_documents), str(seed)]
        samples.append(json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout))
    return {name: statistics.median(sample[name] for sample in samples) for name in samples[0]}


def drop_pages(folder):
    for path in (*folder.glob("index.sqlite*"), *(folder / "segments").iterdir()):
        fd = os.open(path, os.O_RDONLY)
        os.fsync(fd)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(fd)


def open_once(folder, n_documents, seed):
    chosen = np.random.default_rng(seed).choice(n_documents, N_FETCHED, replace=False).tolist()
    keys = [key_of(text(i)) for i in chosen]
    spec = codec(CODEC).spec(DIM)
    ms = {}
    ms["open_ms"], store = timed(lambda: DiskStore(folder))
    space = store.space(PooledEncoder.fingerprint, spec)
    ms["first_get_ms"], fetched = timed(lambda: space.get(keys))
    ms["open_and_first_get_ms"] = ms["open_ms"] + ms["first_get_ms"]
    ms["len_ms"], found = timed(lambda: len(space))
    ms["stats_ms"], _ = timed(store.stats)
    if len(fetched.missing) or found != n_documents:
        raise SystemExit(f"{len(fetched.missing)} of {N_FETCHED} documents are missing, len() says {found} of {n_documents}")
    print(json.dumps(ms))


def timed(call):
    started = time.perf_counter()
    result = call()
    return (time.perf_counter() - started) * 1000, result


def verify_and_rebuild(folder):
    n_bytes = sum(path.stat().st_size for path in (folder / "segments").iterdir())
    with DiskStore(folder) as store:
        ms, report = timed(store.verify)
    rebuild_ms, rebuilt = timed(lambda: rebuild(folder))
    if report.problems or rebuilt.n_damaged or rebuilt.n_documents != SIZES[-1]:
        raise SystemExit(f"{report.problems[:3]} {rebuilt}")
    return {
        "segment_gb": n_bytes / 1e9,
        "verify_s": ms / 1e3,
        "verify_gb_per_s": n_bytes / 1e6 / ms,
        "rebuild_s": rebuild_ms / 1e3,
        "rebuild_gb_per_s": n_bytes / 1e6 / rebuild_ms,
        "rebuild_documents_per_s": rebuilt.n_documents / rebuild_ms * 1e3,
        "peak_anonymous_mb_after": _status()["RssAnon"] / 1e6,
    }


def record_bytes(name, dim):
    """What the format makes of one document of N_TOKENS tokens."""
    _, ends = layout(codec(name).spec(dim).columns, np.array([N_TOKENS]), HEADER_BYTES)
    return int(ends[0])


def extrapolation(index_bytes):
    """GB of `EXTRAPOLATED` documents: their records, whose size the format fixes, and as many index rows as measured."""
    rows = {}
    for dim in DIMS:
        for name in CODECS:
            record = record_bytes(name, dim)
            parts = {"segments": record, "index": index_bytes, "both": record + index_bytes}
            rows[f"{name} {dim}"] = {
                "record_bytes": record,
                **{f"{part}_gb": n_bytes * EXTRAPOLATED / 1e9 for part, n_bytes in parts.items()},
            }
    return rows


def say(row):
    print(json.dumps(row), file=sys.stderr)


def rounded(value):
    """Five digits: bytes are exact, times repeat to one or two."""
    if isinstance(value, dict):
        return {name: rounded(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [rounded(inner) for inner in value]
    return float(f"{value:.5g}") if isinstance(value, float) else value


def main():
    folder = Path(sys.argv[1])
    if folder.exists() and any(folder.iterdir()):
        raise SystemExit("the folder must be empty")
    encoder = PooledEncoder()
    before = _status()["RssAnon"]
    large, small = folder / "large", folder / "small"
    growth = index_in_steps(large, encoder)
    closed = disk_bytes(large, SIZES[-1])
    record = record_bytes(CODEC, DIM)
    result = {
        "machine": platform_name(),
        "commit": commit(),
        "command": "python tests/benchmarks/store_scale.py EMPTY_FOLDER",
        "codec": CODEC,
        "dim": DIM,
        "n_tokens": N_TOKENS,
        "anonymous_mb_before": before / 1e6,
        "growth": growth,
        "closed": {
            **closed,
            "record_bytes_by_the_format": record,
            "opening": openings(large, SIZES[-1]),
            "opening_cold": openings(large, SIZES[-1], cold=True),
        },
        "peak_resident_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _KIB / 1e6,
        "small_documents": (grown := grow_index(small)),
        "maintenance": verify_and_rebuild(large),
        "extrapolated": {"n_documents": EXTRAPOLATED, "codecs": extrapolation(grown["index_bytes_per_document"])},
    }
    print(json.dumps(rounded(result), indent=1))


if __name__ == "__main__":
    if sys.argv[1] == "--open":
        open_once(Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
    else:
        main()
