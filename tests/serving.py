"""Servers on loopback, for tests: in a thread of this process, or in processes of their own; and what clients ask them."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import httpx
import uvicorn

# What most tests ask: the answer stands in the middle. `expected` in end_to_end/conftest.py is what a FakeEncoder makes of it.
QUERY = "when do cats sleep"
DOCUMENTS = ["rivers run to the sea", "cats sleep all day", "dogs bark at night and sleep by day"]
# Of servers that have keys.
KEY = "a-key-of-ours"


@contextmanager
def running(app, **more):
    """A server in a thread; gives its URL."""
    given = {"host": "127.0.0.1", "port": 0, "log_level": "warning", "timeout_graceful_shutdown": 10, **more}
    server = uvicorn.Server(uvicorn.Config(app, **given))
    sockets = [socket.create_server(("127.0.0.1", 0))]
    url = f"http://127.0.0.1:{sockets[0].getsockname()[1]}"
    thread = threading.Thread(target=server.run, args=(sockets,))
    thread.start()
    try:
        wait_until_ready(url)
        yield url
    finally:
        server.should_exit = True
        thread.join(30)
        sockets[0].close()
        assert not thread.is_alive(), "the server didn't end"


@contextmanager
def serving(*options, env=None, **more):
    """`late-rerank serve` in a process of its own; gives its URL and the process."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "late_rerank", "serve", "--port", str(port), *map(str, options)]
    process = subprocess.Popen(
        command,
        env={**os.environ, **(env or {})},
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        **more,
    )
    log = []
    reader = threading.Thread(target=lambda: log.extend(process.stderr), daemon=True)
    reader.start()
    try:
        wait_until_ready(f"http://127.0.0.1:{port}", process, log)
        yield f"http://127.0.0.1:{port}", process, log
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(10)
            raise
        reader.join(5)
        process.stdout.close()
        process.stderr.close()


def wait_until_ready(url, process=None, log=(), seconds=240):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert process is None or process.poll() is None, "".join(log)
        try:
            if httpx.get(f"{url}/ready", timeout=5).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.05)
    raise AssertionError("the server didn't get ready")


def until(happens, otherwise, seconds=60):
    """Wait until something happens; fail with `otherwise` if it doesn't in time."""
    end = time.monotonic() + seconds
    while not happens():
        assert time.monotonic() < end, otherwise
        time.sleep(0.02)


def counts(url, **headers):
    """Name with labels -> value, of /metrics."""
    lines = httpx.get(f"{url}/metrics", headers=headers, timeout=60).text.splitlines()
    found = (re.fullmatch(r"([^#]\S*) (\S+)", line) for line in lines)
    return {match[1]: float(match[2]) for match in found if match}


def memory_mb(pids):
    """What processes have for themselves: mapped files are shared. Linux."""
    total = 0
    for pid in pids:
        resident, shared = Path(f"/proc/{pid}/statm").read_text().split()[1:3]
        total += (int(resident) - int(shared)) * os.sysconf("SC_PAGE_SIZE")
    return total / 1e6
