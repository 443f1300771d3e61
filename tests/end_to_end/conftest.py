"""Servers and stores that several tests share."""

from contextlib import ExitStack
from threading import Event

import pytest
from postgres_servers import PostgresServer, fresh_schema, skip_without_postgres
from redis_servers import RedisServer, fresh_prefix, skip_without_redis


@pytest.fixture(scope="module")
def lasting(tmp_path_factory):
    """A server for tests that leave it as it is."""
    skip_without_redis()
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def server(tmp_path):
    """A server to be killed."""
    skip_without_redis()
    # "always": else what was acknowledged in the second before a kill may be lost.
    with RedisServer(tmp_path / "redis", "--appendonly", "yes", "--appendfsync", "always") as started:
        yield started


@pytest.fixture
def opened():
    """RedisStore, closed at the end."""
    from late_rerank.stores import RedisStore

    stores = []

    def open_store(url, **options):
        options = {"prefix": fresh_prefix(), "timeout_s": 10, "pause_s": 0.1} | options
        stores.append(RedisStore(url, **options))
        return stores[-1]

    yield open_store
    for store in stores:
        store.close()


@pytest.fixture(scope="module")
def postgres():
    """A Postgres server for tests that leave it running."""
    skip_without_postgres()
    with PostgresServer() as server:
        yield server


@pytest.fixture(scope="module")
def _mortal():
    skip_without_postgres()
    with PostgresServer() as server:
        yield server


@pytest.fixture
def mortal(_mortal):
    """A Postgres server to be killed; it is started again for the next test."""
    if _mortal.running.poll() is not None:
        _mortal.start()
    return _mortal


@pytest.fixture
def in_postgres():
    """PostgresStore, closed at the end."""
    from late_rerank.stores import PostgresStore

    stores = []

    def open_store(url, **options):
        options = {"schema": fresh_schema(), "timeout_s": 10, "write_timeout_s": 30, "pause_s": 0.1} | options
        stores.append(PostgresStore(url, **options))
        return stores[-1]

    yield open_store
    for store in stores:
        store.close()


@pytest.fixture
def addresses(monkeypatch):
    """What name servers answer: host -> addresses. "slow.example" isn't answered before the test ends."""
    import socket

    known, look_up, ended = {}, socket.getaddrinfo, Event()

    def answered(host, port, *args, **options):
        if host == "slow.example":
            ended.wait()
        if host not in known:
            return look_up(host, port, *args, **options)
        return [found for address in known[host] for found in look_up(address, port, *args, **options)]

    monkeypatch.setattr(socket, "getaddrinfo", answered)
    yield known
    ended.set()


@pytest.fixture(scope="session")
def expected():
    """QUERY's ranking of DOCUMENTS by a FakeEncoder: index and relevance, best first."""
    from serving import DOCUMENTS, QUERY

    from late_rerank import Reranker
    from late_rerank.testing.fakes import FakeEncoder

    return [(document.index, document.relevance) for document in Reranker(FakeEncoder()).rerank(QUERY, DOCUMENTS)]


@pytest.fixture
def served():
    """Serves a Reranker in a thread: with an encoder (FakeEncoder unless given), and with settings; gives the URL."""
    from serving import running

    from late_rerank import Reranker
    from late_rerank.serve.app import create_app
    from late_rerank.serve.settings import Settings
    from late_rerank.testing.fakes import FakeEncoder

    with ExitStack() as stack:
        yield lambda encoder=None, **settings: stack.enter_context(
            running(create_app(lambda: Reranker(encoder or FakeEncoder()), Settings(**settings)))
        )
