"""Several servers that share a store, behind haproxy with the settings that are shipped: one may die, and be replaced."""

import socket
import threading
from contextlib import contextmanager

import httpx
import pytest
from replicas import Load, Proxy, Replica, skip_without_haproxy
from serving import until

from late_rerank.testing.fakes import FakeEncoder

skip_without_haproxy()

# More than haproxy's default buffer of 16 KiB, as a rerank of real passages has.
DOCUMENTS = [f"Passage {i} says that {'cats sleep and rivers run ' * 20}" for i in range(40)]


def asked(url, client=httpx, query="when do cats sleep"):
    return client.post(f"{url}/rerank", json={"query": query, "documents": DOCUMENTS}, timeout=90).status_code


@contextmanager
def dying():
    """A server that says it is ready, and closes the connection of each POST without an answer, as one that is killed does."""
    listening = socket.create_server(("127.0.0.1", 0))
    died = []

    def serve(connection):
        with connection:
            begun = connection.recv(65536)
            if begun.startswith(b"GET"):
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            elif begun:
                wanted = int(begun.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                got = len(begun.partition(b"\r\n\r\n")[2])
                while got < wanted and (more := connection.recv(65536)):
                    got += len(more)
                died.append(got)

    def accept():
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield listening.getsockname()[1], died
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        thread.join(10)


class TestARequestWhoseServerDies:
    @pytest.mark.parametrize("default_buffers", [False, True], ids=["as shipped", "with haproxy's own buffers"])
    def test_is_asked_of_another_if_its_body_fits_the_buffer(self, served, tmp_path, default_buffers):
        url = served(FakeEncoder(), hosts=())  # as a server on this machine: the check of haproxy has no Host
        port = httpx.URL(url).port
        with dying() as (dies, died), Proxy(tmp_path, [dies, port], default_buffers=default_buffers) as proxy:
            proxy.wait(2)
            statuses = [asked(proxy.url) for _ in range(4)]
        assert died, "no request reached the server that dies"
        assert (statuses == [200] * 4) is not default_buffers


@pytest.mark.slow("four starts of a server under load, 20 s")
class TestTwoServers:
    def test_one_is_killed_and_one_is_replaced_and_no_request_fails(self, minilm, tmp_path):
        options = ("--backend", "onnx", "--store", tmp_path / "store")
        with (
            Replica(tmp_path / "first.log", *options) as first,
            Replica(tmp_path / "second.log", *options) as second,
            Proxy(tmp_path, [first.port, second.port]) as proxy,
        ):
            proxy.wait(2)
            assert asked(proxy.url) == 200
            with Load(lambda client, i: asked(proxy.url, client, f"question {i}")) as load:
                until(lambda: len(load.answers) >= 50, "no answers")
                first.kill()
                proxy.wait(1)
                first.start()
                first.wait()
                proxy.wait(2)
                second.end()
                proxy.wait(1)
                second.start()
                second.wait()
                proxy.wait(2)
                until(lambda: len(load.answers) >= 300, "no more answers")
            assert load.failed == []
            assert second.process.poll() is None
