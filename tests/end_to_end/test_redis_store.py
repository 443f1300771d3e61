"""A reranker whose store is a real Redis server that is killed, hangs, forgets, refuses, lies. A query never fails of it."""

import socket
import subprocess
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from importlib import import_module
from shutil import which
from threading import Thread

import pytest
from redis_queries import QUERY, TEXTS, hits, until, used_again
from redis_servers import RedisServer, cluster, skip_without_redis

from late_rerank import Reranker
from late_rerank.errors import StoreConnectionError
from late_rerank.testing.fakes import FakeEncoder
from late_rerank.testing.stores import SPEC, keys
from late_rerank.testing.vectors import random_packed, same_documents

skip_without_redis()


class FailsWhileEncoding(FakeEncoder):
    """Does something between a query's get and its put."""

    def __init__(self, deed):
        super().__init__()
        self.deed = deed

    def encode_document(self, texts):
        self.deed()
        return super().encode_document(texts)


@pytest.fixture
def tried(monkeypatch):
    """The names of the servers that were sent commands together, a list each time."""
    connections = import_module("late_rerank.stores.redis.connections")
    times, once = [], connections._once
    monkeypatch.setattr(connections, "_once", lambda to, timeout_s: times.append([n.name for n in to]) or once(to, timeout_s))
    return times


@pytest.fixture
def waits(monkeypatch):
    """(what, port, seconds at most) of each wait for a server, in order: to "connect", or for a "reply"."""
    connection_class = import_module("redis").Connection
    done, connect, can_read = [], connection_class.connect, connection_class.can_read

    def connect_noted(connection):
        if not connection.is_connected:
            done.append(("connect", connection.port, connection.socket_timeout))
        connect(connection)

    def can_read_noted(connection, timeout=0):
        if timeout:  # else it is only looked whether the server has hung up
            done.append(("reply", connection.port, timeout))
        return can_read(connection, timeout)

    monkeypatch.setattr(connection_class, "connect", connect_noted)
    monkeypatch.setattr(connection_class, "can_read", can_read_noted)
    return done


class TestServerThatFails:
    def test_one_that_is_down_from_the_start_costs_no_query(self, server, opened):
        server.kill()
        reranker = Reranker(FakeEncoder(), store=opened(server.url))

        with pytest.warns(RuntimeWarning, match=r"did not answer.*refused.*Is it running.*encoded again"):
            assert hits(reranker) == 0
        assert hits(reranker) == 0  # a second warning would be an error here

        counts = reranker.store.stats()
        assert (counts["n_unreachable"], counts["n_not_stored"]) == (40, 40)
        assert counts["n_documents"] == counts["size_bytes"] == len(reranker.store.space("a", SPEC)) == 0
        assert "refused" in counts["last_error"]

    def test_one_that_comes_up_later_is_used(self, server, opened):
        server.kill()
        reranker = Reranker(FakeEncoder(), store=opened(server.url))
        with pytest.warns(RuntimeWarning):
            hits(reranker)
        server.start()

        assert used_again(reranker)

    def test_killed_between_get_and_put(self, server, opened):
        store = opened(server.url)
        reranker = Reranker(FailsWhileEncoding(server.kill), store=store)

        with pytest.warns(RuntimeWarning, match="encoded again"):
            assert hits(reranker) == 0
        assert store.stats()["n_unreachable"] == 0
        assert store.stats()["n_not_stored"] == 20

    def test_killed_and_restarted_between_queries_nothing_is_noticed(self, server, opened):
        reranker = Reranker(FakeEncoder(), store=opened(server.url))
        hits(reranker)
        server.kill()
        server.start()

        assert hits(reranker) == 20  # over a new connection, from the append-only file
        assert reranker.store.stats()["n_errors"] == 0

    def test_one_that_hangs_is_waited_for_once(self, server, opened, tried, waits):
        reranker = Reranker(FakeEncoder(), store=opened(server.url, timeout_s=2, pause_s=30))
        hits(reranker)
        tried.clear()
        waits.clear()
        with server.hanging():
            with pytest.warns(RuntimeWarning, match="too slow or hangs"):
                assert hits(reranker) == 0
            assert len(tried) == 1  # its put isn't even tried
            for _ in range(10):
                assert hits(reranker) == 0
            assert len(tried) == 1

        ((what, port, seconds),) = waits
        assert (what, port) == ("reply", server.port)
        assert 0 < seconds <= 2

    def test_one_that_hung_is_used_again(self, server, opened):
        reranker = Reranker(FakeEncoder(), store=opened(server.url, timeout_s=0.3))
        with server.hanging(), pytest.warns(RuntimeWarning, match="too slow or hangs"):
            hits(reranker)

        assert used_again(reranker)

    def test_one_that_hangs_while_connecting_is_waited_for_once_and_not_by_the_constructor(self, server, opened, tried, waits):
        with server.hanging():
            reranker = Reranker(FakeEncoder(), store=opened(server.url, timeout_s=2, pause_s=30))
            assert tried == waits == []
            with pytest.warns(RuntimeWarning, match="too slow or hangs"):
                hits(reranker)
            assert len(tried) == 1
        assert waits == [("connect", server.port, 2)]

    def test_threads_that_rerank_through_a_crash_and_a_restart_never_fail(self, server, opened):
        reranker = Reranker(FakeEncoder(), store=opened(server.url))

        with warnings.catch_warnings(record=True) as caught, ThreadPoolExecutor(4) as pool:
            warnings.simplefilter("always")
            futures = [pool.submit(hits, reranker) for _ in range(200)]
            futures[10].result(60)
            server.kill()
            futures[60].result(60)
            server.start()
            assert all(0 <= future.result() <= 20 for future in futures)
        assert len(caught) <= 1
        assert used_again(reranker)

    def test_it_raises_where_that_is_asked_for(self, server, opened):
        reranker = Reranker(FakeEncoder(), store=opened(f"{server.url}?password=", on_error="raise"))
        server.kill()

        with pytest.raises(StoreConnectionError, match=rf"127.0.0.1:{server.port}.*refused"):
            reranker.rerank(QUERY, TEXTS)
        with pytest.raises(StoreConnectionError):
            reranker.stats()
        with pytest.raises(StoreConnectionError):
            opened(server.url, on_error="raise")

    def test_a_connection_that_breaks_is_tried_again(self, server, opened, tried):
        store = opened(server.url, retries=9)  # up to 25 s
        hits(Reranker(FakeEncoder(), store=store))
        server.kill()
        tried.clear()
        with ThreadPoolExecutor(1) as pool:
            found = pool.submit(hits, Reranker(FakeEncoder(), store=store))
            until(lambda: len(tried) > 1)
            server.start()
            assert found.result(60) == 20
        assert store.stats()["n_errors"] == 0

    def test_a_reply_that_comes_too_late_is_not_taken_for_the_next_one(self, server, opened, waits):
        space, packed = opened(server.url, pause_s=0, timeout_s=2).space("a", SPEC), random_packed([3, 5], SPEC)
        space.put(keys(2), packed)
        with ThreadPoolExecutor(1) as pool:
            with server.hanging():
                with pytest.warns(RuntimeWarning, match="too slow or hangs"):
                    space.get(keys(1))
                waits.clear()
                fetching = pool.submit(space.get, keys(2)[1:])
                until(lambda: waits)
            assert same_documents(fetching.result().found, packed.take(slice(1, 2)))

    def test_no_retries(self, server, opened):
        store = opened(server.url, retries=0)
        server.kill()
        with pytest.warns(RuntimeWarning):
            assert store.spaces() == []


class TestServerThatRefuses:
    def test_a_full_one(self, server, opened):
        server.cli("CONFIG", "SET", "maxmemory", "1")
        reranker = Reranker(FakeEncoder(), store=opened(server.url))

        with pytest.warns(RuntimeWarning, match=r"OOM|maxmemory.*ttl_s"):
            assert hits(reranker) == 0
        assert reranker.store.stats()["n_not_stored"] == 20
        server.cli("CONFIG", "SET", "maxmemory", "0")
        hits(reranker)
        assert hits(reranker) == 20  # an error of a command is no reason to leave the server alone

    def test_a_replica_is_read(self, server, opened):
        reranker = Reranker(FakeEncoder(), store=opened(server.url))
        hits(reranker)
        server.cli("REPLICAOF", "127.0.0.1", "1")

        assert hits(reranker) == 20
        with pytest.warns(RuntimeWarning, match="replica: give its primary"):
            reranker.index(["another document"])

    def test_a_password(self, tmp_path, opened):
        with RedisServer(tmp_path / "redis", "--requirepass", "p@ss:w/rd") as server:
            place = f"127.0.0.1:{server.port}"
            store = opened(f"redis://:p%40ss%3Aw%2Frd@{place}")
            hits(Reranker(FakeEncoder(), store=store))
            assert hits(Reranker(FakeEncoder(), store=store)) == 20
            assert store.url == f"redis://:***@{place}"

            for url in (f"redis://{place}", f"redis://:wrong-secret@{place}", f"redis://{place}?password=wrong-secret"):
                with pytest.warns(RuntimeWarning, match="another user or password") as caught:
                    assert hits(Reranker(FakeEncoder(), store=opened(url))) == 0
                assert len(caught) == 1
                assert "wrong-secret" not in str(caught[0].message)
                with pytest.raises(StoreConnectionError, match="another user or password") as error:
                    opened(url, on_error="raise")
                assert "wrong-secret" not in str(error.value)

    def test_an_option_that_redis_py_does_not_know(self, lasting, opened):
        with pytest.raises(ValueError, match="surprise"):
            opened(f"{lasting.url}?surprise=1")


class TestWhatIsNoRedis:
    @pytest.fixture
    def url_of(self):
        """The URL of a server that gives the same answer to whatever it is sent."""
        listeners = []

        def serve(answer):
            def talk(connection):
                with connection, suppress(OSError):
                    while connection.recv(2**16):
                        connection.sendall(answer)

            def accept():
                with suppress(OSError):
                    while True:
                        Thread(target=talk, args=listener.accept()[:1], daemon=True).start()

            listener = socket.create_server(("127.0.0.1", 0))
            listeners.append(listener)
            Thread(target=accept, daemon=True).start()
            return f"redis://127.0.0.1:{listener.getsockname()[1]}"

        yield serve
        for listener in listeners:
            listener.close()

    @pytest.mark.parametrize(
        "answer",
        [
            b"HTTP/1.1 400 Bad Request\r\n\r\n",
            b"+OK\r\n",
            b":7\r\n",
            b"$3\r\nabc\r\n",
            b"*-1\r\n",
            b"*0\r\n",
            b"*1\r\n+OK\r\n",
            b"*2\r\n$4\r\nECHO\r\n:5\r\n",
            b"*1\r\n*2\r\n:0\r\n:5\r\n",
            b"*1\r\n*3\r\n:0\r\n:5\r\n*2\r\n:1\r\n:2\r\n",
        ],
    )
    @pytest.mark.parametrize("cluster", [None, False])
    def test_its_answers_are_errors_never_documents(self, url_of, opened, answer, cluster):
        url = url_of(answer)
        reranker = Reranker(FakeEncoder(), store=opened(url, timeout_s=0.2, pause_s=0, cluster=cluster))
        with pytest.warns(RuntimeWarning, match="did not answer|Is this Redis's URL|owns some of its slots"):
            assert hits(reranker) == 0
        space = reranker.store.space("a", SPEC)

        assert space.missing(keys(2)).tolist() == [0, 1]
        assert len(reranker.store.spaces()) >= 1
        assert reranker.stats()["n_documents"] == len(space) == 0
        assert reranker.store.stats()["n_errors"] >= 4
        with pytest.raises(StoreConnectionError):
            opened(url, timeout_s=0.2, on_error="raise", cluster=cluster).space("a", SPEC).get(keys(2))


class TestWays:
    def test_fewer_connections_than_threads_are_told(self, lasting, opened):
        store = opened(f"{lasting.url}?max_connections=1", pause_s=0)
        pool = store._shared.servers._seed.pool
        taken = pool.get_connection()
        with pytest.warns(RuntimeWarning, match="max_connections in the URL is below the number of threads"):
            store.space("a", SPEC).get(keys(1))
        pool.release(taken)

    def test_tls(self, tmp_path, opened):
        if which("openssl") is None:
            pytest.skip("needs openssl: apt-get install openssl")
        key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
        make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
        names = ["-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost", "-keyout", str(key), "-out", str(certificate)]
        subprocess.run([*make, *names], check=True, capture_output=True)
        options = ["--tls-cert-file", certificate, "--tls-key-file", key, "--tls-ca-cert-file", certificate]
        with RedisServer(tmp_path / "redis", *map(str, options), "--tls-auth-clients", "no", tls=True) as server:
            url = f"rediss://127.0.0.1:{server.port}"
            store = opened(f"{url}?ssl_ca_certs={certificate}")
            hits(Reranker(FakeEncoder(), store=store))
            assert hits(Reranker(FakeEncoder(), store=store)) == 20

            with pytest.warns(RuntimeWarning, match="certificate verify failed"):
                assert hits(Reranker(FakeEncoder(), store=opened(url))) == 0

    def test_a_unix_socket(self, tmp_path, opened):
        path = tmp_path / "s"
        with RedisServer(tmp_path / "redis", "--unixsocket", str(path)):
            store = opened(f"unix://{path}")
            hits(Reranker(FakeEncoder(), store=store))
            assert hits(Reranker(FakeEncoder(), store=store)) == 20


class TestCluster:
    @pytest.fixture
    def servers(self, tmp_path):
        # "no": what is left goes on, as with a cluster that is used as a cache.
        with cluster(tmp_path, "--cluster-require-full-coverage", "no") as started:
            yield started

    def test_documents_are_spread_and_a_killed_server_takes_only_its_own_with_it(self, servers, opened):
        reranker = Reranker(FakeEncoder(), store=opened(servers[0].url))
        hits(reranker)
        held = [int(server.cli("DBSIZE")) for server in servers]
        assert min(held) > 0
        servers[1].kill()

        with pytest.warns(RuntimeWarning, match=f"{servers[1].port} did not answer"):
            found = hits(reranker)
        assert 20 - held[1] <= found < 20
        assert hits(reranker) == found
        assert reranker.stats()["n_documents"] == found

        servers[1].start()  # empty
        assert used_again(reranker)
        assert reranker.stats()["n_documents"] == 20

    def test_servers_that_hang_are_waited_for_together_and_once(self, servers, opened, tried, waits):
        reranker = Reranker(FakeEncoder(), store=opened(servers[0].url, timeout_s=2, pause_s=30))
        hits(reranker)
        tried.clear()
        waits.clear()
        hung = {f"127.0.0.1:{server.port}" for server in servers[1:]}
        with servers[1].hanging(), servers[2].hanging():
            with pytest.warns(RuntimeWarning, match="too slow or hangs"):
                found = hits(reranker)
            assert hits(reranker) == found

        assert 0 < found < 20
        assert [hung & set(names) for names in tried if hung & set(names)] == [hung]
        first, second = [seconds for what, port, seconds in waits if f"127.0.0.1:{port}" in hung and what == "reply"]
        assert 0 < first <= 2
        assert second < 0.01  # the first took all the time that there is for both
        assert all(what == "reply" for what, _, _ in waits)

    def test_a_name_that_is_no_string_is_damage(self, servers, opened):
        store = opened(servers[0].url, on_error="raise")
        space = store.space("a", SPEC)
        space.put(keys(9), random_packed([5] * 9, SPEC))
        named = [(server, name) for server in servers for name in server.cli("KEYS", f"{store.prefix}:*:*").split()]
        (server, name) = next((server, name) for server, name in named if name.endswith(keys(9)[4].hex()))
        server.cli("DEL", name)
        server.cli("LPUSH", name, "x")

        assert space.get(keys(9)).missing.tolist() == [4]
        assert store.stats()["n_damaged"] == 1
        space.put(keys(9), random_packed([5] * 9, SPEC))
        assert space.get(keys(9)).missing.tolist() == []

    def test_of_a_killed_server_its_own_documents_alone_are_missing(self, servers, opened):
        reranker = Reranker(FakeEncoder(), store=opened(servers[0].url))
        reranker.index(TEXTS)
        held = len(servers[1].cli("KEYS", f"{reranker.store.prefix}:*:*").split())
        assert held
        servers[1].kill()

        with pytest.warns(RuntimeWarning, match=f"{servers[1].port} did not answer"):
            assert reranker.index(TEXTS).n_encoded == held

    def test_the_server_in_the_url_may_die_later(self, servers, opened):
        reranker = Reranker(FakeEncoder(), store=opened(servers[0].url))
        hits(reranker)
        servers[0].kill()

        with pytest.warns(RuntimeWarning):
            found = hits(reranker)
        assert 0 < found < 20
        assert hits(reranker) == found  # the others are asked who owns what

    def test_a_key_that_moved_is_followed(self, servers, opened):
        store = opened(servers[0].url, on_error="raise", timeout_s=5)
        space, names = store.space("a", SPEC), keys(1)
        space.put(names, random_packed([5], SPEC))
        (name,) = [name for server in servers for name in server.cli("KEYS", f"{store.prefix}:*").split() if len(name) > 60]
        space.delete(names)
        slot, ids = servers[0].cli("CLUSTER", "KEYSLOT", name), [server.cli("CLUSTER", "MYID") for server in servers]
        here = next(i for i, server in enumerate(servers) if server.cli("GET", name) == "")
        there = (here + 1) % 3
        servers[there].cli("CLUSTER", "SETSLOT", slot, "IMPORTING", ids[here])  # or gossip may give it back
        for i in (there, here, (here + 2) % 3):
            servers[i].cli("CLUSTER", "SETSLOT", slot, "NODE", ids[there])

        space.put(names, random_packed([5], SPEC))
        assert same_documents(space.get(names).found, random_packed([5], SPEC))
        assert servers[there].cli("STRLEN", name) != "0"

    def test_a_server_that_must_be_a_cluster_and_is_none(self, lasting, opened):
        with pytest.raises(StoreConnectionError, match="cluster support disabled"):
            opened(lasting.url, cluster=True, on_error="raise")

    def test_a_cluster_that_is_taken_for_one_server_misses(self, servers, opened):
        reranker = Reranker(FakeEncoder(), store=opened(servers[0].url, cluster=False))
        with pytest.warns(RuntimeWarning, match="cluster=None"):
            hits(reranker)
        assert hits(reranker) < 20
