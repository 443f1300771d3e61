"""DiskStore beside SQLite and LMDB that hold the same documents as blobs, and MemoryStore. Prints JSON; takes 8 minutes.

    python tests/benchmarks/stores.py EMPTY_FOLDER

All in one run, in turns. "raw" is what a peer gives by itself: rows, or views that end with LMDB's transaction; "ready" what a
kernel takes, PackedVectors over them. `Space.get` always gives the latter. The folder is left for who wants to look; remove it.
"""

import ctypes
import gc
import json
import mmap
import os
import random
import sqlite3
import statistics
import struct
import sys
import time
from pathlib import Path

import lmdb
import numpy as np
from tqdm import tqdm

from late_rerank import maxsim
from late_rerank.codecs import codec
from late_rerank.evaluate.bench.provenance import commit, platform_name
from late_rerank.stores import DiskStore, MemoryStore
from late_rerank.stores.record import copy_columns, layout, one_buffer_each
from late_rerank.testing.vectors import random_vectors
from late_rerank.types import PackedVectors

N_DOCUMENTS = 20_000
TOKENS = (40, 300)
DIM = 128
SPEC = codec("int8").spec(DIM)
BATCH = 500
FETCHED = (100, 1000)

N_FIRST_PASSES = 5
N_TURNS = {100: 300, 1000: 100}
N_CALLS = 3
N_WRITTEN_TURNS = 100
N_COLD_TURNS = 100
# More than this share of a dropped file in the page cache, and it wasn't dropped.
_MOST_RESIDENT = 0.001

_HEAD = struct.Struct("<qq48x")  # n_tokens, truncated: 64 bytes before the columns of an LMDB blob


class Disk:
    name = "disk"

    def __init__(self, folder):
        self.folder = folder / self.name
        self.open()

    def open(self):
        self._store = DiskStore(self.folder)
        self._space = self._store.space("bench", SPEC)
        self._other = None

    def put(self, keys, packed):
        self._space.put(keys, packed)

    def use(self, keys, call):
        return call(self._space.get(keys).found)

    def write_elsewhere(self, key, packed):
        """Another writer's commit."""
        self._other = self._other or DiskStore(self.folder)
        self._other.space("other", SPEC).put([key], packed)

    def close(self):
        self._store.close()
        if self._other:
            self._other.close()

    def files(self):
        return [*self.folder.glob("index.sqlite*"), *(self.folder / "segments").iterdir()]


class DiskWithWarmIndex(Disk):
    """As after some requests: the index, of 75 bytes a document, in the page cache, the documents not."""

    name = "disk-warm-index"

    def __init__(self, other):
        self.folder = other.folder

    def files(self):
        return list((self.folder / "segments").iterdir())


class Memory(Disk):
    name = "memory"

    def open(self):
        self._store = MemoryStore(max_bytes=None)
        self._space, self._other = self._store.space("bench", SPEC), None

    def write_elsewhere(self, key, packed):
        self._store.space("other", SPEC).put([key], packed)


class SQLite:
    name = "sqlite"

    def __init__(self, folder):
        self.folder = folder / self.name
        self.folder.mkdir()
        self.open()
        self._db.execute("CREATE TABLE document (key BLOB PRIMARY KEY, n_tokens INTEGER, truncated INTEGER, columns BLOB)")
        self._db.execute("CREATE TABLE other (key BLOB PRIMARY KEY, n_tokens INTEGER, truncated INTEGER, columns BLOB)")

    def open(self):
        self._db, self._other = self._connect(), None

    def _connect(self):
        db = sqlite3.connect(self.folder / "blobs.sqlite", isolation_level=None)
        db.execute("PRAGMA page_size = 16384")
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA cache_size = -65536")  # what DiskStore gives its index
        return db

    def put(self, keys, packed):
        self._insert(self._db, "document", keys, packed)

    def _insert(self, db, table, keys, packed):
        rows = zip(keys, packed.lengths.tolist(), packed.truncated.tolist(), blobs(packed), strict=True)
        db.execute("BEGIN IMMEDIATE")
        db.executemany(f"INSERT OR REPLACE INTO {table} VALUES (?, ?, ?, ?)", rows)
        db.execute("COMMIT")

    def raw(self, keys):
        marks = ",".join("?" * len(keys))
        sql = f"SELECT key, n_tokens, truncated, columns FROM document WHERE key IN ({marks})"
        return self._db.execute(sql, keys).fetchall()

    def use(self, keys, call):
        rows = {row[0]: row for row in self.raw(keys)}
        found = [rows[key] for key in keys]
        columns = [np.frombuffer(row[3], dtype=np.uint8) for row in found]
        return call(one_buffer_each(SPEC, columns, [row[1] for row in found], [row[2] for row in found]).found)

    def write_elsewhere(self, key, packed):
        self._other = self._other or self._connect()
        self._insert(self._other, "other", [key], packed)

    def close(self):
        self._db.close()
        if self._other:
            self._other.close()

    def files(self):
        return list(self.folder.iterdir())


class LMDB:
    name = "lmdb"

    def __init__(self, folder):
        self.folder = folder / self.name
        self.folder.mkdir()
        self.open()

    def open(self):
        self._env = lmdb.open(str(self.folder), map_size=2**31)

    def put(self, keys, packed):
        heads = map(_HEAD.pack, packed.lengths.tolist(), packed.truncated.tolist())
        with self._env.begin(write=True) as transaction:
            for key, blob in zip(keys, blobs(packed, heads), strict=True):
                transaction.put(key, blob)

    def raw(self, keys):
        # One by one: Cursor.getmulti takes as long.
        with self._env.begin(buffers=True) as transaction:
            return list(map(transaction.get, keys))

    def use(self, keys, call):
        with self._env.begin(buffers=True) as transaction:
            views = list(map(transaction.get, keys))
            heads = list(map(_HEAD.unpack_from, views))
            columns = [np.frombuffer(view, dtype=np.uint8) for view in views]
            lengths, truncated = zip(*heads, strict=True)
            return call(one_buffer_each(SPEC, columns, lengths, truncated, _HEAD.size).found)

    def write_elsewhere(self, key, packed):
        self.put([b"o" + key], packed)  # another process's commit would be no different: a reader keeps nothing

    def close(self):
        self._env.close()

    def files(self):
        return list(self.folder.iterdir())


class RandomLMDB(LMDB):
    """The same file, opened for reads at random: the kernel then reads no pages around those that are touched."""

    name = "lmdb-random"

    def __init__(self, other):
        self.folder = other.folder

    def open(self):
        self._env = lmdb.open(str(self.folder), map_size=2**31, readahead=False)


def blobs(packed, heads=None):
    """Each document's columns as a store would lay them out, one after another."""
    heads = heads or [b""] * len(packed)
    starts, sizes = layout(SPEC.columns, packed.lengths)
    for i, head in enumerate(heads):
        blob = np.zeros(len(head) + sizes[i], dtype=np.uint8)
        blob[: len(head)] = np.frombuffer(head, dtype=np.uint8)
        copy_columns(packed, i, starts, blob[len(head) :])
        yield blob.data


def documents():
    """Keys, and packed documents as a codec gives them: random codes, scales that can be scored."""
    random_ = np.random.default_rng(0)
    lengths = random_.integers(TOKENS[0], TOKENS[1] + 1, N_DOCUMENTS)
    n_tokens = int(lengths.sum())
    codes = random_.integers(0, 256, n_tokens * SPEC.columns["codes"], dtype=np.uint8)
    scales = np.full(n_tokens, 1 / 127 / DIM**0.5, dtype=np.float32).view(np.uint8)
    offsets = np.cumsum(lengths) - lengths
    starts = {"codes": offsets * SPEC.columns["codes"], "scales": offsets * SPEC.columns["scales"]}
    starts["scales"] += len(codes)
    buffer, which = np.concatenate([codes, scales]), np.zeros(N_DOCUMENTS, dtype=np.int32)
    packed = PackedVectors(SPEC, (buffer,), which, starts, lengths, np.zeros(N_DOCUMENTS, dtype=np.bool_))
    keys = [random_.bytes(16) for _ in range(N_DOCUMENTS)]
    return keys, packed


def put_all(contenders, keys, packed):
    """Documents a second, each batch a commit on the disk."""
    seconds = {contender.name: [] for contender in contenders}
    for start in progress(range(0, N_DOCUMENTS, BATCH), "put"):
        part = packed.take(np.arange(start, start + BATCH))
        for contender in shuffled(contenders):
            clock, _ = timed(contender.put, keys[start : start + BATCH], part)
            seconds[contender.name].append(clock)
    return {
        name: {
            "documents_per_s": BATCH / statistics.median(times),
            "documents_per_s_over_all": N_DOCUMENTS / sum(times),
            "p99_ms": percentile(times, 99) * 1e3,
        }
        for name, times in seconds.items()
    }


def first_passes(contenders, keys, k):
    """Every document once, in a process that has just opened the store; the files are in the page cache."""
    samples = {}
    for _ in progress(range(N_FIRST_PASSES), f"first pass, {k}"):
        for kind in ("raw", "ready"):  # each after opening anew, or one would have touched the pages for the other
            reopen(contenders)
            calls = {name: call for name, call in calls_of(contenders).items() if name in ("disk", "memory") or kind in name}
            random.shuffle(keys)
            for start in range(0, N_DOCUMENTS, k):
                for name in shuffled(calls):
                    samples.setdefault(name, []).append(timed(calls[name], keys[start : start + k]))
    return summary(samples)


def reopen(contenders):
    for contender in contenders:
        if contender.name != "memory":
            contender.close()
            contender.open()
    gc.collect()


def steady(contenders, keys, k):
    """Fresh random keys for each call, the same for all contenders of a turn."""
    calls = calls_of(contenders)
    samples = {name: [] for name in calls}
    for _ in progress(range(N_TURNS[k]), f"steady, {k}"):
        chosen = [random.sample(keys, k) for _ in range(N_CALLS + 1)]
        for name in shuffled(calls):
            calls[name](chosen[0])  # brings back to the processor's caches what the contender before pushed out
            samples[name] += [timed(calls[name], part) for part in chosen[1:]]
    return summary(samples)


def written_to(contenders, keys, k, one, *, replaced):
    """As `steady`, with a commit of another writer before each call: of a new document, or of one that replaces another.

    After the latter DiskStore asks its index for every place again.
    """
    calls = calls_of(contenders)
    writers = {name: contender for contender in contenders for name in calls if name.split()[0] == contender.name}
    samples = {name: [] for name in calls}
    for _ in progress(range(N_WRITTEN_TURNS), f"written to, {k}"):
        chosen = [random.sample(keys, k) for _ in range(2)]
        for name in shuffled(calls):
            calls[name](chosen[0])
            writers[name].write_elsewhere(bytes(16) if replaced else random.randbytes(16), one)
            samples[name].append(timed(calls[name], chosen[1]))
    return summary(samples)


def calls_of(contenders):
    """What is timed, by name: "disk", "memory", "sqlite raw", "sqlite ready", ... and each fetched and scored."""
    calls = {}
    for contender in contenders:
        ready = f"{contender.name} ready" if hasattr(contender, "raw") else contender.name
        calls[ready] = lambda keys, contender=contender: contender.use(keys, nothing)
        calls[f"{contender.name} scored"] = lambda keys, contender=contender: contender.use(keys, scored)
        if hasattr(contender, "raw"):
            calls[f"{contender.name} raw"] = contender.raw
    return calls


def cold(contenders, keys, k):
    """None of the files in the page cache, stores just opened: fetch, and touch every byte."""
    uses = {"packed": joined, "scored": scored}
    turns = {f"{contender.name} {use}": (contender, call) for contender in contenders for use, call in uses.items()}
    samples, until_ready = {name: [] for name in turns}, {contender.name: [] for contender in contenders}
    resident = []
    for _ in progress(range(N_COLD_TURNS), f"cold, {k}"):
        chosen = random.sample(keys, k)
        for name in shuffled(turns):
            contender, call = turns[name]
            gc.collect()  # mappings end with their last array
            if isinstance(contender, DiskWithWarmIndex):
                (contender.folder / "index.sqlite").read_bytes()
            resident.append(drop_pages(contender.files()))
            contender.open()
            started = time.perf_counter()
            ready = contender.use(chosen, lambda packed: (time.perf_counter(), call(packed))[0])  # noqa: B023
            samples[name].append((time.perf_counter() - started, 0.0))
            until_ready[contender.name].append((ready - started, 0.0))
            contender.close()
    samples |= {f"{name} until ready": times for name, times in until_ready.items()}
    return {"highest_resident_share_before": max(resident), **summary(samples, clock=True)}


def drop_pages(paths):
    """Put files out of the page cache; returns the share of them that is in it still."""
    n_resident = n_pages = 0
    for path in paths:
        fd = os.open(path, os.O_RDONLY)
        os.fsync(fd)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        found = resident_pages(fd)
        os.close(fd)
        n_resident, n_pages = n_resident + int(found.sum()), n_pages + len(found)
    if n_resident > _MOST_RESIDENT * n_pages:
        raise SystemExit(f"{n_resident} of {n_pages} pages of {paths} are still in the page cache")
    return n_resident / n_pages


def resident_pages(fd):
    size = os.fstat(fd).st_size
    found = np.zeros(-(-size // mmap.PAGESIZE), dtype=np.uint8)
    if size:
        mapped = mmap.mmap(fd, size, access=mmap.ACCESS_READ)
        address = np.frombuffer(mapped, dtype=np.uint8).ctypes.data
        if _LIBC.mincore(ctypes.c_void_p(address), ctypes.c_size_t(size), ctypes.c_void_p(found.ctypes.data)):
            raise OSError(ctypes.get_errno(), "mincore")
    return found & 1


_LIBC = ctypes.CDLL(None, use_errno=True)
_KERNEL = maxsim.kernel()
_QUERY = random_vectors([32], DIM)


def nothing(packed):
    return None


def scored(packed):
    return _KERNEL.score(_QUERY, packed)


def joined(packed):
    """Every byte copied into one array."""
    array = np.empty(packed.size_bytes, dtype=np.uint8)
    end = 0
    for name in SPEC.columns:
        for i in range(len(packed)):
            column = packed.column(name, i)
            array[end : end + len(column)] = column
            end += len(column)
    return array


def timed(call, *arguments):
    """Seconds by the clock, and by the processor's time for this process: the lesser is what a quiet machine would show."""
    cpu, clock = time.process_time(), time.perf_counter()
    call(*arguments)
    clock = time.perf_counter() - clock
    return clock, time.process_time() - cpu


def summary(samples, *, clock=False):
    """Medians of the lesser of both times, and the 99th percentile by the clock."""
    return {
        name: {
            "median_ms": statistics.median(times[0] if clock else min(times) for times in pairs) * 1e3,
            "p99_ms": percentile([times[0] for times in pairs], 99) * 1e3,
        }
        for name, pairs in sorted(samples.items())
    }


def ratios(times):
    """DiskStore's median to each other's: below 1, DiskStore is faster."""
    found = {}
    for name, row in times.items():
        kind = name.partition(" ")[2]
        ours = times.get(f"disk {kind}" if kind not in ("", "raw", "ready") else "disk")
        if ours and not name.startswith("disk"):
            found[name] = ours["median_ms"] / row["median_ms"]
    return found


def percentile(values, q):
    return float(np.percentile(values, q))


def shuffled(things):
    order = list(things)
    random.shuffle(order)
    return order


def progress(things, title):
    return tqdm(things, desc=title, file=sys.stderr, mininterval=5)


def rounded(value):
    """Four digits are more than the machine repeats."""
    if isinstance(value, dict):
        return {name: rounded(inner) for name, inner in value.items()}
    return float(f"{value:.4g}") if isinstance(value, float) else value


def with_ratios(times):
    return {"times": times, "ratio": ratios({name: row for name, row in times.items() if isinstance(row, dict)})}


def main():
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise SystemExit("the folder must be empty")
    random.seed(0)
    keys, packed = documents()
    contenders = [Disk(folder), SQLite(folder), LMDB(folder), Memory(folder)]
    result = {
        "machine": platform_name(),
        "commit": commit(),
        "command": "python tests/benchmarks/stores.py EMPTY_FOLDER",
        "versions": {"sqlite": sqlite3.sqlite_version, "lmdb": lmdb.__version__, "numpy": np.__version__},
        "kernel": _KERNEL.name,
        "n_documents": N_DOCUMENTS,
        "tokens": TOKENS,
        "mean_kb": packed.size_bytes / N_DOCUMENTS / 1e3,
        "put": put_all(contenders, keys, packed),
    }
    one = packed.take(np.arange(1))
    del packed
    files = [contender for contender in contenders if contender.name != "memory"]
    result["size_mb"] = {c.name: sum(path.stat().st_size for path in c.files()) / 1e6 for c in files}
    result["fetch"] = {}
    for k in FETCHED:
        result["fetch"][str(k)] = {
            "first_pass": with_ratios(first_passes(contenders, keys, k)),
            "steady": with_ratios(steady(contenders, keys, k)),
            "new_documents_put": with_ratios(written_to(contenders, keys, k, one, replaced=False)),
            "documents_replaced": with_ratios(written_to(contenders, keys, k, one, replaced=True)),
        }
    for contender in contenders:
        contender.close()
    result["cold"] = with_ratios(cold([*files, RandomLMDB(files[-1]), DiskWithWarmIndex(files[0])], keys, 100))
    print(json.dumps(rounded(result), indent=1))


if __name__ == "__main__":
    main()
