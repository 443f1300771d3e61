"""What a real Postgres holds: shared, expired, dropped, spoilt; and written by processes that are killed."""

import os
import pickle
import signal
import warnings
from concurrent.futures import ThreadPoolExecutor

import pytest
from forking import in_a_child, needs_fork
from postgres_servers import fresh_schema, skip_without_postgres
from redis_queries import QUERY, TEXTS, hits, until

from late_rerank import Reranker
from late_rerank.cli import main
from late_rerank.errors import StoreConnectionError
from late_rerank.stores import MemoryStore, PostgresStore, TieredStore, open_store
from late_rerank.stores.postgres.statements import Statement
from late_rerank.testing.fakes import FakeEncoder
from late_rerank.testing.stores import SPEC, keys
from late_rerank.testing.vectors import random_packed, same_documents
from late_rerank.vectors.keys import key_of

skip_without_postgres()


def forked(work):
    """Start a child that does some work and ends. Gives its process id."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 on: torch's threads are there
        child = os.fork()
    if child:
        return child
    try:
        work()
    except BaseException:  # noqa: BLE001 - told by the exit code
        os._exit(1)
    os._exit(0)


class TestWhatPostgresHolds:
    def test_a_url_opens_it_and_reading_makes_no_tables(self, postgres):
        for url in (postgres.url, postgres.url.replace("postgresql", "postgres", 1)):
            with open_store(url) as store:
                assert isinstance(store, PostgresStore)
                assert store.space("a", SPEC).get(keys(2)).missing.tolist() == [0, 1]
                assert store.stats()["n_documents"] == store.drop("a") == 0
                assert store.stats()["n_errors"] == 0
        assert postgres.run("SELECT to_regnamespace('late_rerank')") == [(None,)]

    def test_documents_end_with_their_time_and_their_rows_are_deleted(self, postgres, in_postgres):
        store = in_postgres(postgres.url, ttl_s=0.3)
        space = store.space("a", SPEC)
        for some in (keys(1500, salt=1), keys(1500, salt=2)):  # more than one sweep takes
            space.put(some, random_packed([1] * 1500, SPEC))
        until(lambda: len(space.get(keys(1, salt=2)).found) == len(space.missing(keys(1, salt=2))) - 1 == 0)
        assert len(space) == store.stats()["n_documents"] == 0
        assert space.delete(keys(2, salt=1)) == 0

        def left():
            space.put(keys(1), random_packed([1], SPEC))
            return postgres.run(f"SELECT count(*) FROM {store.schema}.record")[0][0]

        until(lambda: left() == 1)

    def test_without_a_time_to_live_documents_stay_and_a_put_ends_an_earlier_one(self, postgres, in_postgres):
        brief = in_postgres(postgres.url, ttl_s=300)
        brief.space("a", SPEC).put(keys(2), random_packed([1, 2], SPEC))
        lasting = in_postgres(postgres.url, schema=brief.schema)
        lasting.space("a", SPEC).put(keys(1), random_packed([1], SPEC))

        expiry = postgres.run(f"SELECT expires_at > now() FROM {brief.schema}.record ORDER BY key")
        assert expiry == [(None,), (True,)]

    def test_processes_share_documents_spaces_and_drops(self, postgres, in_postgres):
        schema = fresh_schema()
        ours, theirs = in_postgres(postgres.url, schema=schema), in_postgres(postgres.url, schema=schema)
        hits(Reranker(FakeEncoder(), store=ours))
        reader = FakeEncoder()
        reading = Reranker(reader, store=theirs)

        assert hits(reading) == 20
        assert reader.n_documents == 0
        size = theirs.stats()["size_bytes"]
        assert theirs.drop(reader.fingerprint) == 20
        assert size > ours.stats()["size_bytes"] == ours.stats()["n_documents"] == 0
        assert theirs.spaces() == []

        # Each had found the space that is gone.
        assert hits(Reranker(FakeEncoder(), store=ours)) == 0
        assert hits(reading) == 20
        assert (ours.stats()["n_errors"], theirs.stats()["n_errors"]) == (0, 0)

    def test_a_space_that_another_process_dropped_and_made_again_is_found_and_written(self, postgres, in_postgres):
        schema = fresh_schema()
        ours, theirs = (in_postgres(postgres.url, schema=schema, on_error="raise") for _ in range(2))
        space, names = ours.space("a", SPEC), keys(2)
        space.put(names, random_packed([3, 5], SPEC))
        theirs.drop("a")
        space.put(names[:1], random_packed([7], SPEC))  # without looking first
        assert theirs.space("a", SPEC).get(names).found.lengths.tolist() == [7]

        theirs.drop("a")
        theirs.space("a", SPEC).put(names, random_packed([3, 5], SPEC))
        assert space.get(names).found.lengths.tolist() == [3, 5]
        theirs.drop("a")
        theirs.space("a", SPEC).put(names, random_packed([3, 5], SPEC))
        assert space.missing(names).tolist() == []

    def test_a_put_after_the_whole_schema_is_gone_makes_it_again(self, postgres, in_postgres):
        reranker = Reranker(FakeEncoder(), store=in_postgres(postgres.url))
        hits(reranker)
        postgres.run(f"DROP SCHEMA {reranker.store.schema} CASCADE")

        assert hits(reranker) == 0
        assert hits(reranker) == 20
        assert reranker.store.stats()["n_errors"] == 0

    def test_a_schema_that_another_model_made_anew_gives_and_takes_no_documents_of_the_first(self, postgres, in_postgres):
        """Its space has the number that the first one's had."""
        schema, names = fresh_schema(), keys(2)
        ours, theirs = (in_postgres(postgres.url, schema=schema, on_error="raise").space(name, SPEC) for name in ("a", "b"))
        for call in (
            lambda: ours.get(names).missing.tolist() == ours.missing(names).tolist() == [0, 1],
            lambda: ours.delete(names) == 0,
            lambda: ours.clear() == 0,
            lambda: ours.put(names, random_packed([7, 7], SPEC)) is None and ours.get(names).found.lengths.tolist() == [7, 7],
        ):
            ours.put(names, random_packed([3, 5], SPEC))
            postgres.run(f"DROP SCHEMA {schema} CASCADE")
            theirs.put(names, random_packed([1, 2], SPEC))
            assert call()
            assert theirs.get(names).found.lengths.tolist() == [1, 2]

    def test_a_space_that_is_dropped_between_two_tries_of_a_put_is_told(self, postgres, in_postgres, monkeypatch):
        store = in_postgres(postgres.url)
        space, tables = store.space("a", SPEC), store._shared.tables
        space.put(keys(1), random_packed([1], SPEC))
        monkeypatch.setattr(type(tables), "made", lambda *_: 99)  # which somebody drops at once
        store.drop("a")
        with pytest.warns(RuntimeWarning, match="was dropped while documents were put"):
            space.put(keys(1), random_packed([1], SPEC))
        assert store.stats()["n_not_stored"] == 1

    def test_spaces_come_oldest_first_and_a_later_versions_is_passed_over(self, postgres, in_postgres):
        schema = fresh_schema()
        names = [f"encoder {i}" for i in (3, 1, 2)]
        for name in names:
            in_postgres(postgres.url, schema=schema).space(name, SPEC).put(keys(1), random_packed([1], SPEC))
        postgres.run(f"INSERT INTO {schema}.space (digest, described) VALUES ('x', '{{\"format\":2}}')")

        assert [space.fingerprint for space in in_postgres(postgres.url, schema=schema).spaces()] == names

    def test_schemas_never_see_each_other(self, postgres, in_postgres):
        hits(Reranker(FakeEncoder(), store=in_postgres(postgres.url)))

        assert in_postgres(postgres.url).spaces() == []

    def test_more_documents_than_one_batch_keep_their_order(self, postgres, in_postgres):
        store = in_postgres(postgres.url)
        space, names = store.space("a", SPEC), keys(1300)
        lengths = [40_000 if i in (7, 8, 9, 500) else i % 3 for i in range(1300)]
        lengths[600] = 800_000  # more than a batch by itself
        packed = random_packed(lengths, SPEC)
        space.put(names, packed)

        fetched = space.get([*reversed(names), *keys(1, salt=5)])
        assert same_documents(fetched.found, packed.take(slice(None, None, -1)))
        assert fetched.missing.tolist() == [1300]
        assert len(space) == store.stats()["n_documents"] == 1300
        assert space.delete(names) == 1300

    def test_of_a_key_that_is_put_twice_at_once_the_last_counts(self, postgres, in_postgres):
        space = in_postgres(postgres.url, on_error="raise").space("a", SPEC)
        packed = random_packed([3, 5, 7], SPEC)
        space.put([keys(1)[0], keys(2)[1], keys(1)[0]], packed)

        assert same_documents(space.get(keys(2)).found, packed.take([2, 1]))

    def test_vectors_lie_outside_their_rows_and_uncompressed(self, postgres, in_postgres):
        store = in_postgres(postgres.url)
        store.space("a", SPEC).put(keys(1), random_packed([5000], SPEC))

        asked = "SELECT attstorage FROM pg_attribute WHERE attrelid = '{}.record_1'::regclass AND attname = 'value'"
        assert postgres.run(asked.format(store.schema)) == [("e",)]

    def test_large_spaces_are_estimated(self, postgres, in_postgres, monkeypatch):
        store = in_postgres(postgres.url)
        store.space("a", SPEC).put(keys(3000), random_packed([10] * 3000, SPEC))
        exact = store.stats()
        monkeypatch.setattr("late_rerank.stores.postgres.sizes.COUNTED_BYTES", 100)
        uncounted = store.stats()
        postgres.run(f"ANALYZE {store.schema}.record_1")
        estimated = store.stats()

        assert (exact["estimated"], uncounted["estimated"], estimated["estimated"]) == (False, False, True)
        assert estimated["n_documents"] == exact["n_documents"] == uncounted["n_documents"] == 3000

    def test_stats_tell_each_space(self, postgres, in_postgres):
        store = in_postgres(postgres.url)
        for name, n in (("a", 3), ("b", 2)):
            store.space(name, SPEC).put(keys(n), random_packed([1] * n, SPEC))
        store.space("only opened", SPEC)

        told = store.stats()["spaces"]
        assert [(space["fingerprint"], space["n_documents"]) for space in told] == [("a", 3), ("b", 2), ("only opened", 0)]
        assert [space["size_bytes"] > 0 for space in told] == [True, True, False]

    def test_a_store_is_sent_to_another_process(self, postgres, in_postgres):
        store = in_postgres(postgres.url, ttl_s=300, check=True, on_error="raise", max_connections=3)
        store.space("a", SPEC).put(keys(3), random_packed([1, 2, 3], SPEC))

        with pickle.loads(pickle.dumps(store)) as again:
            assert again._given == store._given
            with TieredStore(MemoryStore(), again) as tiered:
                assert same_documents(tiered.space("a", SPEC).get(keys(3)).found, random_packed([1, 2, 3], SPEC))


@needs_fork
class TestProcesses:
    def test_a_forked_process_uses_sessions_of_its_own_while_threads_go_on(self, postgres, in_postgres):
        store = in_postgres(postgres.url, on_error="raise", retries=0)
        space, names, packed = store.space("a", SPEC), keys(50), random_packed([9] * 50, SPEC)
        space.put(names, packed)

        def session():
            return store._shared.server.ask(Statement("SELECT pg_backend_pid()")).rows[0][0]

        def found():
            return all(same_documents(space.get(names).found, packed) for _ in range(20))

        ours = session()
        assert in_a_child(session) != ours == session()
        with ThreadPoolExecutor(2) as pool:
            finding = [pool.submit(found) for _ in range(8)]
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 on: threads are there
                assert all(in_a_child(found) for _ in range(4))
            assert all(future.result(60) for future in finding)
        assert found()  # no child closed a session but its own

    def test_a_put_locks_documents_in_the_order_of_their_keys(self, postgres, in_postgres):
        """Else two that put the same documents in different orders wait for each other."""
        import psycopg

        store = in_postgres(postgres.url, write_timeout_s=60)
        first, last = keys(2)
        store.space("a", SPEC).put([first, last], random_packed([1, 2], SPEC))
        asked = f"SELECT key FROM {store.schema}.record WHERE key = %s FOR UPDATE"
        with ThreadPoolExecutor(1) as pool, psycopg.connect(postgres.url) as connection:
            connection.execute(asked, [last])
            putting = pool.submit(store.space("a", SPEC).put, [last, first], random_packed([3, 4], SPEC))
            until(lambda: postgres.run("SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock'"))
            assert postgres.run(f"{asked} SKIP LOCKED", first) == []
            connection.rollback()
            putting.result(60)
        assert store.space("a", SPEC).get([first, last]).found.lengths.tolist() == [4, 3]

    def test_four_that_begin_an_empty_store_at_once_make_one(self, postgres):
        schema, begin = fresh_schema(), os.pipe()

        def work(number):
            os.close(begin[1])
            with PostgresStore(postgres.url, schema=schema, on_error="raise", timeout_s=30, write_timeout_s=60) as store:
                os.read(begin[0], 1)  # until the parent closes its end
                for turn in range(10):
                    # The same keys in different orders, and keys of its own.
                    shared = keys(40) if number % 2 else keys(40)[::-1]
                    names = [*shared, *keys(20, salt=10 * number + turn + 1)]
                    store.space("a", SPEC).put(names, random_packed([5] * 60, SPEC))

        children = [forked(lambda number=number: work(number)) for number in range(4)]
        os.close(begin[0])
        os.close(begin[1])
        assert [os.waitpid(child, 0)[1] for child in children] == [0] * 4
        with PostgresStore(postgres.url, schema=schema, on_error="raise") as store:
            assert len(store.spaces()) == 1
            assert store.stats()["n_documents"] == 40 + 4 * 10 * 20
            assert store.space("a", SPEC).get(keys(40)).missing.tolist() == []
        assert postgres.run("SELECT sum(deadlocks)::int FROM pg_stat_database") == [(0,)]

    def test_what_a_killed_writer_was_told_is_kept_and_nothing_is_half_there(self, postgres):
        schema, lengths = fresh_schema(), [200, 0, 17]
        for turn in range(8):
            acknowledged = self._killed_after(postgres, schema, lengths, turn)
            with PostgresStore(postgres.url, schema=schema, on_error="raise", check=True) as store:
                for n in range(acknowledged + 2):
                    names = keys(3, salt=100 * turn + n)
                    fetched = store.space("a", SPEC).get(names)
                    assert len(fetched.found) in ((3,) if n < acknowledged else (0, 3))
                    if len(fetched.found):
                        assert same_documents(fetched.found, random_packed(lengths, SPEC, seed=n))
                assert store.stats()["n_damaged"] == 0

    def _killed_after(self, postgres, schema, lengths, turn):
        """Let a child put until it is killed; give how many puts it was told of."""
        reading, writing = os.pipe()

        def work():
            with PostgresStore(postgres.url, schema=schema, on_error="raise") as store:
                for n in range(1000):
                    store.space("a", SPEC).put(keys(3, salt=100 * turn + n), random_packed(lengths, SPEC, seed=n))
                    os.write(writing, b"x")

        child = forked(work)
        os.close(writing)
        told = os.read(reading, 1 + turn)  # the first of them at least
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        while more := os.read(reading, 4096):
            told += more
        os.close(reading)
        assert told
        return len(told)


class TestDamage:
    @pytest.fixture
    def damaged(self, postgres, in_postgres):
        """A reranker of 20 documents, and what changes the value of the first one."""
        reranker = Reranker(FakeEncoder(), store=in_postgres(postgres.url))
        hits(reranker)
        record = f"{reranker.store.schema}.record"

        def change(spoil):
            value, other = (
                postgres.run(f"SELECT value FROM {record} WHERE key = %s", key_of(text))[0][0] for text in TEXTS[:2]
            )
            postgres.run(f"UPDATE {record} SET value = %s WHERE key = %s", spoil(value, other), key_of(TEXTS[0]))

        return reranker, change

    @pytest.mark.parametrize(
        "spoil",
        [
            lambda value, _: b"",
            lambda value, _: b"\xff" * len(value),
            lambda value, _: value[:-64],
            lambda value, _: value + bytes(64),
            lambda _, other: other,
            lambda value, _: value[:40] + b"\xff" * 8 + value[48:],
        ],
        ids=["empty", "noise", "short", "long", "another's", "all tokens"],
    )
    def test_a_value_that_is_no_record_of_its_key_is_encoded_again(self, damaged, spoil):
        reranker, change = damaged
        change(spoil)

        assert hits(reranker) == 19
        assert reranker.store.stats()["n_damaged"] == 1
        assert hits(reranker) == 20  # written over

    def test_check_finds_one_flipped_bit(self, damaged, postgres, in_postgres):
        reranker, change = damaged
        change(lambda value, _: value[:100] + bytes([value[100] ^ 1]) + value[101:])
        checking = in_postgres(postgres.url, schema=reranker.store.schema, check=True)

        assert hits(Reranker(FakeEncoder(), store=checking)) == 19
        assert checking.stats()["n_damaged"] == 1


class TestCommands:
    def test_stats_and_drop_are_told_and_what_needs_a_folder_is_refused(self, postgres, capsys):
        with PostgresStore(postgres.url) as store:  # commands know the usual schema alone
            hits(Reranker(FakeEncoder(), store=store))
            try:
                assert main(["store", "stats", postgres.url]) == 0
                assert "20 documents" in capsys.readouterr().out
                for verb in ("verify", "compact", "rebuild"):
                    assert main(["store", verb, postgres.url]) == 1
                    assert f"{verb} is for stores in folders" in capsys.readouterr().err
                assert main(["store", "drop", postgres.url, "--all"]) == 0
                assert "dropped 20 documents" in capsys.readouterr().out
                assert store.spaces() == [] or store.stats()["n_documents"] == 0
            finally:
                postgres.run("DROP SCHEMA late_rerank CASCADE")

    def test_a_server_that_is_down_fails_a_command_without_its_password(self, capsys, monkeypatch):
        monkeypatch.setattr("late_rerank.cli.opening._PATIENT_RETRIES", 0)
        assert main(["store", "stats", "postgresql://me:secret-word@127.0.0.1:1/db"]) == 1
        said = capsys.readouterr().err
        assert "Is it running" in said
        assert "secret-word" not in said

    def test_a_query_goes_on_where_an_index_fails(self, in_postgres):
        url = "postgresql://me@127.0.0.1:1/db"
        with pytest.warns(RuntimeWarning, match="did not answer"):
            assert hits(Reranker(FakeEncoder(), store=in_postgres(url))) == 0
        with pytest.raises(StoreConnectionError):
            Reranker(FakeEncoder(), store=in_postgres(url, on_error="raise")).rerank(QUERY, TEXTS)
