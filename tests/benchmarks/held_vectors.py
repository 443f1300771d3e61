"""Vectors that a team holds already: given with candidates, read from Postgres and LanceDB. Prints JSON; takes a minute.

    python tests/benchmarks/held_vectors.py

100 of 1,000 documents of 180 tokens, 128 components, in turns. It starts a Postgres server itself; LanceDB is embedded. Beside
them stands a DiskStore of the same documents. Rows are packed as int8 when they are fetched.
"""

import json
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path

import lancedb
import lancedb.index
import numpy as np
import psycopg
import pyarrow as pa
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).parents[1]))

from postgres_servers import PostgresServer

from late_rerank import Candidate, Reranker
from late_rerank.evaluate.bench.provenance import commit, platform_name
from late_rerank.stores import DiskStore, TieredStore
from late_rerank.stores.existing import LanceVectors, PostgresVectors
from late_rerank.testing.fakes import FakeEncoder
from late_rerank.testing.vectors import random_vectors

N_DOCUMENTS = 1000
N_TOKENS = 180
DIM = 128
K = 100
TURNS = 30
QUERY = " ".join(f"word{i}" for i in range(32))
ENCODER = FakeEncoder(DIM)
KINDS = {"bytea float16": ("f2", "float16"), "bytea float32": ("f4", "float32"), "real[]": ("arrays", "float32")}


def in_postgres(url, documents):
    """Fill a table; give a store of each column."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE TABLE docs (id int PRIMARY KEY, f2 bytea, f4 bytea, arrays real[])")
        connection.execute("ALTER TABLE docs ALTER f2 SET STORAGE EXTERNAL, ALTER f4 SET STORAGE EXTERNAL")
        for i, rows in enumerate(documents):
            values = (i, rows.astype(np.float16).tobytes(), rows.tobytes(), rows.reshape(-1).tolist())
            connection.execute("INSERT INTO docs VALUES (%s, %s, %s, %s)", values)
    told = {"dim": DIM, "fingerprint": ENCODER.fingerprint}
    return {
        f"Postgres, {name}": PostgresVectors(url, "docs", vectors=column, dtype=dtype, **told)
        for name, (column, dtype) in KINDS.items()
    }


def in_lance(folder, documents):
    """Fill a table with an index of ids; give its store."""
    vectors = pa.list_(pa.list_(pa.float16(), DIM))
    rows = [{"id": i, "vector": each.astype(np.float16).tolist()} for i, each in enumerate(documents)]
    schema = pa.schema([("id", pa.int64()), ("vector", vectors)])
    table = lancedb.connect(folder).create_table("docs", pa.Table.from_pylist(rows, schema=schema))
    table.create_index("id", config=lancedb.index.BTree())
    return {"LanceDB, float16": LanceVectors(folder, "docs", fingerprint=ENCODER.fingerprint)}


def turns(rerankers, documents):
    """Milliseconds from candidates to documents that can be scored, and of scoring."""
    times = {name: {"fetch": [], "maxsim": []} for name in (*rerankers, "given float16", "given float32")}
    plain = rerankers["int8, stored on disk"]
    for _ in tqdm(range(TURNS), file=sys.stderr):
        ids = random.sample(range(N_DOCUMENTS), K)
        for name, reranker in rerankers.items():
            note(times[name], reranker.rerank(QUERY, [Candidate(f"document {i}", id=i) for i in ids]))
        for dtype in ("float16", "float32"):
            held = [documents[i].astype(dtype) for i in ids]
            began = time.perf_counter()
            candidates = [Candidate(f"document {i}", id=i, token_vectors=rows) for i, rows in zip(ids, held, strict=True)]
            checked_ms = (time.perf_counter() - began) * 1000
            note(times[f"given {dtype}"], plain.rerank(QUERY, candidates), checked_ms)
    return {
        name: {f"{stage}_ms": rounded({"p50": statistics.median(ms), "least": min(ms)}) for stage, ms in stages.items()}
        for name, stages in times.items()
    }


def note(times, ranking, more_ms=0.0):
    assert ranking.n_misses == ranking.n_unscored == 0
    times["fetch"].append(ranking.timings_ms["fetch"] + more_ms)
    times["maxsim"].append(ranking.timings_ms["maxsim"])


def rounded(value):
    return {name: float(f"{inner:.3g}") for name, inner in value.items()}


def main():
    random.seed(0)
    documents = [rows.copy() for rows in map(random_vectors([N_TOKENS] * N_DOCUMENTS, DIM).rows, range(N_DOCUMENTS))]
    with tempfile.TemporaryDirectory() as folder, PostgresServer("autovacuum=on") as server:
        stores = in_postgres(server.url, documents) | in_lance(f"{folder}/lance", documents)
        rerankers = {name: Reranker(ENCODER, store=store) for name, store in stores.items()}
        near = TieredStore(DiskStore(f"{folder}/near"), stores["Postgres, bytea float16"])
        rerankers["Postgres behind a near store, again"] = Reranker(ENCODER, store=near)
        plain = rerankers["int8, stored on disk"] = Reranker(ENCODER, store=f"{folder}/plain")
        every = [Candidate(f"document {i}", id=i, token_vectors=rows) for i, rows in enumerate(documents)]
        imported = plain.import_vectors(every, check=False)
        rerankers["Postgres behind a near store, again"].rerank(QUERY, [Candidate(id=i) for i in range(N_DOCUMENTS)])
        measured = turns(rerankers, documents)
    told = {"machine": platform_name(), "commit": commit(), "command": "python tests/benchmarks/held_vectors.py"}
    shape = {
        "k": K,
        "tokens": N_TOKENS,
        "dim": DIM,
        "query_tokens": 32,
        "import_documents_per_s": round(N_DOCUMENTS / imported.seconds),
    }
    print(json.dumps(told | shape | {"stores": measured}, indent=1))


if __name__ == "__main__":
    main()
