"""Real Redis servers on this machine's loopback, started and killed by tests."""

import shutil
import signal
import socket
import subprocess
import time
import uuid
from contextlib import ExitStack, contextmanager
from importlib import util

import pytest
from ports import lasting_port


def skip_without_redis():
    for command in ("redis-server", "redis-cli"):
        if shutil.which(command) is None:
            pytest.skip(f"needs {command}: apt-get install redis-server", allow_module_level=True)
    if util.find_spec("redis") is None:
        pytest.skip('needs the package redis: pip install "late-rerank[redis]"', allow_module_level=True)


def fresh_prefix():
    return f"test-{uuid.uuid4().hex[:12]}"


class RedisServer:
    """One server, in the foreground: its end is this process's to see."""

    def __init__(self, folder, *options, tls=False):
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.options, self.tls = folder, options, tls
        self.port = lasting_port(10000)  # the second is the cluster's
        self.url = f"redis://127.0.0.1:{self.port}"
        self.start()

    def start(self):
        ports = ["--port", "0", "--tls-port", str(self.port)] if self.tls else ["--port", str(self.port)]
        command = ["redis-server", *ports, "--bind", "127.0.0.1", "--dir", str(self.folder), "--save", "", *self.options]
        with (self.folder / "log").open("ab") as log:
            self.running = subprocess.Popen(command, stdout=log, stderr=log)
        self._wait()

    def _wait(self):
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and self.running.poll() is None:
            if self._answers():
                return
            time.sleep(0.01)
        self.kill()
        raise RuntimeError((self.folder / "log").read_text())

    def _answers(self):
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1) as connection:
                if self.tls:
                    return True
                connection.sendall(b"PING\r\n")
                return b"LOADING" not in connection.recv(100)  # -NOAUTH will do
        except OSError:
            return False

    def kill(self):
        self.running.kill()
        self.running.wait()

    @contextmanager
    def hanging(self):
        self.running.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.running.send_signal(signal.SIGCONT)

    def cli(self, *arguments):
        command = ["redis-cli", "-p", str(self.port), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.kill()


@contextmanager
def cluster(folder, *options):
    """Three servers that share the slots."""
    options = ("--cluster-enabled", "yes", "--cluster-node-timeout", "10000", *options)
    with ExitStack() as stack:
        servers = [stack.enter_context(RedisServer(folder / str(i), *options)) for i in range(3)]
        addresses = [f"127.0.0.1:{server.port}" for server in servers]
        create = ["redis-cli", "--cluster", "create", *addresses, "--cluster-yes"]
        subprocess.run(create, capture_output=True, check=True, timeout=120)
        while not all("cluster_state:ok" in server.cli("CLUSTER", "INFO") for server in servers):
            time.sleep(0.05)
        yield servers
