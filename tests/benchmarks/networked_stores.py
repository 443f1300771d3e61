"""PostgresStore beside RedisStore: the same documents, in turns, over loopback. Prints JSON; takes a minute.

    python tests/benchmarks/networked_stores.py

It starts both servers itself, with their usual durability: Postgres syncs each commit, Redis keeps nothing on disk.
"""

import json
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).parents[1]))

from postgres_servers import PostgresServer
from redis_servers import RedisServer

from late_rerank.codecs import codec
from late_rerank.evaluate.bench.provenance import commit, platform_name
from late_rerank.stores import PostgresStore, RedisStore
from late_rerank.testing.vectors import random_vectors

N_DOCUMENTS = 10_000
N_TOKENS = 180
DIM = 128
BATCH = 500
N_TURNS = {100: 300, 500: 60}
SETTINGS = ("fsync=on", "autovacuum=on", "shared_buffers=512MB")
_CODEC = codec("int8")


def documents():
    """Keys, and one batch of vectors that all batches have: stores don't look into them."""
    keys = [random.randbytes(16) for _ in range(N_DOCUMENTS)]
    return keys, _CODEC.encode(random_vectors([N_TOKENS] * BATCH, DIM))


def put(spaces, keys, packed):
    """Documents a second, in turns of one batch."""
    spent = dict.fromkeys(spaces, 0.0)
    for start in tqdm(range(0, len(keys), BATCH), desc="put", file=sys.stderr):
        for name, space in spaces.items():
            began = time.perf_counter()
            space.put(keys[start : start + BATCH], packed)
            spent[name] += time.perf_counter() - began
    return {name: len(keys) / seconds for name, seconds in spent.items()}


def asked(spaces, keys, k, call, turns):
    """Milliseconds of a call for k random documents, in turns."""
    times = {name: [] for name in spaces}
    for _ in tqdm(range(turns), desc=f"{call} {k}", file=sys.stderr):
        some = random.sample(keys, k)
        for name, space in spaces.items():
            began = time.perf_counter()
            answer = getattr(space, call)(some)
            times[name].append((time.perf_counter() - began) * 1000)
            assert len(answer.missing if call == "get" else answer) == 0
    told = {
        name: {"p50": statistics.median(ms), "p99": float(np.percentile(ms, 99)), "least": min(ms)}
        for name, ms in times.items()
    }
    return told | {"ratio": {which: told["postgres"][which] / told["redis"][which] for which in ("p50", "least")}}


def room(server, store):
    """Bytes of the documents on the Postgres server's disk: put, put again, vacuumed."""
    space = store.spaces()[0]
    before = store.stats()["size_bytes"]
    keys = [row[0] for row in server.run(f"SELECT key FROM {store.schema}.record LIMIT 2000")]
    fetched = space.get(keys)
    space.put(keys, fetched.found)
    replaced = store.stats()["size_bytes"]
    began = time.perf_counter()
    server.run(f"VACUUM {store.schema}.record")
    vacuum_ms = (time.perf_counter() - began) * 1000
    space.put(keys, fetched.found)
    return {
        "put": before,
        "2000_replaced": replaced,
        "vacuum_ms": vacuum_ms,
        "2000_replaced_after_it": store.stats()["size_bytes"],
    }


def timed(call):
    began = time.perf_counter()
    n = call()
    return {"n_documents": n, "ms": (time.perf_counter() - began) * 1000}


def measured(redis, postgres, server):
    stores = {"redis": redis, "postgres": postgres}
    random.seed(0)
    keys, packed = documents()
    spaces = {name: store.space("bench", packed.codec) for name, store in stores.items()}
    return {
        "bytes_per_document": packed.size_bytes / BATCH,
        "put_documents_per_s": put(spaces, keys, packed),
        "get_ms": {str(k): asked(spaces, keys, k, "get", turns) for k, turns in N_TURNS.items()},
        "missing_ms": {"100": asked(spaces, keys, 100, "missing", 100)},
        "postgres_bytes": room(server, postgres),
        "delete": {name: timed(lambda space=space: space.delete(keys[:1000])) for name, space in spaces.items()},
        "count": {name: timed(lambda space=space: len(space)) for name, space in spaces.items()},
        "drop": {name: timed(lambda store=store: store.drop("bench")) for name, store in stores.items()},
    }


def rounded(value):
    """Four digits are more than the machine repeats."""
    if isinstance(value, dict):
        return {name: rounded(inner) for name, inner in value.items()}
    return float(f"{value:.4g}") if isinstance(value, float) else value


def main():
    began = commit()
    with tempfile.TemporaryDirectory() as folder, RedisServer(Path(folder)) as redis, PostgresServer(*SETTINGS) as postgres:
        options = {"on_error": "raise", "timeout_s": 60}
        with RedisStore(redis.url, **options) as near, PostgresStore(postgres.url, **options) as far:
            result = measured(near, far, postgres)
        ((version,),) = postgres.run("SHOW server_version")
        redis_version = next(line for line in redis.cli("INFO", "server").split() if line.startswith("redis_version"))
    told = {
        "machine": platform_name(),
        "commit": began,
        "command": "python tests/benchmarks/networked_stores.py",
        "versions": {"postgres": version, "redis": redis_version.partition(":")[2]},
        "settings": list(SETTINGS),
        "n_documents": N_DOCUMENTS,
        "n_tokens": N_TOKENS,
        "dim": DIM,
        "codec": _CODEC.spec(DIM).name,
    }
    print(json.dumps(rounded(told | result), indent=1))


if __name__ == "__main__":
    main()
