"""Near copies of object storage: what is corrected, deleted or dropped there is noticed by every machine."""

import shutil

import pytest

pytest.importorskip("obstore", reason='needs `pip install "late-rerank[remote]"`')

from remote_runs import ObjectServer, add, put_run

from late_rerank.stores import DiskStore, MemoryStore, TieredStore, open_store
from late_rerank.stores.remote import RemoteStore
from late_rerank.stores.remote.committing import commit
from late_rerank.stores.remote.deleting import delete, drop
from late_rerank.stores.remote.manifest import newest
from late_rerank.stores.remote.merging import merge
from late_rerank.stores.remote.objects import Objects
from late_rerank.testing.stores import SPEC, keys
from late_rerank.testing.vectors import random_packed, same_documents

NAMES = keys(6)
LENGTHS = [3, 0, 1, 60, 17, 64]


OLD, NEW = random_packed(LENGTHS[:3], SPEC), random_packed(LENGTHS[:3], SPEC, seed=7)


@pytest.fixture
def url(tmp_path):
    """A store of three documents in a folder."""
    add(f"file://{tmp_path}/remote", NAMES[:3], LENGTHS[:3])
    return f"file://{tmp_path}/remote"


CHANGES = {
    "add": (0, lambda url: add(url, NAMES[3:], LENGTHS[3:], seed=1)),
    "add to another space": (0, lambda url: add(url, NAMES[:3], LENGTHS[:3], fingerprint="b")),
    "commit again": (0, lambda url: add(url, NAMES[:3], LENGTHS[:3])),
    "replace one of them": (1, lambda url: add(url, NAMES[2:5], LENGTHS[2:5], seed=1)),
    "delete": (1, lambda url: delete(Objects.at(url), "a", SPEC, NAMES[:1])),
    "delete what isn't there": (0, lambda url: delete(Objects.at(url), "a", SPEC, NAMES[5:])),
    "drop": (1, lambda url: drop(Objects.at(url), "a")),
    "drop another model's": (0, lambda url: drop(Objects.at(url), "b")),
}


@pytest.mark.parametrize("change", CHANGES)
def test_the_generation_grows_only_if_a_copy_may_be_wrong(url, change):
    expected, does = CHANGES[change]
    does(url)
    assert newest(Objects.at(url)).generation == expected


def test_a_merge_keeps_the_generation_and_so_does_the_next_addition(url):
    add(url, NAMES[1:4], LENGTHS[1:4], seed=1)
    merge(Objects.at(url))
    add(url, NAMES[4:], LENGTHS[4:], seed=2)
    assert newest(Objects.at(url)).generation == 1


def test_a_run_whose_keys_cant_be_read_counts_as_replacing(url, tmp_path):
    objects = Objects.at(url)
    new = put_run(objects, NAMES[3:], LENGTHS[3:], seed=1)
    (tmp_path / "remote" / new.keys).write_bytes(b"damaged")
    commit(objects, [new])
    assert newest(objects).generation == 1


def test_of_writers_at_once_each_looks_at_what_the_other_committed(url, monkeypatch):
    objects, others = Objects.at(url), [NAMES[4:]]
    create = Objects.create

    def after_another(self, name, raw):
        if name.startswith("manifests") and others:
            add(url, others.pop(), LENGTHS[4:], seed=1)
        return create(self, name, raw)

    new = put_run(objects, NAMES[3:5], LENGTHS[3:5], seed=2)
    monkeypatch.setattr(Objects, "create", after_another)
    commit(objects, [new])
    assert (newest(objects).number, newest(objects).generation) == (3, 1)


def looked(store):
    """See what was committed, as a reader does some seconds later."""
    store.far._shared._next_look = 0.0
    _ = store.edition
    store.far._shared._threads.submit(lambda: None).result(60)


CORRECTIONS = {
    "replaced": lambda url: add(url, NAMES[:3], LENGTHS[:3], seed=7),
    "deleted": lambda url: delete(Objects.at(url), "a", SPEC, NAMES[:3]),
    "dropped": lambda url: drop(Objects.at(url), "a"),
}


@pytest.mark.parametrize("is_open", [True, False])
@pytest.mark.parametrize("correction", CORRECTIONS)
def test_near_copies_follow_what_was_corrected_far(url, tmp_path, correction, is_open):
    """While every document is near, so that no query asks the far store; and when the store is opened again."""
    where = f"{url}?cache={tmp_path}/near"
    with open_store(where) as store:
        space = store.space("a", SPEC)
        space.get(NAMES[:3])
        store._filler.drain()
        assert same_documents(space.get(NAMES[:3]).found, OLD)
        CORRECTIONS[correction](url)
        if is_open:
            looked(store)
            check(space, correction)
    if not is_open:
        with open_store(where) as store:
            check(store.space("a", SPEC), correction)
    with DiskStore(tmp_path / "near") as near:
        assert near.stats()["n_documents"] == (3 if correction == "replaced" else 0)


def check(space, correction):
    fetched = space.get(NAMES[:3])
    if correction == "replaced":
        assert same_documents(fetched.found, NEW)
    else:
        assert fetched.missing.tolist() == [0, 1, 2]


def test_additions_and_merges_leave_near_copies(url):
    with TieredStore(MemoryStore(), RemoteStore(url)) as store:
        space = store.space("a", SPEC)
        space.get(NAMES[:3])
        add(url, NAMES[3:], LENGTHS[3:], seed=1)
        merge(Objects.at(url))
        looked(store)
        space._far.get = None  # isn't asked
        assert len(space.get(NAMES[:3]).found) == 3


def test_a_copy_read_before_a_correction_is_noticed_is_not_taken_for_a_newer_one(url):
    with TieredStore(MemoryStore(), RemoteStore(url)) as store:
        space = store.space("a", SPEC)
        get = space._far.get

        def slow(names):
            found = get(names)
            CORRECTIONS["replaced"](url)
            looked(store)
            return found

        space._far.get = slow
        assert same_documents(space.get(NAMES[:3]).found, OLD)
        space._far.get = get
        assert same_documents(space.get(NAMES[:3]).found, NEW)


def test_processes_that_know_different_editions_share_a_near_store(url):
    near = MemoryStore()
    before = TieredStore(near, RemoteStore(url)).space("a", SPEC)
    before.get(NAMES[:1])
    CORRECTIONS["replaced"](url)
    after = TieredStore(near, RemoteStore(url)).space("a", SPEC)
    for _ in range(2):
        assert same_documents(after.get(NAMES[:3]).found, NEW)
        assert same_documents(before.get(NAMES[:3]).found, OLD)


def test_a_store_made_anew_at_the_same_place_is_another_one(url, tmp_path):
    where = f"{url}?cache={tmp_path}/near"
    with open_store(where) as store:
        store.space("a", SPEC).get(NAMES[:3])
    shutil.rmtree(tmp_path / "remote")
    CORRECTIONS["replaced"](url)
    with open_store(where) as store:
        check(store.space("a", SPEC), "replaced")


def test_near_copies_are_used_though_a_store_is_opened_while_the_service_is_down(url, tmp_path):
    near = MemoryStore()
    store = TieredStore(near, RemoteStore(url))
    store.space("a", SPEC).get(NAMES[:3])
    with ObjectServer().serving() as served, pytest.MonkeyPatch.context() as environment:
        for name, value in served.environment.items():
            environment.setenv(name, value)
        served.habits.fail = lambda method, name: 503
        with pytest.warns(RuntimeWarning, match="503"):
            far = RemoteStore("s3://bucket/p", retries=0, pause_s=0.01, poll_s=0.01)
        later = TieredStore(near, far)
        space = later.space("a", SPEC)
        assert later.edition is None
        stats = later.stats()["far"]
        assert (stats["n_documents"], stats["manifest"], stats["n_errors"] > 0) == (0, 0, True)
        assert same_documents(space.get(NAMES[:3]).found, OLD)
        space.put(NAMES[5:], random_packed([9], SPEC, seed=9))
        assert len(space.get(NAMES[5:]).found) == 1
        served.habits.fail = lambda method, name: None
        add("s3://bucket/p", NAMES[:3], LENGTHS[:3], seed=7)
        looked(later)
        check(space, "replaced")


def test_a_reader_is_counted_by_its_manifest_alone(monkeypatch):
    with ObjectServer().serving() as served:
        for name, value in served.environment.items():
            monkeypatch.setenv(name, value)
        add("s3://bucket/p", NAMES[:4], LENGTHS[:4])
        add("s3://bucket/p", NAMES[3:], LENGTHS[3:], seed=1)
        with RemoteStore("s3://bucket/p") as store:
            served.counts.clear()
            stats = store.stats()
            assert (stats["n_documents"], stats["estimated"], dict(served.counts)) == (7, True, {})
            assert len(store.space("a", SPEC)) == 6
            assert store.stats()["n_documents"] == 6
