"""Several servers behind a real haproxy with the settings that are shipped, and clients that go on asking."""

import itertools
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from ports import lasting_port
from serving import until, wait_until_ready

SHIPPED = Path(__file__).parents[1] / "late_rerank" / "serve" / "deploy" / "haproxy.cfg"
_NO_BUFFER = "tune.bufsize"


def skip_without_haproxy():
    if shutil.which("haproxy") is None:
        pytest.skip("needs haproxy: apt-get install haproxy", allow_module_level=True)


class Replica:
    """`late-rerank serve` on a port of its own, to be killed, ended and started again."""

    def __init__(self, log, *options):
        self.port = lasting_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._log, self._options = log, options
        self.start()

    def start(self):
        command = [sys.executable, "-m", "late_rerank", "serve", "--port", str(self.port), *map(str, self._options)]
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)

    def wait(self):
        try:
            wait_until_ready(self.url, self.process)
        except AssertionError as error:
            raise AssertionError(f"{error}: {self._log.read_text()[-2000:]}") from None

    def kill(self):
        self.process.kill()
        self.process.wait()

    def end(self):
        """Ask it to end, and wait until it has."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(90)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        if self.process.poll() is None:
            self.kill()


def proxy_config(port, ports, admin, *, default_buffers=False):
    """The shipped settings, with these servers in the place of those that Docker's DNS names."""
    lines = []
    for line in SHIPPED.read_text(encoding="utf-8").splitlines():
        if line.strip().startswith("server-template"):
            lines += [f"    server replica{i} 127.0.0.1:{each}" for i, each in enumerate(ports)]
        elif line.strip().startswith("bind "):
            lines.append(f"    bind 127.0.0.1:{port}")
        elif line == "global":
            lines += [line, f"    stats socket {admin} mode 600 level admin"]
        elif not (default_buffers and line.strip().startswith(_NO_BUFFER)):
            lines.append(line)
    return "\n".join(lines) + "\n"


class Proxy:
    """haproxy before servers on these ports of this machine."""

    def __init__(self, folder, ports, *, default_buffers=False):
        self.port = lasting_port()
        self.url = f"http://127.0.0.1:{self.port}"
        # The path of a socket may have 107 characters.
        self._admin = f"/tmp/late-rerank-proxy-{self.port}.sock"
        settings = folder / "haproxy.cfg"
        settings.write_text(proxy_config(self.port, ports, self._admin, default_buffers=default_buffers), encoding="utf-8")
        self.log = folder / "haproxy.log"
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(["haproxy", "-db", "-f", str(settings)], stdout=log, stderr=log)

    def states(self):
        """What haproxy holds of each server: UP, DOWN, and what is between."""
        with socket.socket(socket.AF_UNIX) as admin:
            try:
                admin.connect(self._admin)
            except OSError:
                return []
            admin.sendall(b"show stat\n")
            said = b"".join(iter(lambda: admin.recv(65536), b"")).decode()
        names, *rows = (line.split(",") for line in said.splitlines() if line)
        state = names.index("status")
        return [row[state] for row in rows if row[0] == "replicas" and row[1] not in ("BACKEND", "FRONTEND")]

    def wait(self, n_up):
        """Until haproxy holds so many servers for ready."""

        def is_so():
            assert self._process.poll() is None, self.log.read_text()
            return self.states().count("UP") == n_up

        until(is_so, "haproxy doesn't see the servers as they are", seconds=90)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self._process.kill()
        self._process.wait()
        Path(self._admin).unlink(missing_ok=True)


class Load:
    """Clients that go on asking until they are told to end, and note what became of each request.

    Args:
        ask: Sends request number i with a client; gives the status.
        n_clients: At once.
        rate: Requests a second, whether answers come or not; None for the next request after each answer.
    """

    def __init__(self, ask: Callable[[httpx.Client, int], int], *, n_clients=4, rate=None):
        self.answers = []  # (seconds since the start, milliseconds, status or the error's name)
        self._ask, self._rate = ask, rate
        self._numbers = itertools.count()
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._go_on) for _ in range(n_clients)]

    @property
    def failed(self):
        return [answer for answer in self.answers if answer[2] != 200]

    def _go_on(self):
        with httpx.Client(timeout=90) as client:
            while not self._stop.is_set():
                number = next(self._numbers)
                due = time.perf_counter()
                if self._rate is not None:
                    due = self.began + number / self._rate
                    self._stop.wait(max(0.0, due - time.perf_counter()))
                try:
                    came_of = self._ask(client, number)
                except httpx.HTTPError as error:
                    came_of = type(error).__name__
                self.answers.append((due - self.began, (time.perf_counter() - due) * 1000, came_of))

    def __enter__(self):
        self.began = time.perf_counter()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc):
        self._stop.set()
        for thread in self._threads:
            thread.join(120)
