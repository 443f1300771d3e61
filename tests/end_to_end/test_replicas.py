"""Several servers that share a store, behind haproxy with the settings that are shipped: one may die, and be replaced."""

import socket
import threading
from contextlib import contextmanager

import httpx
import pytest
from replicas import Load, Proxy, Replica, skip_without_haproxy
from serving import counts, until

from late_rerank.serve.limits import Limits
from late_rerank.testing.fakes import FakeEncoder

skip_without_haproxy()

# More than haproxy's default buffer of 16 KiB, as a rerank of real passages has.
DOCUMENTS = [f"Passage {i} says that {'cats sleep and rivers run ' * 20}" for i in range(40)]

OF_RERANKS = 'late_rerank_requests_total{endpoint="/rerank"'


def asked(url, client=httpx, query="when do cats sleep"):
    return client.post(f"{url}/rerank", json={"query": query, "documents": DOCUMENTS}, timeout=90).status_code


@contextmanager
def refusing(answer=b""):
    """A server that says it is ready, and answers each POST so; by default not at all, as one that is killed."""
    listening = socket.create_server(("127.0.0.1", 0))
    refused = []

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
                refused.append(got)
                connection.sendall(answer)

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
        yield listening.getsockname()[1], refused
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        thread.join(10)


class TestARequestWhoseServerDies:
    @pytest.mark.parametrize("default_buffers", [False, True], ids=["as shipped", "with haproxy's own buffers"])
    def test_is_asked_of_another_if_its_body_fits_the_buffer(self, served, tmp_path, default_buffers):
        url = served(FakeEncoder(), hosts=())  # as a server on this machine: the check of haproxy has no Host
        port = httpx.URL(url).port
        with refusing() as (dies, died), Proxy(tmp_path, [dies, port], default_buffers=default_buffers) as proxy:
            proxy.wait(2)
            statuses = [asked(proxy.url) for _ in range(4)]
        assert died, "no request reached the server that dies"
        assert (statuses == [200] * 4) is not default_buffers


def test_a_request_is_asked_of_another_server_if_the_first_says_that_it_is_not_ready(served, tmp_path):
    port = httpx.URL(served(FakeEncoder(), hosts=())).port
    busy = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    with refusing(busy) as (refuses, refused), Proxy(tmp_path, [refuses, port]) as proxy:
        proxy.wait(2)
        statuses = [asked(proxy.url) for _ in range(4)]
    assert refused, "no request reached the server that refuses"
    assert statuses == [200] * 4


def test_a_request_that_takes_too_long_is_run_by_one_server_alone(served, tmp_path):
    may_encode = threading.Event()
    encoders = [FakeEncoder(before_document=lambda _: may_encode.wait()) for _ in range(2)]
    urls = [served(encoder, hosts=(), limits=Limits(timeout_s=0.3)) for encoder in encoders]
    try:
        with Proxy(tmp_path, [httpx.URL(url).port for url in urls]) as proxy:
            proxy.wait(2)
            status = asked(proxy.url)
        ranked = [n for url in urls for name, n in counts(url).items() if name.startswith(OF_RERANKS)]
    finally:
        may_encode.set()
    assert (status, sum(ranked)) == (504, 1)


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
