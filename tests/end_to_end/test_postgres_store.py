"""A reranker whose store is a real Postgres server that is killed, hangs, refuses, lies. A query never fails of it."""

import re
import socket
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from importlib import import_module
from shutil import which
from threading import Thread

import pytest
from postgres_servers import PostgresServer, bouncer, fresh_schema, skip_without_pgbouncer, skip_without_postgres
from redis_queries import QUERY, TEXTS, hits, until, used_again

from late_rerank import Reranker
from late_rerank.errors import StoreConnectionError, StoreFormatError
from late_rerank.stores.postgres.refusals import Busy
from late_rerank.stores.postgres.statements import Statement
from late_rerank.testing.fakes import FakeEncoder
from late_rerank.testing.stores import SPEC, keys
from late_rerank.testing.vectors import random_packed, same_documents

skip_without_postgres()


_BOTH_WAYS = r"run: (GRANT [^;]*;) or, for a role that only reads: (GRANT USAGE [^;]*; GRANT SELECT [^;]*;)"


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
    """An item for each time that a session was asked for."""
    server = import_module("late_rerank.stores.postgres.server").Server
    times, once = [], server._once
    monkeypatch.setattr(server, "_once", lambda self, call: times.append(call) or once(self, call))
    return times


@contextmanager
def locked(server, store):
    """Nobody reads the documents of a store meanwhile."""
    import psycopg

    with psycopg.connect(server.url) as connection:
        connection.execute(f"LOCK TABLE {store.schema}.record IN ACCESS EXCLUSIVE MODE")
        yield
        with suppress(psycopg.Error):  # the server may be gone
            connection.rollback()


def waits(server):
    """Whether a statement of a store waits for a lock."""
    return server.run("SELECT pid FROM pg_stat_activity WHERE application_name = 'late-rerank' AND wait_event_type = 'Lock'")


class TestServerThatFails:
    def test_one_that_is_down_from_the_start_costs_no_query(self, mortal, in_postgres):
        mortal.kill()
        reranker = Reranker(FakeEncoder(), store=in_postgres(mortal.url))

        with pytest.warns(RuntimeWarning, match=r"did not answer.*refused.*Is it running.*encoded again.*PostgresStore.stats"):
            assert hits(reranker) == 0
        assert hits(reranker) == 0  # a second warning would be an error here

        counts = reranker.store.stats()
        assert (counts["n_unreachable"], counts["n_not_stored"]) == (40, 40)
        assert counts["n_documents"] == counts["size_bytes"] == len(reranker.store.space("a", SPEC)) == 0
        assert "refused" in counts["last_error"]

    def test_one_whose_name_is_not_found_in_time_is_not_waited_for(self, in_postgres, addresses):
        store = in_postgres("postgresql://me@slow.example/db", timeout_s=0.3, pause_s=30)
        with pytest.warns(RuntimeWarning, match='the address of host "slow.example" was not found in time'):
            assert store.space("a", SPEC).get(keys(1)).missing.tolist() == [0]  # and the name servers are still silent

    def test_one_that_comes_up_later_is_used(self, mortal, in_postgres):
        mortal.kill()
        reranker = Reranker(FakeEncoder(), store=in_postgres(mortal.url))
        with pytest.warns(RuntimeWarning):
            hits(reranker)
        mortal.start()

        assert used_again(reranker)

    def test_killed_between_get_and_put(self, mortal, in_postgres):
        store = in_postgres(mortal.url)
        reranker = Reranker(FailsWhileEncoding(mortal.kill), store=store)

        with pytest.warns(RuntimeWarning, match="encoded again"):
            assert hits(reranker) == 0
        assert store.stats()["n_unreachable"] == 0
        assert store.stats()["n_not_stored"] == 20

    def test_killed_and_restarted_between_queries_nothing_is_noticed(self, mortal, in_postgres):
        reranker = Reranker(FakeEncoder(), store=in_postgres(mortal.url))
        hits(reranker)
        mortal.kill()
        mortal.start()

        assert hits(reranker) == 20
        assert reranker.store.stats()["n_errors"] == 0

    def test_killed_and_restarted_in_mid_query(self, mortal, in_postgres):
        store = in_postgres(mortal.url, retries=9, timeout_s=60)  # up to 25 s
        hits(Reranker(FakeEncoder(), store=store))
        with locked(mortal, store), ThreadPoolExecutor(1) as pool:
            found = pool.submit(hits, Reranker(FakeEncoder(), store=store))
            until(lambda: waits(mortal))
            mortal.kill()
            mortal.start()
            assert found.result(60) == 20
        assert store.stats()["n_errors"] == 0

    def test_killed_in_mid_query_and_gone_is_a_miss(self, mortal, in_postgres):
        store = in_postgres(mortal.url, timeout_s=60)
        hits(Reranker(FakeEncoder(), store=store))
        with locked(mortal, store), ThreadPoolExecutor(1) as pool:
            found = pool.submit(hits, Reranker(FakeEncoder(), store=store))
            until(lambda: waits(mortal))
            mortal.kill()
            with pytest.warns(RuntimeWarning, match="did not answer"):
                assert found.result(60) == 0

    def test_a_session_that_is_ended_in_mid_query_is_replaced(self, mortal, in_postgres):
        store = in_postgres(mortal.url, timeout_s=60)
        hits(Reranker(FakeEncoder(), store=store))
        with ThreadPoolExecutor(1) as pool:
            with locked(mortal, store):
                found = pool.submit(hits, Reranker(FakeEncoder(), store=store))
                until(lambda: waits(mortal))
                assert mortal.end_sessions() >= 1
                until(lambda: waits(mortal))  # in another session
            assert found.result(60) == 20
        assert store.stats()["n_errors"] == 0

    def test_sessions_that_are_ended_all_the_time_fail_no_query(self, mortal, in_postgres):
        reranker = Reranker(FakeEncoder(), store=in_postgres(mortal.url, retries=3))
        with warnings.catch_warnings(), ThreadPoolExecutor(4) as pool:
            warnings.simplefilter("ignore", RuntimeWarning)
            futures = [pool.submit(hits, reranker) for _ in range(100)]
            while not all(future.done() for future in futures):
                mortal.end_sessions()
            assert all(0 <= future.result() <= 20 for future in futures)
        assert used_again(reranker)

    def test_one_that_hangs_is_waited_for_once(self, mortal, in_postgres, tried):
        reranker = Reranker(FakeEncoder(), store=in_postgres(mortal.url, timeout_s=2, pause_s=30))
        hits(reranker)
        tried.clear()
        with mortal.hanging():
            with pytest.warns(RuntimeWarning, match="too slow or hangs"):
                assert hits(reranker) == 0
            assert len(tried) == 1  # its put isn't even tried
            for _ in range(10):
                assert hits(reranker) == 0
            assert len(tried) == 1

    def test_one_that_hung_is_used_again(self, mortal, in_postgres):
        reranker = Reranker(FakeEncoder(), store=in_postgres(mortal.url, timeout_s=0.3))
        with mortal.hanging(), pytest.warns(RuntimeWarning, match="too slow or hangs"):
            hits(reranker)

        assert used_again(reranker)

    def test_after_a_wait_in_vain_other_sessions_of_then_are_not_waited_for_too(self, mortal, in_postgres, tried):
        """A firewall that forgot one session forgot all."""
        store = in_postgres(mortal.url, timeout_s=2, pause_s=0)
        hits(Reranker(FakeEncoder(), store=store))
        server = store._shared.server
        both = [server._take(), server._take()]
        for session in both:
            server._give_back(session)
        with mortal.hanging(), pytest.warns(RuntimeWarning, match="too slow or hangs"):
            store.space("a", SPEC).get(keys(1))

        until(lambda: len(store.space("b", SPEC).get(keys(1)).missing) == 1 and server._idle)
        assert not set(both) & set(server._idle)

    def test_one_that_hangs_while_connecting_is_not_waited_for_by_the_constructor(self, mortal, in_postgres, tried):
        with mortal.hanging():
            reranker = Reranker(FakeEncoder(), store=in_postgres(mortal.url, timeout_s=0.3, pause_s=30))
            assert tried == []
            with pytest.warns(RuntimeWarning, match="too slow or hangs"):
                hits(reranker)
            assert len(tried) == 1

    def test_threads_that_rerank_through_a_crash_and_a_restart_never_fail(self, mortal, in_postgres):
        reranker = Reranker(FakeEncoder(), store=in_postgres(mortal.url))

        with warnings.catch_warnings(record=True) as caught, ThreadPoolExecutor(4) as pool:
            warnings.simplefilter("always")
            futures = [pool.submit(hits, reranker) for _ in range(200)]
            futures[10].result(60)
            mortal.kill()
            futures[60].result(60)
            mortal.start()
            assert all(0 <= future.result() <= 20 for future in futures)
        assert len(caught) <= 1
        assert used_again(reranker)

    def test_what_a_killed_server_had_acknowledged_is_there_again(self, mortal, in_postgres):
        store, told = in_postgres(mortal.url, on_error="raise", retries=0, check=True), []

        def put():
            for n in range(10_000):
                store.space("a", SPEC).put(keys(3, salt=n), random_packed([200, 0, 17], SPEC, seed=n))
                told.append(n)

        with ThreadPoolExecutor(1) as pool:
            putting = pool.submit(put)
            until(lambda: len(told) > 5)
            mortal.kill()
            with pytest.raises(StoreConnectionError):
                putting.result(60)
        mortal.start()

        again = in_postgres(mortal.url, schema=store.schema, on_error="raise", check=True).space("a", SPEC)
        for n in told:
            assert same_documents(again.get(keys(3, salt=n)).found, random_packed([200, 0, 17], SPEC, seed=n))

    def test_it_raises_where_that_is_asked_for(self, mortal, in_postgres):
        reranker = Reranker(FakeEncoder(), store=in_postgres(mortal.url, on_error="raise"))
        mortal.kill()

        with pytest.raises(StoreConnectionError, match=rf"127.0.0.1:{mortal.port}.*refused"):
            reranker.rerank(QUERY, TEXTS)
        with pytest.raises(StoreConnectionError):
            reranker.stats()
        with pytest.raises(StoreConnectionError):
            in_postgres(mortal.url, on_error="raise")

    @pytest.mark.parametrize("hangs", [False, True])
    def test_the_second_host_is_used_where_the_first_is_down_or_hangs(self, mortal, in_postgres, hangs):
        with socket.socket() as nobody:
            nobody.bind(("127.0.0.1", 0))
            if hangs:
                nobody.listen()  # and says nothing
            hosts = f"127.0.0.1:{nobody.getsockname()[1]},127.0.0.1:{mortal.port}"
            reranker = Reranker(FakeEncoder(), store=in_postgres(f"postgresql://postgres@{hosts}/postgres", timeout_s=2))
            hits(reranker)
            assert hits(reranker) == 20

    def test_a_server_that_hangs_is_not_asked_more_when_all_connections_are_in_use(self, mortal, in_postgres, tried):
        store = in_postgres(mortal.url, max_connections=1, timeout_s=2, pause_s=30)
        hits(Reranker(FakeEncoder(), store=store))
        server = store._shared.server
        with mortal.hanging(), pytest.warns(RuntimeWarning, match="too slow or hangs"):
            store.space("a", SPEC).get(keys(1))
        server._once = lambda call: Busy("all in use")
        server._reads._until = 0  # the pause is over
        assert isinstance(server.ask(Statement("SELECT 1")), Busy)

        tried.clear()
        del server._once
        assert not isinstance(server.ask(Statement("SELECT 1")), Busy)
        assert tried == []

    def test_a_pooler_that_takes_no_transactions_says_what_to_set(self, postgres, in_postgres):
        skip_without_pgbouncer()
        with (
            bouncer(postgres, pool_mode="statement") as url,
            pytest.warns(RuntimeWarning, match="Set PgBouncer's pool_mode = transaction, or session"),
        ):
            hits(Reranker(FakeEncoder(), store=in_postgres(url)))

    def test_a_pooler_whose_server_is_killed_and_restarted(self, mortal, in_postgres):
        skip_without_pgbouncer()
        with bouncer(mortal) as url:
            reranker = Reranker(FakeEncoder(), store=in_postgres(url, timeout_s=3, retries=3))
            hits(reranker)
            mortal.kill()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)
                assert hits(reranker) == 0
                mortal.start()
                assert used_again(reranker)


class TestServerThatRefuses:
    def test_a_replica_is_read(self, postgres, in_postgres):
        store = in_postgres(postgres.url)
        hits(Reranker(FakeEncoder(), store=store))
        # Of the session, not of the server: a store can't tell the difference.
        reading = in_postgres(f"{postgres.url}?options=-c%20default_transaction_read_only%3Don", schema=store.schema)
        reranker = Reranker(FakeEncoder(), store=reading)

        assert hits(reranker) == 20
        with pytest.warns(RuntimeWarning, match="read-only.*It is a replica"):
            reranker.index(["another document"])
        assert hits(reranker) == 20  # a refusal is no reason to leave the server alone

    def test_a_statement_timeout_is_a_miss(self, postgres, in_postgres):
        store = in_postgres(postgres.url)
        hits(Reranker(FakeEncoder(), store=store))
        hurried = in_postgres(f"{postgres.url}?options=-c%20statement_timeout%3D50", schema=store.schema, pause_s=30)

        with locked(postgres, store), pytest.warns(RuntimeWarning, match="statement timeout.*statement_timeout is too short"):
            assert hits(Reranker(FakeEncoder(), store=hurried)) == 0

    def test_a_full_disk_costs_no_query(self, postgres, in_postgres):
        store = in_postgres(postgres.url)
        reranker = Reranker(FakeEncoder(), store=store)
        reranker.index(TEXTS[:1])
        postgres.run(
            f"CREATE FUNCTION {store.schema}.full() RETURNS trigger LANGUAGE plpgsql AS "
            "$$BEGIN RAISE 'could not extend file' USING ERRCODE = 'disk_full'; END$$;"
            f"CREATE TRIGGER full_disk BEFORE INSERT ON {store.schema}.record FOR EACH ROW "
            f"EXECUTE FUNCTION {store.schema}.full()"
        )

        with pytest.warns(RuntimeWarning, match="could not extend file.*disk is full"):
            assert hits(reranker) == 1
        assert store.stats()["n_not_stored"] == 19

    def test_a_password(self, postgres, in_postgres):
        postgres.run("CREATE ROLE locked LOGIN PASSWORD 'p@ss:w/rd'")
        place = f"127.0.0.1:{postgres.port}/postgres"
        store = in_postgres(f"postgresql://locked:p%40ss%3Aw%2Frd@{place}")
        assert store.url == f"postgresql://locked:***@{place}"
        assert store.space("a", SPEC).missing(keys(1)).tolist() == [0]
        assert store.stats()["n_errors"] == 0

        for url in (f"postgresql://locked@{place}", f"postgresql://locked:wrong-secret@{place}"):
            with pytest.warns(RuntimeWarning, match="another user or password") as caught:
                assert hits(Reranker(FakeEncoder(), store=in_postgres(url))) == 0
            assert len(caught) == 1
            assert "wrong-secret" not in str(caught[0].message)
            with pytest.raises(StoreConnectionError, match="another user or password") as error:
                in_postgres(url, on_error="raise")
            assert "wrong-secret" not in str(error.value)

    @pytest.mark.parametrize(
        ("statement", "database", "said"),
        [
            ("", "nowhere", "Create the database"),
            ("ALTER ROLE few CONNECTION LIMIT 0", "postgres", "Raise its max_connections"),
        ],
    )
    def test_a_session_that_is_refused_says_what_to_do(self, postgres, in_postgres, statement, database, said):
        postgres.run(f"DROP ROLE IF EXISTS few; CREATE ROLE few LOGIN PASSWORD 'secret'; {statement}")
        url = postgres.url_of("few").replace("/postgres", f"/{database}")
        with pytest.warns(RuntimeWarning, match=said):
            assert hits(Reranker(FakeEncoder(), store=in_postgres(url))) == 0

    def test_a_row_that_another_session_holds_costs_the_put_of_it_alone(self, postgres, in_postgres):
        import psycopg

        store = in_postgres(postgres.url, timeout_s=2, pause_s=30)
        space, names = store.space("a", SPEC), keys(3)
        space.put(names, random_packed([1, 2, 3], SPEC))
        with psycopg.connect(postgres.url) as connection:
            connection.execute(f"SELECT FROM {store.schema}.record WHERE key = %s FOR UPDATE", [names[0]])
            with pytest.warns(RuntimeWarning, match="lock timeout.*Another session holds its documents"):
                space.put(names[:1], random_packed([4], SPEC))
            assert store.stats()["n_not_stored"] == 1
            space.put(names[1:2], random_packed([5], SPEC))
            assert space.get(names).found.lengths.tolist() == [1, 5, 3]
        assert space.delete(names) == 3

    def test_puts_that_wait_in_vain_leave_reads_alone(self, postgres, in_postgres, tried):
        import psycopg

        patient, names = in_postgres(postgres.url), keys(3)
        patient.space("a", SPEC).put(names, random_packed([1, 2, 3], SPEC))
        store = in_postgres(postgres.url, schema=patient.schema, write_timeout_s=0.5, pause_s=30)
        space = store.space("a", SPEC)
        with psycopg.connect(postgres.url) as connection:
            connection.execute(f"LOCK TABLE {store.schema}.record IN SHARE MODE")  # as for making an index
            with pytest.warns(RuntimeWarning, match="too slow or hangs"):
                space.put(names, random_packed([4, 5, 6], SPEC))
            tried.clear()
            space.put(names, random_packed([4, 5, 6], SPEC))
            assert tried == []
            assert space.get(names).found.lengths.tolist() == [1, 2, 3]

    def test_tables_of_a_later_version_are_left_alone(self, postgres, in_postgres):
        store = in_postgres(postgres.url)
        hits(Reranker(FakeEncoder(), store=store))
        postgres.run(f"UPDATE {store.schema}.format SET version = 2")
        later = in_postgres(postgres.url, schema=store.schema)

        with pytest.warns(RuntimeWarning, match="of version 2, but this late-rerank knows version 1"):
            assert hits(Reranker(FakeEncoder(), store=later)) == 0
        with pytest.raises(StoreFormatError, match="version 2"):
            in_postgres(postgres.url, schema=store.schema, on_error="raise").space("a", SPEC).get(keys(1))

    def test_fewer_connections_than_threads_are_told(self, postgres, in_postgres):
        store = in_postgres(postgres.url, max_connections=1, timeout_s=2)
        hits(Reranker(FakeEncoder(), store=store))
        taken = store._shared.server._take()
        with pytest.warns(RuntimeWarning, match="max_connections is below the number of threads"):
            store.space("a", SPEC).get(keys(1))
        store._shared.server._give_back(taken)
        assert hits(Reranker(FakeEncoder(), store=store)) == 20


class TestRights:
    @pytest.fixture
    def roles(self, postgres):
        """Two roles that may connect, and a schema that isn't there."""
        names = [f"role_{fresh_schema()}" for _ in range(2)]
        for name in names:
            postgres.run(f"CREATE ROLE {name} LOGIN PASSWORD 'secret'")
        return names

    def test_a_role_that_may_make_nothing_is_told_the_sql_which_lets_it(self, postgres, in_postgres, roles):
        store = in_postgres(postgres.url_of(roles[0]))
        reranker = Reranker(FakeEncoder(), store=store)
        with pytest.warns(RuntimeWarning, match="permission denied") as caught:
            assert hits(reranker) == 0
        (sql,) = re.findall(r"run: (CREATE SCHEMA [^;]*;)", str(caught[0].message))
        postgres.run(sql)

        hits(reranker)
        assert hits(reranker) == 20

    def test_a_role_without_rights_on_anothers_tables_is_told_the_sql_for_both_ways(self, postgres, in_postgres, roles):
        owner, other = roles
        postgres.run(f"CREATE SCHEMA {(schema := fresh_schema())} AUTHORIZATION {owner}")
        hits(Reranker(FakeEncoder(), store=in_postgres(postgres.url_of(owner), schema=schema)))
        store = in_postgres(postgres.url_of(other), schema=schema)
        with pytest.warns(RuntimeWarning, match="permission denied") as caught:
            assert hits(Reranker(FakeEncoder(), store=store)) == 0
        ((writes, reads),) = re.findall(_BOTH_WAYS, str(caught[0].message))

        postgres.run(reads)
        assert hits(Reranker(FakeEncoder(), store=store)) == 20
        reader = in_postgres(postgres.url_of(other), schema=schema)
        with pytest.warns(RuntimeWarning, match=r"permission denied.*GRANT"):
            Reranker(FakeEncoder(), store=reader).index(["another document"])
        postgres.run(writes)
        assert Reranker(FakeEncoder(dim=32), store=store).index(TEXTS).n_encoded == 20  # a space of its own is made
        assert Reranker(FakeEncoder(dim=32), store=store).index(TEXTS).n_cached == 20


class TestWays:
    def test_tls(self, in_postgres, addresses):
        if which("openssl") is None:
            pytest.skip("needs openssl: apt-get install openssl")
        with PostgresServer(certified=True) as server:
            addresses |= {"localhost": ["127.0.0.1"], "stranger.example": ["127.0.0.1"]}
            checked = f"?sslmode=verify-full&sslrootcert={server.folder / 'cert.pem'}"
            url = server.url_of("secured") + checked
            store = in_postgres(url.replace("127.0.0.1", "localhost"))  # the name in the certificate
            server.run("CREATE ROLE secured LOGIN PASSWORD 'secret'")
            server.run(f"CREATE SCHEMA {store.schema} AUTHORIZATION secured")
            space, packed = store.space("a", SPEC), random_packed([3000] * 40, SPEC)
            space.put(keys(40), packed)
            assert same_documents(space.get(keys(40)).found, packed)

            with pytest.warns(RuntimeWarning, match="certificate verify failed"):
                in_postgres(server.url_of("secured") + "?sslmode=verify-full&sslrootcert=system").space("a", SPEC).get(keys(1))
            with pytest.warns(RuntimeWarning, match=r"server certificate .* does not match host name"):
                in_postgres(url.replace("127.0.0.1", "stranger.example")).space("a", SPEC).get(keys(1))

    def test_a_host_has_several_addresses_of_which_the_first_is_down(self, postgres, in_postgres, addresses):
        addresses["db.example"] = ["127.0.0.2", "127.0.0.1"]
        reranker = Reranker(FakeEncoder(), store=in_postgres(postgres.url.replace("127.0.0.1", "db.example")))
        hits(reranker)
        assert hits(reranker) == 20

    def test_the_second_host_is_used_where_the_first_is_not_found_in_time(self, postgres, in_postgres, addresses):
        url = postgres.url.replace("127.0.0.1", "slow.example:1,127.0.0.1")
        reranker = Reranker(FakeEncoder(), store=in_postgres(url, timeout_s=2))
        hits(reranker)
        assert hits(reranker) == 20

    def test_a_unix_socket(self, postgres, in_postgres):
        url = f"postgresql:///postgres?host={postgres.folder}&port={postgres.port}&user=postgres"
        reranker = Reranker(FakeEncoder(), store=in_postgres(url))
        hits(reranker)
        assert hits(reranker) == 20


class TestWhatIsNoPostgres:
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
            return f"postgresql://me@127.0.0.1:{listener.getsockname()[1]}/db"

        yield serve
        for listener in listeners:
            listener.close()

    @pytest.mark.parametrize(
        "answer",
        [
            b"HTTP/1.1 400 Bad Request\r\n\r\n",
            b"+OK\r\n",
            b"N",
            b"NN",
            b"\x00" * 64,
            b"N" + b"R\x00\x00\x00\x08\x00\x00\x00\x00" + b"Z\x00\x00\x00\x05I",  # lets everybody in, and knows nothing
        ],
    )
    def test_its_answers_are_errors_never_documents(self, url_of, in_postgres, answer):
        url = url_of(answer)
        reranker = Reranker(FakeEncoder(), store=in_postgres(url, timeout_s=0.2, write_timeout_s=0.2, pause_s=0))
        with pytest.warns(RuntimeWarning, match="did not answer"):
            assert hits(reranker) == 0
        assert reranker.store.space("a", SPEC).missing(keys(2)).tolist() == [0, 1]
        with pytest.raises(StoreConnectionError):
            in_postgres(url, timeout_s=0.2, on_error="raise")

    def test_what_was_waited_for_in_vain_is_canceled(self, postgres, in_postgres):
        """Else each query leaves a session behind that waits for the lock."""
        store = in_postgres(postgres.url, timeout_s=2)
        space = store.space("a", SPEC)
        space.put(keys(1), random_packed([3], SPEC))
        with locked(postgres, store):
            with pytest.warns(RuntimeWarning, match="too slow or hangs"):
                space.get(keys(1))
            until(lambda: not waits(postgres))

    def test_an_answer_that_comes_too_late_is_not_taken_for_the_next_one(self, postgres, in_postgres):
        store = in_postgres(postgres.url, pause_s=0, timeout_s=2)
        space, packed = store.space("a", SPEC), random_packed([3, 5], SPEC)
        space.put(keys(2), packed)
        with locked(postgres, store), pytest.warns(RuntimeWarning, match="too slow or hangs"):
            space.get(keys(1))
        until(lambda: len(space.get(keys(2)).found) == 2)
        assert same_documents(space.get(keys(2)[1:]).found, packed.take(slice(1, 2)))
