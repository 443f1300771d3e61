"""A URL of object storage -> its store, with a near copy on this machine's disk before it."""

import os
import pickle
import time
from pathlib import Path

import pytest

pytest.importorskip("obstore", reason='needs `pip install "late-rerank[remote]"`')

from forking import in_a_child, needs_fork
from remote_runs import ObjectServer, add

from late_rerank import Reranker
from late_rerank.errors import StoreError
from late_rerank.serve.errors import RequestError
from late_rerank.serve.indexing import Indexer
from late_rerank.stores import DiskStore, MemoryStore, PublishedStore, TieredStore, open_store
from late_rerank.stores.opening import would_be_made
from late_rerank.stores.remote import RemoteStore
from late_rerank.stores.remote.address import folder_of, read_address
from late_rerank.stores.remote.objects import Objects
from late_rerank.stores.remote.opening import CACHE_BYTES, cache_folder
from late_rerank.stores.remote.publishing import publish
from late_rerank.stores.tiered import near_is_enough
from late_rerank.testing.fakes import FakeEncoder
from late_rerank.testing.stores import SPEC, keys
from late_rerank.testing.vectors import random_packed, same_documents

NAMES = keys(6)
LENGTHS = [3, 0, 1, 60, 17, 64]


@pytest.fixture
def url(tmp_path, monkeypatch):
    """A store of six documents in a folder; the user's cache lies beside it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    add(f"file://{tmp_path}/remote", NAMES, LENGTHS)
    return f"file://{tmp_path}/remote"


@pytest.fixture
def server(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with ObjectServer().serving() as served:
        for name, value in served.environment.items():
            monkeypatch.setenv(name, value)
        yield served


def test_a_url_opens_a_store_behind_a_bounded_near_one(url, tmp_path):
    with open_store(url) as store:
        assert (type(store), type(store.near), type(store.far)) == (TieredStore, DiskStore, RemoteStore)
        assert store.near.stats()["max_bytes"] == CACHE_BYTES
        assert same_documents(store.space("a", SPEC).get(NAMES).found, random_packed(LENGTHS, SPEC))
    (folder,) = (tmp_path / "cache" / "late-rerank" / "stores").iterdir()
    with DiskStore(folder) as near:
        assert near.stats()["n_documents"] == 6  # kept behind the answer, and all of it when the store was closed
    assert not would_be_made(url)


def test_what_is_near_is_not_asked_for_again(server):
    add("s3://bucket/p", NAMES, LENGTHS)
    for expected in (True, False):
        with open_store("s3://bucket/p") as store:
            server.counts.clear()
            store.space("a", SPEC).get(NAMES)
            assert (server.counts["GET"] > 0) is expected


def test_new_documents_are_kept_near(url):
    with open_store(url) as store:
        space, more = store.space("a", SPEC), keys(1, salt=5)
        space.put(more, random_packed([9], SPEC, seed=9))
        assert same_documents(space.get(more).found, random_packed([9], SPEC, seed=9))
        assert space.missing([*more, *NAMES, *keys(1, salt=6)]).tolist() == [7]


def test_options_in_the_url_say_where_near_documents_lie_and_how_many(url, tmp_path):
    with open_store(f"{url}?cache={tmp_path}/near&cache_bytes=500MB&poll_s=5") as store:
        assert store.near.path == tmp_path / "near"
        assert store.near.stats()["max_bytes"] == 500 * 2**20
    assert not (tmp_path / "cache").exists()


def test_each_url_has_a_folder_of_its_own_in_the_users_cache(monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "/caches")
    urls = ["s3://bucket/a", "s3://bucket/a/b", "s3://bucket/a-b", "gs://bucket/a", "s3://bucket"]
    assert len({cache_folder(url) for url in urls}) == len(urls)
    assert {cache_folder(url).parent for url in urls} == {Path("/caches/late-rerank/stores")}
    assert cache_folder("s3://bucket/a").name.startswith("s3-bucket-a-")
    for given in ("", "relative"):
        monkeypatch.setenv("XDG_CACHE_HOME", given)
        assert cache_folder(urls[0]).parents[2] == Path.home() / ".cache"


def test_where_no_cache_can_be_written_near_documents_are_in_memory_and_that_is_told(url, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.warns(RuntimeWarning, match="They are kept in memory"):
        store = open_store(url)
    with store:
        assert isinstance(store.near, MemoryStore)
        assert len(store.space("a", SPEC).get(NAMES).found) == 6
    with pytest.raises((StoreError, OSError)):
        open_store(f"{url}?cache={tmp_path}/file/near")


def test_without_a_home_near_documents_are_in_memory_and_that_is_told(url, monkeypatch):
    for name in ("XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name)

    def nobody(_):
        raise KeyError

    monkeypatch.setattr("pwd.getpwuid", nobody)
    with pytest.warns(RuntimeWarning, match="no home directory; name a folder for caches by XDG_CACHE_HOME.*kept in memory"):
        store = open_store(url)
    with store:
        assert isinstance(store.near, MemoryStore)


def test_a_published_folder_is_opened_as_it_is(tmp_path):
    with DiskStore(tmp_path / "store") as store:
        store.space("a", SPEC).put(NAMES, random_packed(LENGTHS, SPEC))
        store.publish(tmp_path / "out")
    with open_store(f"file://{tmp_path}/out") as published:
        assert isinstance(published, PublishedStore)


def test_a_folder_without_a_store_is_told_and_not_made(tmp_path):
    with pytest.raises(StoreError, match="holds no store"):
        open_store(f"file://{tmp_path}/nothing")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("s3://", "must be followed by a bucket"),
        ("s3:///prefix", "must be followed by a bucket"),
        ("s3://me:secret@bucket/x", "holds a user or a password"),
        ("file://folder/x", "three slashes"),
        ("file:///", "three slashes"),
        ("s3://bucket/x?region=secret", "unknown options: region"),
        ("s3://bucket/x#secret", "percent-encode"),
        ("s3://bucket/x?cache=", "must name a folder"),
        ("s3://bucket/x?cache_bytes=many", "must be a size such as 20GB"),
        ("s3://bucket/x?cache_bytes=0", "must be a size such as 20GB"),
        ("s3://bucket/x?poll_s=-1", "a number of seconds above 0"),
        ("http://bucket", "s3://BUCKET/PREFIX"),
    ],
)
def test_a_wrong_url_is_refused_without_its_secrets(url, said):
    with pytest.raises(ValueError, match=said) as error:
        read_address(url)
    assert "secret" not in str(error.value)
    assert "secret" not in repr(error.value.__cause__)


def test_a_url_is_taken_with_and_without_a_slash_at_its_end():
    assert read_address("s3://bucket/a/").url == "s3://bucket/a"
    assert read_address("s3://bucket").url == "s3://bucket"
    assert folder_of("file:///a%20b") == Path("/a b")
    assert read_address("s3://b/x?cache_bytes=1.5GiB").cache_bytes == 3 * 2**29


@pytest.mark.parametrize(
    "arguments", [{"on_error": "ignore"}, {"timeout_s": 0}, {"pause_s": -1}, {"poll_s": float("inf")}, {"retries": -1}]
)
def test_wrong_arguments_are_refused(arguments):
    with pytest.raises(ValueError, match=next(iter(arguments))):
        RemoteStore("s3://bucket/x", **arguments)


def test_an_object_below_a_url_with_odd_characters_is_found(tmp_path):
    objects = Objects.at(f"file://{tmp_path}/a%20b")
    objects.put("x/y", b"here")
    assert (tmp_path / "a b" / "x" / "y").read_bytes() == b"here"


def test_a_pickled_store_reads_the_same_place(url):
    with RemoteStore(url, poll_s=7, on_error="raise") as store, pickle.loads(pickle.dumps(store)) as again:
        assert again._given == store._given
        assert len(again.space("a", SPEC).get(NAMES).found) == 6


@needs_fork
def test_children_read_and_commit_also_after_the_parent_did(server):
    add("s3://bucket/p", NAMES[:3], LENGTHS[:3])
    with open_store("s3://bucket/p") as store:
        space = store.space("a", SPEC)
        assert len(space.get(NAMES[:1]).found) == 1

        def child():
            add("s3://bucket/p", NAMES[3:], LENGTHS[3:], seed=1)
            return (
                len(space.get(NAMES[:3]).found),
                len(store.far.space("a", SPEC)),
                in_a_child(lambda: len(space.get(NAMES).found)),
            )

        assert in_a_child(child)[:2] == (3, 3)
        assert len(space.get(NAMES[:3]).found) == 3
        assert in_a_child(lambda: os.getpid()) != os.getpid()


def test_a_reranker_reads_a_published_store_by_its_url(server, tmp_path):
    texts = [f"text number {i} says {word}" for i, word in enumerate(["cats", "rivers", "stars", "bread"])]
    with Reranker(FakeEncoder(), store=tmp_path / "store") as reranker:
        reranker.index(texts)
        expected = [(ranked.text, ranked.score) for ranked in reranker.rerank("cats", texts)]
    publish(tmp_path / "store", "s3://bucket/p")
    with Reranker(FakeEncoder(), store="s3://bucket/p", on_missing="raise") as reranker:
        ranking = reranker.rerank("cats", texts)
        assert ([(ranked.text, ranked.score) for ranked in ranking], ranking.n_hits) == (expected, 4)
        for index in (reranker.index, reranker.import_vectors):
            with pytest.raises(StoreError, match=r"s3://bucket/p is read-only here.*`late-rerank index PATH --store URL`"):
                index([*texts, "a new one"])
        with pytest.raises(RequestError, match="late-rerank index PATH --store URL") as refused:
            Indexer(reranker, timeout_s=60.0).index(["a new one"], arrived=time.monotonic())
        assert (refused.value.status, "bucket" in refused.value.message) == (400, False)


def test_what_queries_and_measurements_encode_is_kept_near(url):
    with Reranker(FakeEncoder(), store=url) as reranker:
        assert [reranker.rerank("cats", ["cats sleep"]).n_hits for _ in range(2)] == [0, 1]
        with near_is_enough():
            assert reranker.index(["cats sleep", "rivers run"]).n_encoded == 1
        assert reranker.rerank("cats", ["rivers run"]).n_hits == 1
