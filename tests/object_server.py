"""An S3 server of our own, in memory, that misbehaves when it is told to. It knows as much of S3 as stores need.

`python tests/object_server.py DELAY_MS` serves until it is killed, and prints its port.
"""

import asyncio
import hashlib
import json
import random
import re
import sys
import threading
import urllib.parse
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from functools import cached_property
from xml.sax.saxutils import escape

BUCKET = "bucket"
ENVIRONMENT = {
    "AWS_ALLOW_HTTP": "true",
    "AWS_ACCESS_KEY_ID": "somebody",
    "AWS_SECRET_ACCESS_KEY": "a-secret-key",
    "AWS_REGION": "us-east-1",
}


@dataclass
class Habits:
    """How the server misbehaves. Each is off at first.

    Attributes:
        delay_s: Seconds before each answer; log-normal around it.
        ignores_conditions: Puts overwrite although they must not.
        conflicts: So many conditional puts get 409 first.
        fail: (method, name) -> an HTTP status instead of an answer, or None.
        hangs: (method, name) -> whether the connection is left without an answer.
        cut: (name) -> whether the body ends early, though the header gives its whole length.
        shorten: (name) -> whether the answer is shorter than asked, header and body.
        damage: (name, bytes) -> the bytes to send.
        frozen_list: Names that listings show, whatever is there; None for the truth.
        loses_answer: So many puts are done, and then get 500.
        said: What the body of a failure is.
    """

    delay_s: float = 0.0
    ignores_conditions: bool = False
    conflicts: int = 0
    fail: object = lambda method, name: None
    hangs: object = lambda method, name: False
    cut: object = lambda name: False
    shorten: object = lambda name: False
    damage: object = lambda name, raw: raw
    frozen_list: object = None
    loses_answer: int = 0
    said: bytes = b"<Error><Code>Simulated</Code></Error>"


@dataclass
class Kept:
    raw: bytes
    modified: datetime = field(default_factory=lambda: datetime.now(timezone.utc))

    @cached_property
    def tag(self):
        return hashlib.md5(self.raw, usedforsecurity=False).hexdigest()


class ObjectServer:
    """Objects of one bucket, by name. Other threads may look and change while it serves.

    Attributes:
        objects: Name -> Kept.
        habits: How it misbehaves.
        counts: Requests by method, and "bytes" that were sent.
        most_at_once: The most requests that were being answered.
    """

    def __init__(self):
        self.objects = {}
        self.habits = Habits()
        self.counts = Counter()
        self._uploads = {}
        self._random = random.Random(1)
        self.port = 0
        self.most_at_once = self._now = 0

    @property
    def environment(self):
        """What a client needs in its environment."""
        return ENVIRONMENT | {"AWS_ENDPOINT": f"http://127.0.0.1:{self.port}", "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}

    def age(self, **ago):
        """Make every object older."""
        for kept in self.objects.values():
            kept.modified -= timedelta(**ago)

    @contextmanager
    def serving(self):
        """Serve in a thread of this process."""
        loop = asyncio.new_event_loop()
        server = loop.run_until_complete(self.listen())
        thread = threading.Thread(target=loop.run_forever, daemon=True)
        thread.start()
        try:
            yield self
        finally:

            def stop():
                server.close()
                for task in asyncio.all_tasks(loop):
                    task.cancel()
                loop.call_soon(loop.stop)

            loop.call_soon_threadsafe(stop)
            thread.join(60)
            loop.run_until_complete(asyncio.sleep(0))
            loop.close()

    async def listen(self):
        server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, limit=2**20, backlog=1024)
        self.port = server.sockets[0].getsockname()[1]
        return server

    async def _serve(self, reader, writer):
        try:
            while await self._answer_one(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    async def _answer_one(self, reader, writer):
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        method, target, _ = head[0].split(" ")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        path, _, query = target.partition("?")
        name = urllib.parse.unquote(path).removeprefix(f"/{BUCKET}").removeprefix("/")
        if name.startswith("_delay/"):  # of a server in another process
            self.habits.delay_s = float(name.removeprefix("_delay/")) / 1000
            name = "_delay"
        if name == "_counts":
            raw, self.counts = json.dumps(self.counts).encode(), Counter(GET=0, bytes=0)
            writer.write(f"HTTP/1.1 200 Said\r\nContent-Length: {len(raw)}\r\n\r\n".encode() + raw)
            return True
        self.counts[method] += 1
        self._now += 1
        self.most_at_once = max(self.most_at_once, self._now)
        try:
            return await self._answer(method, name, query, headers, body, writer)
        finally:
            self._now -= 1

    async def _answer(self, method, name, query, headers, body, writer):
        if self.habits.delay_s:
            await asyncio.sleep(self.habits.delay_s * self._random.lognormvariate(0, 0.35))
        if self.habits.hangs(method, name):
            await asyncio.sleep(3600)
        status = self.habits.fail(method, name)
        if status is None:
            status, more, raw = self._do(
                method, name, dict(urllib.parse.parse_qsl(query, keep_blank_values=True)), headers, body
            )
        else:
            more, raw = {}, self.habits.said
        sent = raw[: len(raw) // 2] if method == "GET" and status < 300 and self.habits.cut(name) else raw
        length = more.pop("Content-Length", len(raw))
        lines = [f"HTTP/1.1 {status} Said", f"Content-Length: {length}", *(f"{key}: {value}" for key, value in more.items())]
        writer.write("\r\n".join([*lines, "", ""]).encode() + (b"" if method == "HEAD" else sent))
        await writer.drain()
        self.counts["bytes"] += len(sent)
        return len(sent) == len(raw)

    def _do(self, method, name, query, headers, body):
        if method == "GET" and "list-type" in query:
            return self._list(query)
        if method == "POST" and "delete" in query:
            keys = re.findall(r"<Key>([^<]*)</Key>", body.decode())
            for key in keys:
                self.objects.pop(key, None)
            deleted = "".join(f"<Deleted><Key>{key}</Key></Deleted>" for key in keys)
            return 200, {}, f"<DeleteResult>{deleted}</DeleteResult>".encode()
        if "uploads" in query or "uploadId" in query:
            return self._multipart(method, name, query, body)
        if method == "PUT":
            return self._put(name, headers, body)
        if method == "DELETE":
            self.objects.pop(name, None)
            return 204, {}, b""
        return self._get(method, name, headers)

    def _get(self, method, name, headers):
        kept = self.objects.get(name)
        if kept is None:
            return 404, {}, b"" if method == "HEAD" else b"<Error><Code>NoSuchKey</Code></Error>"
        raw = self.habits.damage(name, kept.raw)
        more = {
            "ETag": f'"{kept.tag}"',
            "Last-Modified": kept.modified.strftime("%a, %d %b %Y %H:%M:%S GMT"),
        }
        wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", headers.get("range", ""))
        if wanted is None:
            return 200, more | {"Content-Length": len(raw)}, raw
        start, end = int(wanted[1]), min(int(wanted[2]) + 1, len(raw))
        if self.habits.shorten(name):
            end = start + max(1, (end - start) // 2)
        if start >= end:
            return 416, {}, b"<Error><Code>InvalidRange</Code></Error>"
        return 206, more | {"Content-Range": f"bytes {start}-{end - 1}/{len(raw)}"}, raw[start:end]

    def _put(self, name, headers, body):
        if headers.get("if-none-match") == "*" and not self.habits.ignores_conditions:
            if self.habits.conflicts:
                self.habits.conflicts -= 1
                return 409, {}, b"<Error><Code>ConditionalRequestConflict</Code></Error>"
            if name in self.objects:
                return 412, {}, b"<Error><Code>PreconditionFailed</Code></Error>"
        self.objects[name] = kept = Kept(body)
        if self.habits.loses_answer:
            self.habits.loses_answer -= 1
            return 500, {}, b"<Error><Code>InternalError</Code></Error>"
        return 200, {"ETag": f'"{kept.tag}"'}, b""

    def _multipart(self, method, name, query, body):
        if "uploads" in query:
            number = str(len(self._uploads) + 1)
            self._uploads[number] = {}
            return (
                200,
                {},
                f"<InitiateMultipartUploadResult><UploadId>{number}</UploadId></InitiateMultipartUploadResult>".encode(),
            )
        parts = self._uploads[query["uploadId"]]
        if method == "PUT":
            parts[int(query["partNumber"])] = body
            return 200, {"ETag": f'"{hashlib.md5(body, usedforsecurity=False).hexdigest()}"'}, b""
        if method == "POST":
            self.objects[name] = kept = Kept(b"".join(parts[number] for number in sorted(parts)))
            return 200, {}, f'<CompleteMultipartUploadResult><ETag>"{kept.tag}"</ETag></CompleteMultipartUploadResult>'.encode()
        del self._uploads[query["uploadId"]]
        return 204, {}, b""

    def _list(self, query):
        names = sorted(self.objects if self.habits.frozen_list is None else self.habits.frozen_list)
        after = query.get("continuation-token", query.get("start-after", ""))
        names = [name for name in names if name.startswith(query.get("prefix", "")) and name > after and name in self.objects]
        shown, more = names[:1000], names[1000:]
        found = "".join(
            f"<Contents><Key>{escape(name)}</Key><LastModified>{self.objects[name].modified.strftime('%Y-%m-%dT%H:%M:%S.000Z')}"
            f'</LastModified><ETag>"{self.objects[name].tag}"</ETag><Size>{len(self.objects[name].raw)}</Size></Contents>'
            for name in shown
        )
        token = f"<NextContinuationToken>{escape(shown[-1])}</NextContinuationToken>" if more else ""
        head = f"<KeyCount>{len(shown)}</KeyCount><IsTruncated>{'true' if more else 'false'}</IsTruncated>"
        return 200, {}, f"<ListBucketResult>{head}{token}{found}</ListBucketResult>".encode()


async def _main(delay_ms):
    served = ObjectServer()
    server = await served.listen()
    served.habits.delay_s = delay_ms / 1000
    print(served.port, flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_main(float(sys.argv[1])))
