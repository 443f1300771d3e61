"""What a real Redis holds: shared, expired, flushed, spoilt."""

import os
import time
import warnings

import pytest
from redis_queries import QUERY, TEXTS, hits
from redis_servers import fresh_prefix, skip_without_redis

from late_rerank import Reranker
from late_rerank.index import key_of
from late_rerank.testing.fakes import FakeEncoder
from late_rerank.testing.stores import SPEC, keys
from late_rerank.testing.vectors import random_packed, same_documents

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
        reranker = Reranker(FakeEncoder(), store=opened(lasting.url, ttl_s=0.5))
        hits(reranker)
        assert hits(reranker) == 20
        time.sleep(0.6)

        assert reranker.stats()["n_documents"] == 0
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
