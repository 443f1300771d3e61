"""What a real Redis holds: shared, expired, flushed, spoilt."""

import os
import pickle
import warnings

import pytest
from redis_queries import QUERY, TEXTS, hits, until
from redis_servers import fresh_prefix, skip_without_redis

from late_rerank import Reranker
from late_rerank.errors import StoreConnectionError
from late_rerank.stores import MemoryStore, TieredStore
from late_rerank.testing.fakes import FakeEncoder
from late_rerank.testing.stores import SPEC, keys
from late_rerank.testing.vectors import random_packed, same_documents
from late_rerank.vectors.keys import key_of

skip_without_redis()


class TestWhatRedisHolds:
    def test_flushed_documents_are_encoded_again_and_their_space_is_found_again(self, server, opened):
        reranker = Reranker(FakeEncoder(), store=opened(server.url))
        hits(reranker)
        server.cli("FLUSHALL")

        assert hits(reranker) == 0
        assert hits(reranker) == 20
        assert [space.fingerprint for space in reranker.store.spaces()] == [FakeEncoder().fingerprint]

    def test_documents_expire(self, lasting, opened):
        lasting_long = Reranker(FakeEncoder(), store=opened(lasting.url, ttl_s=300))
        hits(lasting_long)
        assert hits(lasting_long) == 20
        left_ms = [int(lasting.cli("PTTL", name)) for name in value_names(lasting, lasting_long.store).values() if ":" in name]
        assert len([ms for ms in left_ms if 0 < ms <= 300_000]) == 20

        reranker = Reranker(FakeEncoder(), store=opened(lasting.url, ttl_s=0.5))
        hits(reranker)
        until(lambda: reranker.stats()["n_documents"] == 0)
        assert hits(reranker) == 0

    def test_processes_share_documents_spaces_and_drops(self, lasting, opened):
        prefix = fresh_prefix()
        ours, theirs = opened(lasting.url, prefix=prefix), opened(lasting.url, prefix=prefix)
        hits(Reranker(FakeEncoder(), store=ours))
        reader = FakeEncoder()

        assert hits(Reranker(reader, store=theirs)) == 20
        assert reader.n_documents == 0
        assert theirs.stats()["n_documents"] == 20
        assert theirs.drop(reader.fingerprint) == 20
        assert ours.stats()["n_documents"] == 0
        assert theirs.spaces() == []

    def test_spaces_come_oldest_first(self, lasting, opened):
        prefix = fresh_prefix()
        names = [f"encoder {i}" for i in (3, 1, 2)]
        for name in names:
            opened(lasting.url, prefix=prefix).space(name, SPEC).put(keys(1), random_packed([1], SPEC))

        assert [space.fingerprint for space in opened(lasting.url, prefix=prefix).spaces()] == names

    def test_encoders_never_see_each_others_documents(self, lasting, opened):
        store = opened(lasting.url)
        hits(Reranker(FakeEncoder(), store=store))
        other = FakeEncoder(dim=32)

        assert Reranker(other, store=store).rerank(QUERY, TEXTS).n_hits == 0
        assert other.n_documents == 20
        assert hits(Reranker(FakeEncoder(), store=store)) == 20

    def test_prefixes_never_see_each_other(self, lasting, opened):
        prefix = fresh_prefix()
        longer, shorter = opened(lasting.url, prefix=f"{prefix}:spaces"), opened(lasting.url, prefix=prefix)
        hits(Reranker(FakeEncoder(), store=longer))

        assert shorter.stats()["n_documents"] == 0
        assert shorter.spaces() == []

    def test_more_documents_than_one_batch_keep_their_order(self, lasting, opened):
        store = opened(lasting.url, timeout_s=5)
        space, names = store.space("a", SPEC), keys(1300)
        lengths = [40_000 if i in (7, 8, 9, 500) else i % 3 for i in range(1300)]
        packed = random_packed(lengths, SPEC)
        space.put(names, packed)

        fetched = space.get([*reversed(names), *keys(1, salt=5)])
        assert same_documents(fetched.found, packed.take(slice(None, None, -1)))
        assert fetched.missing.tolist() == [1300]
        assert len(space) == store.stats()["n_documents"] == 1300
        assert space.delete(names) == 1300

    def test_sizes_beyond_a_bound_are_estimated(self, lasting, opened, monkeypatch):
        store = opened(lasting.url)
        store.space("a", SPEC).put(keys(3000), random_packed([10] * 3000, SPEC))
        exact = store.stats()
        monkeypatch.setattr("late_rerank.stores.redis.store.MEASURED_DOCUMENTS", 100)
        estimated = store.stats()

        assert not exact["estimated"]
        assert estimated["estimated"]
        assert estimated["n_documents"] == exact["n_documents"] == 3000
        assert estimated["size_bytes"] == exact["size_bytes"]

    def test_a_forked_process_uses_connections_of_its_own(self, lasting, opened):
        store = opened(lasting.url)
        space, names, packed = store.space("a", SPEC), keys(50), random_packed([9] * 50, SPEC)
        space.put(names, packed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 on: torch's threads are there
            child = os.fork()
        good = all(same_documents(space.get(names).found, packed) for _ in range(50))
        if child == 0:
            os._exit(0 if good else 1)

        assert os.waitpid(child, 0)[1] == 0
        assert good


class TestMissing:
    """What indexing asks: `Space.missing`."""

    def test_indexing_again_fetches_no_vectors(self, server, opened):
        reranker = Reranker(FakeEncoder(), store=opened(server.url))
        reranker.index(TEXTS[:15])
        server.cli("CONFIG", "RESETSTAT")
        report = reranker.index(TEXTS)

        assert (report.n_encoded, report.n_cached) == (5, 15)
        called = server.cli("INFO", "commandstats")
        assert "cmdstat_set:" in called
        assert "get:" not in called  # nor mget

    def test_a_damaged_document_counts_as_here(self, lasting, opened):
        store = opened(lasting.url)
        space = store.space("a", SPEC)
        space.put(keys(3), random_packed([1, 2, 3], SPEC))
        lasting.cli("SET", value_names(lasting, store)[keys(3)[1].hex()], "noise")

        assert space.missing(keys(4)).tolist() == [3]
        assert space.get(keys(4)).missing.tolist() == [1, 3]

    def test_it_counts_as_a_use(self, lasting, opened):
        store = opened(lasting.url)
        space = store.space("a", SPEC)
        space.put(keys(2), random_packed([1, 2], SPEC))
        names = value_names(lasting, store)

        def idle_s():
            return [int(lasting.cli("OBJECT", "IDLETIME", names[key.hex()])) for key in keys(2)]

        until(lambda: min(idle_s()) >= 2)
        space.missing(keys(1))
        touched, untouched = idle_s()
        assert touched < untouched

    def test_of_a_server_that_is_down_everything_is_missing_and_counted_or_it_raises(self, server, opened):
        store, strict = opened(server.url), opened(server.url, on_error="raise")
        store.space("a", SPEC).put(keys(3), random_packed([1, 2, 3], SPEC))
        server.kill()

        with pytest.warns(RuntimeWarning, match="did not answer"):
            assert store.space("a", SPEC).missing(keys(3)).tolist() == [0, 1, 2]
        assert store.stats()["n_unreachable"] == 3
        with pytest.raises(StoreConnectionError, match="did not answer"):
            strict.space("a", SPEC).missing(keys(3))


def test_stats_tell_each_space(lasting, opened):
    store = opened(lasting.url)
    for name, n in (("a", 3), ("b", 2)):
        store.space(name, SPEC).put(keys(n), random_packed([1] * n, SPEC))
    store.space("only opened", SPEC)

    assert store.stats()["spaces"] == [
        {"fingerprint": name, "codec": "test", "dim": 7, "n_documents": n}
        for name, n in (("a", 3), ("b", 2), ("only opened", 0))
    ]


def test_a_store_is_sent_to_another_process(lasting, opened):
    store = opened(lasting.url, ttl_s=300, check=True, on_error="raise")
    store.space("a", SPEC).put(keys(3), random_packed([1, 2, 3], SPEC))

    with pickle.loads(pickle.dumps(TieredStore(MemoryStoreThatPickles(), store))) as tiered:
        assert same_documents(tiered.space("a", SPEC).get(keys(3)).found, random_packed([1, 2, 3], SPEC))
        assert tiered.far.url == store.url
        assert tiered.far.prefix == store.prefix


class MemoryStoreThatPickles(MemoryStore):
    def __reduce__(self):
        return MemoryStore, (self.max_bytes,)


def value_names(server, store):
    return {name.rpartition(":")[2]: name for name in server.cli("--scan", "--pattern", f"{store.prefix}:*").split()}


class TestDamage:
    @pytest.fixture
    def damaged(self, lasting, opened):
        """A store, and a client and the name of one of its 20 values."""
        import redis

        client = redis.Redis(port=lasting.port)
        with client:
            reranker = Reranker(FakeEncoder(), store=opened(lasting.url))
            hits(reranker)
            names = value_names(lasting, reranker.store)
            yield reranker, client, names[key_of(TEXTS[0]).hex()], names[key_of(TEXTS[1]).hex()]

    @pytest.mark.parametrize(
        "spoil",
        [
            lambda value, _: b"",
            lambda value, _: b"\xff" * len(value),
            lambda value, _: value[:-64],
            lambda value, _: value + bytes(64),
            lambda value, _: value[:40],
            lambda _, other: other,
            lambda value, _: value[:40] + (10**6).to_bytes(8, "little") + value[48:],
            lambda value, _: value[:40] + b"\xff" * 8 + value[48:],
            lambda value, _: value[:40] + bytes(8) + value[48:],
            lambda value, _: value[:56] + b"\x01" + value[57:],
        ],
        ids=["empty", "noise", "short", "long", "half a header", "another's", "tokens", "all tokens", "no tokens", "tombstone"],
    )
    def test_a_value_that_is_no_record_of_its_key_is_encoded_again(self, damaged, spoil):
        reranker, client, name, other = damaged
        client.set(name, spoil(client.get(name), client.get(other)))

        assert hits(reranker) == 19
        assert reranker.store.stats()["n_damaged"] == 1
        assert hits(reranker) == 20  # written over

    def test_a_name_that_is_no_string_is_passed_over(self, damaged):
        reranker, client, name, _ = damaged
        client.delete(name)
        client.lpush(name, "x")

        assert hits(reranker) == 19
        assert hits(reranker) == 20

    @pytest.mark.parametrize("on_error", ["miss", "raise"])
    def test_a_name_that_is_no_string_is_nothing_in_stats(self, damaged, opened, lasting, on_error):
        reranker, client, name, _ = damaged
        client.delete(name)
        client.lpush(name, "x")
        store = opened(lasting.url, prefix=reranker.store.prefix, on_error=on_error)

        assert store.stats()["n_errors"] == 0

    def test_a_prefix_that_somebody_else_uses(self, lasting, opened):
        store = opened(lasting.url, on_error="raise")
        lasting.cli("SET", f"{store.prefix}:spaces", "theirs")

        with pytest.raises(StoreConnectionError, match="give another prefix"):
            store.space("a", SPEC).put(keys(1), random_packed([1], SPEC))

    def test_check_finds_one_flipped_bit(self, damaged, opened, lasting):
        reranker, client, name, _ = damaged
        value = bytearray(client.get(name))
        value[100] ^= 1
        client.set(name, bytes(value))
        checking = opened(lasting.url, prefix=reranker.store.prefix, check=True)

        assert hits(Reranker(FakeEncoder(), store=checking)) == 19
        assert checking.stats()["n_damaged"] == 1

    def test_a_space_of_a_later_version_is_passed_over(self, damaged):
        reranker, client, _, _ = damaged
        client.zadd(f"{reranker.store.prefix}:spaces", {b'{"format":2}': 0, b"\xff": 1})

        assert len(reranker.store.spaces()) == 1
