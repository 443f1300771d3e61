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


@contextmanager
def serving_hub(name, revisions, refs):
    """Run a hub that holds one model; give its URL and the list of paths that it was asked for."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            asked.append(self.path)
            path = unquote(urlsplit(self.path).path)
            for start, answer in (
                (f"/api/models/{name}/revision/", self.told),
                (f"/api/models/{name}/tree/", self.listed),
                (f"/{name}/resolve/", self.sent),
            ):
                if path.startswith(start):
                    return answer(path.removeprefix(start))
            return self.refused("RepoNotFound")

        do_HEAD = do_GET

        def told(self, revision):
            commit = refs.get(revision, revision)
            if commit not in revisions:
                return self.refused("RevisionNotFound")
            return self.answer(json.dumps({"id": name, "modelId": name, "sha": commit, "siblings": []}).encode())

        def listed(self, commit):
            files = [path for path in revisions[commit].rglob("*") if path.is_file()]
            entries = [
                {
                    "type": "file",
                    "path": str(file.relative_to(revisions[commit])),
                    "size": file.stat().st_size,
                    "oid": hashlib.sha1(file.read_bytes(), usedforsecurity=False).hexdigest(),
                }
                for file in files
            ]
            return self.answer(json.dumps(entries).encode())

        def sent(self, asked_for):
            commit, _, file = asked_for.partition("/")
            content = (revisions[commit] / file).read_bytes()
            digest = hashlib.sha1(content, usedforsecurity=False).hexdigest()
            return self.answer(content, {"X-Repo-Commit": commit, "ETag": f'"{digest}"'})

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

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
