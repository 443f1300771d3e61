"""Connections that say nothing, too little or too much before a request has begun."""

import socket
import time

import httpx
import pytest
from serving import running

from late_rerank import Reranker
from late_rerank.serve import connections
from late_rerank.serve.app import create_app
from late_rerank.testing.fakes import FakeEncoder

BODY = b'{"query": "cats", "documents": ["cats sleep", "dogs bark"]}'
HEAD = b"POST /rerank HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(BODY)
LIMIT_S = 0.5


@pytest.fixture
def url(monkeypatch):
    monkeypatch.setattr(connections, "HEAD_TIMEOUT_S", LIMIT_S)
    with running(create_app(lambda: Reranker(FakeEncoder())), http=connections.TimedHttp, ws="none") as url:
        yield url


@pytest.fixture
def connection(url):
    with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), timeout=60) as connection:
        yield connection


def is_ended(connection):
    """Whether the server ends it; uvicorn would keep it for ever."""
    connection.settimeout(60)
    try:
        while connection.recv(65536):
            pass
    except TimeoutError:
        return False
    except ConnectionResetError:
        pass
    return True


@pytest.mark.parametrize("said", [b"", b"POST /rerank HT", HEAD[:-2]], ids=["nothing", "a word", "no end of the headers"])
def test_a_head_that_does_not_come_is_not_waited_for(connection, said):
    connection.sendall(said)
    assert is_ended(connection)


def test_nor_is_that_of_a_second_request(connection):
    connection.sendall(HEAD + BODY)
    assert b" 200 OK" in connection.recv(65536)
    connection.sendall(HEAD[:40])
    assert is_ended(connection)


def test_a_head_without_bounds_is_refused(connection, monkeypatch):
    monkeypatch.setattr(connections, "HEAD_TIMEOUT_S", 60)
    connection.sendall(HEAD[:-2])
    n = 0
    try:
        while n < 100 * 2**20:
            connection.sendall(b"X-More: " + b"x" * 8000 + b"\r\n")
            n += 8000
    except (ConnectionResetError, BrokenPipeError):
        pass
    assert n < 10 * 2**20


def test_a_body_may_take_longer_than_a_head(connection):
    connection.sendall(HEAD)
    for i in range(0, len(BODY), 16):
        time.sleep(LIMIT_S / 3)
        connection.sendall(BODY[i : i + 16])
    assert b" 200 OK" in connection.recv(65536)


def test_a_connection_may_be_idle_between_requests(url):
    with httpx.Client() as client:
        for _ in range(3):
            assert client.post(f"{url}/rerank", content=BODY, headers={"content-type": "application/json"}).status_code == 200
            stream = client._transport._pool.connections[0]
            time.sleep(LIMIT_S * 1.5)
            assert client._transport._pool.connections[0] is stream
