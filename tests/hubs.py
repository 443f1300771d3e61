"""A hub on this machine: its cache as the client leaves it, and a small server that the client asks."""

import hashlib
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit


def cached(cache, name, revisions, refs):
    """Put snapshots of a model into the hub's cache.

    Args:
        cache: The folder of HF_HUB_CACHE.
        name: owner/name.
        revisions: A commit's 40 digits -> a folder, whose files are linked to as the client does.
        refs: A branch or a tag -> a commit.
    """
    home = cache / f"models--{name.replace('/', '--')}"
    for commit, folder in revisions.items():
        for file in sorted(path for path in folder.rglob("*") if path.is_file()):
            blob = home / "blobs" / hashlib.sha256(file.read_bytes()).hexdigest()
            blob.parent.mkdir(parents=True, exist_ok=True)
            blob.write_bytes(file.read_bytes())
            link = home / "snapshots" / commit / file.relative_to(folder)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(blob)
    for ref, commit in refs.items():
        (home / "refs" / ref).parent.mkdir(parents=True, exist_ok=True)
        (home / "refs" / ref).write_text(commit)


class _Handler(BaseHTTPRequestHandler):
    """Answers what the hub's client asks of a model; the server holds `name`, `revisions`, `refs` and `asked`."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.server.asked.append(self.path)
        path, name = unquote(urlsplit(self.path).path), self.server.name
        for start, answer in (
            (f"/api/models/{name}/revision/", self.told),
            (f"/api/models/{name}/tree/", self.listed),
            (f"/{name}/resolve/", self.sent),
        ):
            if path.startswith(start):
                return answer(path.removeprefix(start))
        return self.refused("RepoNotFound")

    def do_HEAD(self):
        self.do_GET()

    def told(self, revision):
        commit = self.server.refs.get(revision, revision)
        if commit not in self.server.revisions:
            return self.refused("RevisionNotFound")
        told = {"id": self.server.name, "modelId": self.server.name, "sha": commit, "siblings": []}
        return self.answer(json.dumps(told).encode())

    def listed(self, commit):
        folder = self.server.revisions[commit]
        files = [path for path in folder.rglob("*") if path.is_file()]
        found = [
            {
                "type": "file",
                "path": str(file.relative_to(folder)),
                "size": file.stat().st_size,
                "oid": _digest(file.read_bytes()),
            }
            for file in files
        ]
        return self.answer(json.dumps(found).encode())

    def sent(self, asked_for):
        commit, _, file = asked_for.partition("/")
        content = (self.server.revisions[commit] / file).read_bytes()
        return self.answer(content, {"X-Repo-Commit": commit, "ETag": f'"{_digest(content)}"'})

    def refused(self, code):
        self.send_response(404)
        self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def answer(self, content, headers=None):
        self.send_response(200)
        for header, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
            self.send_header(header, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    def log_message(self, *_):
        pass


@contextmanager
def serving_hub(name, revisions, refs):
    """Run a hub that holds one model, as in `cached`; give its URL and the list of paths that it was asked for."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.name, server.revisions, server.refs, server.asked = name, revisions, refs, []
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", server.asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _digest(content):
    return hashlib.sha1(content, usedforsecurity=False).hexdigest()
