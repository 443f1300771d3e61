"""Merging, deleting, cleaning and verifying a store in object storage."""

import json
import os
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

pytest.importorskip("obstore", reason='needs `pip install "late-rerank[remote]"`')

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from remote_runs import ObjectServer, add, put_run

from late_rerank.errors import StoreError, StoreFormatError
from late_rerank.stores import DiskStore
from late_rerank.stores.remote import RemoteStore, cleaning, publishing
from late_rerank.stores.remote.cleaning import clean
from late_rerank.stores.remote.committing import commit
from late_rerank.stores.remote.deleting import delete, drop
from late_rerank.stores.remote.manifest import newest
from late_rerank.stores.remote.merging import _replaced, merge
from late_rerank.stores.remote.objects import Objects
from late_rerank.stores.remote.presence import absent
from late_rerank.stores.remote.publishing import publish
from late_rerank.stores.remote.uploading import upload
from late_rerank.stores.remote.verification import verify
from late_rerank.testing.stores import SPEC, keys
from late_rerank.testing.vectors import random_packed, same_documents
from late_rerank.types import CodecSpec

URL = "s3://bucket/p"
NOW = timedelta(0)
NAMES = keys(8)
OTHER = CodecSpec("other", 3, {"codes": 3})


@pytest.fixture(scope="module")
def serving():
    with ObjectServer().serving() as served:
        yield served


@pytest.fixture
def server(serving, monkeypatch):
    serving.objects.clear()
    serving.habits = type(serving.habits)()
    for name, value in serving.environment.items():
        monkeypatch.setenv(name, value)
    return serving


@pytest.fixture
def objects(server):
    return Objects.at(URL)


def found(url=URL, fingerprint="a", spec=SPEC):
    """Key -> its document's bytes, of every document."""
    with RemoteStore(url) as store:
        space = store.space(fingerprint, spec)
        fetched = space.get(NAMES)
        assert len(space) == len(fetched.found)
        return {NAMES[at]: _bytes(fetched.found, i) for i, at in enumerate(fetched.positions.tolist())}


def _bytes(packed, i):
    return [packed.column(name, i).tobytes() for name in packed.codec.columns]


def packed_bytes(names, lengths, seed):
    packed = random_packed(lengths, SPEC, seed=seed)
    return {name: _bytes(packed, i) for i, name in enumerate(names)}


ACTIONS = st.one_of(
    st.tuples(st.just("put"), st.sets(st.integers(0, 7), min_size=1)),
    st.tuples(st.just("delete"), st.sets(st.integers(0, 7))),
    st.tuples(st.just("merge"), st.none()),
    st.tuples(st.just("clean"), st.none()),
    st.tuples(st.just("drop"), st.none()),
)


@given(st.lists(ACTIONS, max_size=8))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_store_holds_what_was_put_last_whatever_is_merged_and_cleaned(server, actions):
    server.objects.clear()
    objects, expected = Objects.at(URL), {}
    commit(objects, [])
    for seed, (action, some) in enumerate(actions):
        names = [NAMES[i] for i in sorted(some or [])]
        if action == "put":
            add(URL, names, [seed + i for i in range(len(names))], seed=seed)
            expected |= packed_bytes(names, [seed + i for i in range(len(names))], seed)
        elif action == "delete":
            assert delete(objects, "a", SPEC, names) == sum(expected.pop(name, None) is not None for name in names)
        elif action == "drop":
            assert drop(objects, "a") == len(expected)
            expected = {}
        else:
            merge(objects) if action == "merge" else clean(objects, grace=NOW)
        assert found() == expected
    assert verify(objects).problems == []


def test_a_merge_leaves_one_run_a_space_and_every_segment_where_it_was(objects, server):
    for seed in range(3):
        add(URL, NAMES[seed : seed + 4], [5] * 4, seed=seed)
    add(URL, NAMES[:2], [2, 3], fingerprint="b", spec=OTHER)
    before, segments = found(), {name for name in server.objects if "/segments/" in name}
    report = merge(objects)
    assert (report.n_runs_before, report.n_runs_after, report.n_documents, report.n_left_out) == (4, 2, 6, 6)
    assert [run.level for run in newest(objects).runs if "test" in run.space] == [1]
    assert found() == before
    assert {name for name in server.objects if "/segments/" in name} == segments
    assert merge(objects).n_documents == 0  # nothing to do


def test_a_merge_reads_keys_in_parts(objects, monkeypatch):
    monkeypatch.setattr("late_rerank.stores.remote.keys._BLOCKS_AT_ONCE", 2)
    monkeypatch.setattr("late_rerank.stores.remote.keys._WHOLE_BYTES", 0)
    names = keys(1500)
    for seed in range(2):
        add(URL, names[seed * 500 : seed * 500 + 1000], [1] * 1000, seed=seed)
    assert merge(objects).n_documents == 1500
    with RemoteStore(URL) as store:
        fetched = store.space("a", SPEC).get(names)
        assert same_documents(fetched.found.take(slice(500, 1500)), random_packed([1] * 1000, SPEC, seed=1))
        assert same_documents(fetched.found.take(slice(0, 500)), random_packed([1] * 1000, SPEC).take(slice(0, 500)))


def test_runs_that_are_committed_during_a_merge_stay_newer(objects):
    old = [add(URL, NAMES[:2], [1 + seed, 2], seed=seed) for seed in (0, 1)][::-1]
    one = put_run(objects, NAMES[:2], [5, 2], seed=2)
    new = add(URL, NAMES[:1], [7], seed=3)
    now = newest(objects).runs
    merged = replace(one, replaced=(old[0].id, old[1].id))
    assert _replaced(objects, now, old, one) == (new, merged)
    other = add(URL, NAMES[:1], [7], fingerprint="b")
    assert _replaced(objects, newest(objects).runs, old, one) == (other, new, merged)
    for others in ((new, *old[:1]), (new, old[1], old[0]), (new, *old, one)):
        with pytest.raises(StoreError, match="merge again"):
            _replaced(objects, others, old, one)


def test_a_run_with_the_same_keys_and_other_documents_takes_the_place_of_the_first(objects):
    first = add(URL, NAMES, [5] * 8)
    with RemoteStore(URL) as store:
        space = store.space("a", SPEC)
        assert same_documents(space.get(NAMES).found, random_packed([5] * 8, SPEC))
        second = add(URL, NAMES, [5] * 8, seed=1)
        assert (second.keys, newest(objects).runs) == (first.keys, (replace(second, replaced=(first.id,)),))
        store._shared._newer()
        assert same_documents(space.get(NAMES).found, random_packed([5] * 8, SPEC, seed=1))


def test_a_deletion_hides_documents_until_they_are_put_again(objects):
    add(URL, NAMES[:3], [1, 2, 3])
    assert delete(objects, "a", SPEC, [NAMES[0], NAMES[5], NAMES[0]]) == 1
    assert delete(objects, "a", SPEC, NAMES[5:]) == 0
    assert sorted(found()) == NAMES[1:3]
    add(URL, NAMES[:1], [4], seed=4)
    assert sorted(found()) == NAMES[:3]
    with pytest.raises(ValueError, match="a key is 16 bytes"):
        delete(objects, "a", SPEC, [b"short"])


def late_again(objects, old, new):
    commit(objects, [old])


def late_after_a_merge(objects, old, new):
    merge(objects)
    commit(objects, [old])


def late_after_two_merges(objects, old, new):
    for seed in (8, 9):
        add(URL, NAMES[4:5], [1], seed=seed)
        merge(objects)
    commit(objects, [old, new])


@pytest.mark.parametrize("late", [late_again, late_after_a_merge, late_after_two_merges])
@pytest.mark.parametrize("lengths", [[5, 5], [2, 2]])  # of another length, or with the very same keys
def test_a_run_that_is_committed_late_again_brings_back_nothing(late, lengths, objects):
    old = add(URL, NAMES[:2], [2, 2], seed=1)
    new = add(URL, NAMES[:2], lengths, seed=2)
    delete(objects, "a", SPEC, NAMES[:1])
    late(objects, old, new)
    left = {name: raw for name, raw in found().items() if name in NAMES[:2]}
    assert left == {name: raw for name, raw in packed_bytes(NAMES[:2], lengths, 2).items() if name == NAMES[1]}


def test_the_same_document_is_deleted_twice(objects):
    for seed in range(2):
        add(URL, NAMES[:1], [4], seed=seed)
        assert delete(objects, "a", SPEC, NAMES[:1]) == 1
        assert found() == {}
    merge(objects)
    add(URL, NAMES[:1], [4], seed=2)
    assert delete(objects, "a", SPEC, NAMES[:1]) == 1
    assert found() == {}


def test_what_was_dropped_comes_back_if_it_is_committed_again(objects):
    run = add(URL, NAMES[:2], [2, 2])
    drop(objects, "a")
    commit(objects, [run])
    assert len(found()) == 2


def test_a_drop_takes_every_space_of_an_encoder_and_no_other(objects):
    add(URL, NAMES[:3], [1, 2, 3])
    add(URL, NAMES[:3], [1, 2, 3], spec=OTHER)
    add(URL, NAMES[:2], [1, 2], fingerprint="b")
    assert (drop(objects, "a"), drop(objects, "a")) == (6, 0)
    assert len(found(fingerprint="b")) == 2


def test_cleaning_keeps_what_a_manifest_of_the_last_hours_names(objects, server):
    old = add(URL, NAMES[:2], [1, 2])
    server.age(hours=100)
    drop(objects, "a")  # the old manifest was the newest until now
    assert clean(objects).n_objects == 0
    server.age(hours=23)
    assert clean(objects).n_objects == 0
    server.age(hours=2)
    report = clean(objects)
    assert (report.n_objects, report.n_manifests, report.size_bytes) == (2, 1, old.size_bytes)
    assert sorted(server.objects) == ["p/FORMAT.json", "p/manifests/000000000002.json"]


def test_cleaning_keeps_objects_that_are_young_or_that_a_running_job_names(objects, server):
    add(URL, NAMES[:1], [1])
    named, young = put_run(objects, NAMES[:2], [1, 2], seed=1), None
    objects.create("receipts/job/one.json", json.dumps({"runs": [named.to_json()]}).encode())
    server.age(hours=25)
    young = put_run(objects, NAMES[:2], [1, 2], seed=2)
    objects.create("receipts/job/two.json", b"{}")
    assert clean(objects).n_objects == 0
    commit(objects, [named, young])
    server.age(hours=25)
    report = clean(objects)
    assert (report.n_objects, report.n_receipts) == (0, 2)
    assert verify(objects).problems == []


def test_cleaning_removes_what_dead_uploaders_left(objects, server):
    add(URL, NAMES[:1], [1])
    put_run(objects, NAMES[:2], [1, 2], seed=1)
    objects.put("probes/left", b"")
    server.age(hours=25)
    assert clean(objects).n_objects == 2
    assert [name for name in server.objects if "probes" in name] == []
    assert len(found()) == 1


def test_nothing_is_cleaned_where_a_manifest_is_damaged_or_there_is_no_store(objects, server):
    add(URL, NAMES[:1], [1])
    put_run(objects, NAMES[:2], [1, 2], seed=1)
    server.age(hours=25)
    server.habits.damage = lambda name, raw: raw[:-5] if "manifests" in name else raw
    before = set(server.objects)
    with pytest.raises(StoreFormatError, match=r"000000000001.json"):
        clean(objects)
    assert set(server.objects) == before
    with pytest.raises(StoreError, match="holds no store"):
        clean(Objects.at("s3://bucket/other"))


@pytest.fixture
def published(tmp_path):
    """A published folder of eight documents, of which the bucket may have the objects of a killed upload."""
    with DiskStore(tmp_path / "store") as store:
        store.space("a", SPEC).put(NAMES, random_packed([3] * 8, SPEC))
        store.publish(tmp_path / "published")
    return tmp_path / "published"


def test_an_uploader_sends_again_what_no_commit_names_and_nothing_else(objects, server, published):
    (run,) = upload(objects, published)
    server.counts.clear()
    upload(objects, published)
    assert server.counts["PUT"] == 2
    commit(objects, [run])
    server.age(hours=13)
    server.counts.clear()
    upload(objects, published)
    assert server.counts["PUT"] == 0
    upload(objects, published, lost=[run.keys])
    assert server.counts["PUT"] == 1


def killed_upload(objects, server, published, **ago):
    add(URL, NAMES[:1], [1], fingerprint="b")
    upload(objects, published)
    server.age(**ago)


@pytest.mark.parametrize("step", ["_receipts", "_manifests", "look_at"])
def test_what_is_published_while_somebody_cleans_stays(step, objects, server, published, monkeypatch):
    killed_upload(objects, server, published, hours=30)
    real, done = getattr(cleaning, step), []

    def then_publish(*given):
        told = real(*given)
        if not done:
            done.append(publish(published, URL))
        return told

    def publish_then(*given):
        if not done:
            done.append(publish(published, URL))
        return real(*given)

    monkeypatch.setattr(cleaning, step, publish_then if step == "look_at" else then_publish)
    assert clean(objects).n_objects == 0
    assert done[0].n_documents == 8
    assert verify(objects).problems == []
    assert len(found()) == 8


def test_a_commit_that_loses_a_race_with_cleaning_by_a_moment_is_told(objects, server, published, monkeypatch):
    killed_upload(objects, server, published, hours=30)
    real = Objects.delete

    def delete(self, names):
        names = list(names)
        if any(name.startswith("segments/") for name in names):
            monkeypatch.setattr(Objects, "delete", real)
            publish(published, URL)
        real(self, names)

    monkeypatch.setattr(Objects, "delete", delete)
    with pytest.raises(StoreError, match="a commit that came meanwhile needs 2 objects that were removed"):
        clean(objects)


@pytest.mark.parametrize("step", ["upload", "commit"])
def test_a_publish_sends_again_what_is_cleaned_away_around_its_commit(step, objects, server, published, monkeypatch):
    cleaned = []

    def then_clean(*given, **more):
        told = real(*given, **more)
        if not cleaned:
            cleaned.extend(name.removeprefix("p/") for name in server.objects if name.startswith(("p/segments/", "p/keys/")))
            objects.delete(cleaned)
        return told

    def whole_commit(objects, runs):
        assert absent(objects, {name for run in runs for name in run.objects()}) == set()
        return commit(objects, runs)

    monkeypatch.setattr(publishing, "commit", whole_commit)
    real = getattr(publishing, step)
    monkeypatch.setattr(publishing, step, then_clean)
    assert publish(published, URL).manifest == 1
    assert len(cleaned) == 2
    assert verify(objects).problems == []
    assert len(found()) == 8


def test_a_publish_gives_up_where_objects_never_stay(objects, server, published, monkeypatch):
    real = Objects.put
    monkeypatch.setattr(Objects, "put", lambda self, name, data: None if "segments" in name else real(self, name, data))
    with pytest.raises(StoreError, match="objects are removed as soon as they are sent"):
        publish(published, URL)


def test_publishing_needs_no_right_to_delete(objects, server, published):
    server.habits.fail = lambda method, name: 403 if method in ("POST", "DELETE") else None
    assert publish(published, URL).manifest == 1
    server.habits.fail = lambda method, name: None
    assert any("/probes/" in name for name in server.objects)
    server.age(hours=25)
    clean(objects)
    assert not any("/probes/" in name for name in server.objects)


def test_cleaning_a_folder_removes_old_halves_of_objects(tmp_path):
    objects = Objects.at(f"file://{tmp_path}/remote")
    add(objects.url, NAMES[:1], [1])
    segment = next((tmp_path / "remote" / "segments").rglob("*.seg"))
    old, young, other = (
        segment.with_name(f"{segment.name}#1"),
        segment.with_name(f"{segment.name}#2"),
        segment.parents[2] / "a#b",
    )
    for path in (old, young, other):
        path.write_bytes(b"half")
    for path in (old, other):
        os.utime(path, (1e9, 1e9))
    assert segment.name + "#1" not in {found.name for found in objects.list("segments")}
    report = clean(objects)
    assert (report.n_objects, report.size_bytes) == (1, 4)
    assert (old.exists(), young.exists(), other.exists(), segment.exists()) == (False, True, True, True)


def test_a_store_is_published_twice_as_one(tmp_path, server):
    with DiskStore(tmp_path / "store") as store:
        store.space("a", SPEC).put(NAMES, random_packed([3] * 8, SPEC))
        store.space("b", OTHER).put(NAMES, random_packed([3] * 8, OTHER))
    first, again = publish(tmp_path / "store", URL), publish(tmp_path / "store", URL)
    assert (first.manifest, again.manifest, first.n_documents, first.n_segments) == (1, 1, 16, 2)
    assert (first.n_known, again.n_known) == (0, 16)
    assert [path.name for path in tmp_path.iterdir()] == ["store"]
    assert len(found()) == 8


def test_a_publishing_removes_the_copy_that_a_killed_one_left(tmp_path, server):
    with DiskStore(tmp_path / "store") as store:
        store.space("a", SPEC).put(NAMES, random_packed([3] * 8, SPEC))
    left, other = tmp_path / ".store-publishing-killed", tmp_path / ".store-publishing"
    for folder in (left, other):
        (folder / "published").mkdir(parents=True)
        (folder / "LOCK").touch()
    publish(tmp_path / "store", URL)
    assert sorted(path.name for path in tmp_path.iterdir()) == [other.name, "store"]


def test_an_empty_store_is_not_published(tmp_path, server):
    with DiskStore(tmp_path / "store"):
        pass
    with pytest.raises(StoreError, match="nothing to publish"):
        publish(tmp_path / "store", URL)


def spoiled_segment(server, spoil):
    name = next(name for name in server.objects if "/segments/" in name)
    server.objects[name].raw = spoil(server.objects[name].raw)


SPOILT = {
    "a flipped bit": (lambda raw: raw[:-200] + bytes([raw[-200] ^ 1]) + raw[-199:], "damaged from here"),
    "a shorter segment": (lambda raw: raw[:-64], "the seal is missing"),
    "another segment": (lambda raw: b"", "is no segment"),
}


@pytest.mark.parametrize("kind", SPOILT)
def test_verify_names_damaged_segments(kind, objects, server):
    add(URL, NAMES, [9] * 8)
    spoil, reason = SPOILT[kind]
    spoiled_segment(server, spoil)
    report = verify(objects)
    assert any(reason in problem.reason and problem.where.startswith("segments/") for problem in report.problems), report


def test_verify_names_damaged_and_missing_objects(objects, server):
    add(URL, NAMES, [9] * 8)
    add(URL, NAMES[:2], [9] * 2, seed=1)
    newer = next(name for name in server.objects if "/keys/" in name)
    server.objects[newer].raw = server.objects[newer].raw[:5000] + b"???" + server.objects[newer].raw[5003:]
    lost = next(name for name in server.objects if "/segments/" in name)
    del server.objects[lost]
    told = {problem.where: problem.reason for problem in verify(objects).problems}
    assert "is gone" in told[lost.removeprefix("p/")]
    assert newer.removeprefix("p/") in told


def test_verify_finds_keys_that_point_beyond_their_segment(objects):
    short = put_run(objects, NAMES[:1], [1])
    long = put_run(objects, NAMES, [50] * 8)
    commit(objects, [replace(long, segments=short.segments)])
    report = verify(objects)
    assert [problem.where for problem in report.problems] == [long.keys]
    assert report.problems[0].reason == f"8 keys have no such whole record in {short.segments[1]}"
    assert report.n_documents == 0


def test_verify_finds_keys_that_point_at_other_documents_records(objects):
    one, other = put_run(objects, NAMES[:4], [2] * 4), put_run(objects, NAMES[4:], [2] * 4)
    commit(
        objects, [replace(one, segments=other.segments), put_run(objects, NAMES[:1], [3]), replace(other, segments={7: "x"})]
    )
    told = {problem.where: problem.reason for problem in verify(objects).problems}
    assert told[one.keys] == f"4 keys have no such whole record in {other.segments[1]}"
    assert told[other.keys] == "4 keys have no such whole record in segment 1, which its run hasn't"


def test_verify_counts_replaced_and_deleted_documents_once(objects, monkeypatch):
    monkeypatch.setattr("late_rerank.stores.remote.walked._ROWS_AT_ONCE", 3)
    add(URL, NAMES, [2] * 8)
    add(URL, NAMES[2:5], [4] * 3, seed=1)
    delete(objects, "a", SPEC, NAMES[:1])
    report = verify(objects)
    assert (report.n_segments, report.n_records, report.n_documents, report.problems) == (2, 11, 7, [])


def test_verify_reads_large_segments_in_parts(objects, monkeypatch):
    monkeypatch.setattr("late_rerank.stores.remote.objects._STREAM_BYTES", 1000)
    add(URL, NAMES, [9, 0, 200, 1, 1, 0, 0, 50])
    report = verify(objects)
    assert (report.n_segments, report.n_records, report.n_documents, report.problems) == (1, 8, 8, [])


def test_stats_compare_runs_once_a_manifest_and_say_where_they_are_estimates(objects, monkeypatch):
    add(URL, NAMES[:4], [1] * 4)
    add(URL, NAMES[2:], [1] * 6, seed=1)
    with RemoteStore(URL, on_error="raise") as store:
        stats = store.stats()
        assert (stats["n_documents"], stats["estimated"], stats["manifest"], stats["spaces"][0]["n_runs"]) == (8, False, 2, 2)
        monkeypatch.setattr("late_rerank.stores.remote.counting._compared", None)
        assert store.stats() == stats
    with RemoteStore(URL, on_error="raise") as store:
        monkeypatch.setattr("late_rerank.stores.remote.counting._MOST_BYTES", 0)
        stats = store.stats()
        assert (stats["n_documents"], stats["estimated"]) == (10, True)


def test_positions_of_keys_beyond_the_first_and_last_are_missing(objects):
    add(URL, NAMES[3:5], [1, 2])
    with RemoteStore(URL) as store:
        assert store.space("a", SPEC).missing([bytes(16), *NAMES, b"\xff" * 16]).tolist() == [0, 1, 2, 3, 6, 7, 8, 9]
        assert np.array_equal(store.space("nobody", SPEC).missing(NAMES), np.arange(8))
