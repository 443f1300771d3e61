"""What a RemoteStore takes for documents that aren't near: milliseconds, processor time and GETs. Prints JSON; takes a minute.

    python tests/benchmarks/capacity_remote.py > tests/benchmarks/capacity_remote.json

A process of its own answers ranges of a folder as S3 does, 25 ms after each request (the logarithm spreads by .35); it stands
for a service that nothing here can reach. 20,000 documents of 180 tokens are published there; 100 of them, by chance, are read
again and again without a near copy. "cpu_ms_of_get" is the reader's processor time over its GETs: without TLS, which a real
service adds.
"""

import asyncio
import json
import multiprocessing
import os
import random
import socket
import statistics
import tempfile
import time
from pathlib import Path
from urllib.parse import parse_qs
from xml.sax.saxutils import escape

import numpy as np

from late_rerank.codecs import codec
from late_rerank.evaluate.bench.provenance import commit, platform_name
from late_rerank.stores import DiskStore
from late_rerank.types import TokenVectors
from late_rerank.vectors.keys import key_of

N_DOCUMENTS = 20_000
N_TOKENS = 180
DIM = 128
CODEC = "int8"
K = 100
ROUNDS = 60
DELAY_MS = 25
SIGMA = 0.35
BUCKET = "bucket"
_STAMP = "2026-01-01T00:00:00.000Z"


class SlowBucket:
    """Answers reads of a bucket whose objects are a folder's files. Nothing can be written."""

    def __init__(self, folder):
        self._folder = folder
        self.n_gets = 0

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            return
        query = scope["query_string"].decode()
        path = scope["path"].removeprefix(f"/{BUCKET}").lstrip("/")
        if path == "gets":
            await self._answer(send, 200, str(self.n_gets).encode())
            return
        await asyncio.sleep(DELAY_MS / 1000 * random.lognormvariate(0, SIGMA))
        if "list-type" in query:
            await self._answer(send, 200, self._listed(query), [(b"content-type", b"application/xml")])
            return
        self.n_gets += 1
        file = self._folder / path
        if not file.is_file():
            await self._answer(send, 404, b"<Error><Code>NoSuchKey</Code></Error>")
            return
        given = dict(scope["headers"]).get(b"range", b"").decode()
        await self._answer(send, *_range_of(file, given))

    def _listed(self, query):
        prefix = parse_qs(query).get("prefix", [""])[0]
        files = sorted(path for path in self._folder.rglob("*") if path.is_file())
        names = [(path.relative_to(self._folder).as_posix(), path.stat().st_size) for path in files]
        rows = "".join(
            f'<Contents><Key>{escape(name)}</Key><LastModified>{_STAMP}</LastModified><ETag>"x"</ETag><Size>{size}</Size></Contents>'
            for name, size in names
            if name.startswith(prefix)
        )
        return f"<ListBucketResult><IsTruncated>false</IsTruncated>{rows}</ListBucketResult>".encode()

    async def _answer(self, send, status, body, headers=()):
        more = [(b"content-length", str(len(body)).encode()), (b"etag", b'"x"'), (b"accept-ranges", b"bytes")]
        more.append((b"last-modified", b"Thu, 01 Jan 2026 00:00:00 GMT"))
        await send({"type": "http.response.start", "status": status, "headers": [*more, *headers]})
        await send({"type": "http.response.body", "body": body})


def _range_of(file, given):
    size = file.stat().st_size
    if not given:
        return 200, file.read_bytes()
    first, _, last = given.removeprefix("bytes=").partition("-")
    start = int(first) if first else size - int(last)
    end = min(int(last), size - 1) if first and last else size - 1
    with file.open("rb") as opened:
        opened.seek(start)
        body = opened.read(end - start + 1)
    return 206, body, [(b"content-range", f"bytes {start}-{end}/{size}".encode())]


def serve(folder, listening):
    import uvicorn

    config = uvicorn.Config(SlowBucket(folder), log_level="warning", lifespan="off", access_log=False)
    uvicorn.Server(config).run(sockets=[listening])


def fill(folder):
    """Publish documents into the bucket's folder."""
    from late_rerank.stores.remote.committing import commit as commit_runs
    from late_rerank.stores.remote.committing import prove
    from late_rerank.stores.remote.objects import Objects
    from late_rerank.stores.remote.uploading import upload

    pool = np.random.default_rng(0).standard_normal((50_000, DIM), dtype=np.float32)
    pool /= np.linalg.norm(pool, axis=1, keepdims=True)
    packer = codec(CODEC)
    with DiskStore(folder / "store") as store:
        space = store.space("pooled", packer.spec(DIM))
        for begin in range(0, N_DOCUMENTS, 500):
            numbers = range(begin, begin + 500)
            starts = [i * 37 % (len(pool) - N_TOKENS) for i in numbers]
            vectors = TokenVectors.from_arrays([pool[start : start + N_TOKENS] for start in starts], DIM)
            space.put([key_of(str(i)) for i in numbers], packer.encode(vectors))
        store.publish(folder / "published")
    objects = Objects(f"file://{folder / BUCKET / 'prefix'}")
    prove(objects)
    commit_runs(objects, upload(objects, folder / "published"))


def read(n_gets):
    """Read by chance, and give what a query of K documents takes."""
    from late_rerank.stores.remote import RemoteStore

    rng = np.random.default_rng(1)
    wall, cpu = [], []
    began = time.perf_counter()
    with RemoteStore(f"s3://{BUCKET}/prefix") as store:
        space = store.space("pooled", codec(CODEC).spec(DIM))
        opened = (time.perf_counter() - began) * 1000
        before = 0
        for i in range(ROUNDS + 3):
            if i == 3:  # connections are open by then
                before = n_gets()
            keys = [key_of(str(number)) for number in rng.choice(N_DOCUMENTS, K, replace=False)]
            began, began_cpu = time.perf_counter(), time.process_time()
            fetched = space.get(keys)
            wall.append((time.perf_counter() - began) * 1000)
            cpu.append((time.process_time() - began_cpu) * 1000)
            if len(fetched.missing):
                raise SystemExit(f"{len(fetched.missing)} of {K} documents are missing")
    wall, cpu, gets = sorted(wall[3:]), cpu[3:], (n_gets() - before) / ROUNDS
    return {
        "open_ms": opened,
        "p50_ms": statistics.median(wall),
        "p99_ms": wall[-1],
        "cpu_ms": statistics.mean(cpu),
        "gets": gets,
        "cpu_ms_of_get": statistics.mean(cpu) / gets,
    }


def main():
    import httpx

    with tempfile.TemporaryDirectory() as name, socket.create_server(("127.0.0.1", 0), backlog=512) as listening:
        folder = Path(name)
        fill(folder)
        process = multiprocessing.get_context("fork").Process(target=serve, args=(folder / BUCKET, listening), daemon=True)
        process.start()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        settings = {"AWS_ENDPOINT": url, "AWS_ALLOW_HTTP": "true", "AWS_REGION": "us-east-1"}
        os.environ.update(settings | {"AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any"})
        try:
            found = read(lambda: int(httpx.get(f"{url}/{BUCKET}/gets", timeout=60).text))
        finally:
            process.kill()
    result = {
        "machine": platform_name(),
        "commit": commit(),
        "command": "python tests/benchmarks/capacity_remote.py",
        "k": K,
        "n_tokens": N_TOKENS,
        "dim": DIM,
        "codec": CODEC,
        "delay_ms": DELAY_MS,
        **{name: float(f"{value:.4g}") for name, value in found.items()},
    }
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
