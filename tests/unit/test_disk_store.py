"""What DiskStore promises beyond the law of stores: bounds, time, compaction, verification, publication, other processes."""

import json
import os
import pickle
import subprocess
import time

import numpy as np
import pytest

from late_rerank.errors import StoreError, StoreFormatError
from late_rerank.stores import DiskStore, PublishedStore, TieredStore
from late_rerank.stores.disk import is_store, open_folder, rebuild
from late_rerank.stores.disk.inside import parts_of, with_internals
from late_rerank.stores.disk.internals import Internals
from late_rerank.testing.stores import SPEC, keys
from late_rerank.testing.vectors import random_packed, same_documents
from late_rerank.types import CodecSpec

MIB = 2**20


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "store"


@pytest.fixture
def store(folder):
    with DiskStore(folder) as opened:
        yield opened


SmallStore = with_internals(Internals(segment_bytes=20_000))
ResumingNothing = with_internals(Internals(resumes=False))


def fill(store, n, salt=0, tokens=100, name="a"):
    """`n` documents of about 1.2 kB."""
    names = keys(n, salt=salt)
    store.space(name, SPEC).put(names, random_packed([tokens] * n, SPEC, seed=salt))
    return names


def segment_files(folder):
    return sorted((folder / "segments").iterdir())


def size_of(folder):
    return sum(path.stat().st_size for path in segment_files(folder))


def test_documents_are_there_when_it_is_opened_again(folder):
    with DiskStore(folder) as store:
        fill(store, 3)
    with DiskStore(folder) as store:
        assert same_documents(store.space("a", SPEC).get(keys(3)).found, random_packed([100] * 3, SPEC))
        assert store.verify().problems == []


def test_another_object_sees_what_was_put_and_deleted_at_once(folder, store):
    names = fill(store, 3)
    with DiskStore(folder) as other:
        space = other.space("a", SPEC)
        assert len(space.get(names).found) == 3
        more = fill(store, 3, salt=1)  # the segment grows under the mapping
        store.space("a", SPEC).delete(names[:1])
        assert space.get(names + more).missing.tolist() == [0]
        assert len(space) == 5


def test_get_before_anything_was_put_writes_nothing(folder, store):
    before = sorted(folder.rglob("*"))
    assert store.space("a", SPEC).get(keys(2)).missing.tolist() == [0, 1]
    assert len(store.space("a", SPEC)) == 0
    assert [path for path in sorted(folder.rglob("*")) if path.suffix == ".seg"] == []
    assert {path.name for path in before} <= {path.name for path in folder.rglob("*")}


def test_processes_that_start_and_end_share_a_segment(folder):
    for salt in range(3):
        with DiskStore(folder) as store:
            fill(store, 2, salt=salt)
    assert len(segment_files(folder)) == 1
    with DiskStore(folder) as store:
        assert store.verify().problems == []
        assert len(store.space("a", SPEC)) == 6


def test_two_writers_have_a_segment_each(folder, store):
    fill(store, 2)
    with DiskStore(folder) as other:
        fill(other, 2, salt=1)
        assert len(segment_files(folder)) == 2
        assert len(store.space("a", SPEC).get(keys(2, salt=1)).found) == 2


def test_a_full_segment_is_followed_by_another(folder):
    with SmallStore(folder) as store:
        names = fill(store, 100)
        assert len(segment_files(folder)) > 5
        assert same_documents(store.space("a", SPEC).get(names).found, random_packed([100] * 100, SPEC))
        assert store.verify().problems == []


def test_a_folder_of_other_files_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match=r"notes\.txt"):
        DiskStore(tmp_path)
    with pytest.raises(ValueError, match="is a file"):
        DiskStore(tmp_path / "notes.txt")
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
    assert not is_store(tmp_path)


def test_a_later_format_is_refused(folder, store):
    store.close()
    found = json.loads((folder / "FORMAT.json").read_text())
    (folder / "FORMAT.json").write_text(json.dumps({**found, "version": 2}))
    with pytest.raises(StoreFormatError, match="version 2"):
        DiskStore(folder)


def test_an_index_of_another_store_is_refused(folder, tmp_path):
    for name in ("one", "two"):
        with DiskStore(tmp_path / name) as store:
            fill(store, 2)
    (tmp_path / "one" / "index.sqlite").replace(tmp_path / "two" / "index.sqlite")
    with pytest.raises(StoreFormatError, match="another store"):
        DiskStore(tmp_path / "two")


@pytest.mark.parametrize("wrong", [{"max_bytes": 10}, {"max_bytes": float("nan")}, {"ttl_s": 0}, {"ttl_s": -1}])
def test_bounds_out_of_range_are_refused(folder, wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        DiskStore(folder, **wrong)
    assert not folder.exists()


def test_a_closed_store_says_so(store):
    space = store.space("a", SPEC)
    store.close()
    store.close()
    for use in (lambda: space.get(keys(1)), lambda: space.put(keys(1), random_packed([1], SPEC))):
        with pytest.raises(StoreError, match="closed"):
            use()


def test_a_pickled_store_opens_the_same_folder(folder, store):
    names = fill(store, 2)
    with pickle.loads(pickle.dumps(store)) as copy:
        assert len(copy.space("a", SPEC).get(names).found) == 2


# Bounds


def test_the_bound_holds_and_the_least_recently_used_segments_go(folder):
    with DiskStore(folder, max_bytes=MIB) as store:
        first = fill(store, 80)
        space = store.space("a", SPEC)
        batches = []
        for salt in range(1, 15):
            batches.append(fill(store, 80, salt=salt))
            parts_of(store).mappings.note_use()
            for path in segment_files(folder):  # time passes
                os.utime(path, (path.stat().st_atime, path.stat().st_mtime - 100))
            space.get(first)
            parts_of(store).mappings.note_use()
            assert size_of(folder) <= MIB + 4096
        assert len(space.get(first).found) >= 40  # the segment that begins with them was used in every round
        assert len(space.get(batches[1]).found) == 0
        assert len(space.get(batches[-1]).found) == 80
        assert store.stats()["n_evicted"] == 15 * 80 - len(space) > 0
        assert store.verify().problems == []


def test_the_bound_holds_over_spaces_and_after_opening_with_a_smaller_one(folder):
    with DiskStore(folder) as store:
        for name in ("a", "b", "c"):
            fill(store, 600, name=name)
        assert size_of(folder) > 2 * MIB
    with DiskStore(folder, max_bytes=MIB) as store:
        fill(store, 10, salt=9, name="d")
        assert size_of(folder) <= MIB
        assert len(store.space("d", SPEC)) == 10


def test_a_document_larger_than_the_bound_is_not_kept(folder):
    with DiskStore(folder, max_bytes=MIB) as store:
        space = store.space("a", SPEC)
        space.put(keys(3), random_packed([10, 200_000, 10], SPEC))
        assert space.get(keys(3)).missing.tolist() == [1]


def test_eviction_keeps_tombstones(folder):
    with DiskStore(folder) as store:
        names = fill(store, 100)
    with ResumingNothing(folder, max_bytes=MIB) as store:  # a segment of its own for the tombstones
        store.space("a", SPEC).delete(names[:50])
        parts_of(store).writing.seal_all()
        tombstones = parts_of(store).index.segments()[-1]
        assert parts_of(store).writing.retire(tombstones)
    (folder / "index.sqlite").unlink()
    with pytest.warns(UserWarning, match="lost its index"), DiskStore(folder) as store:
        assert store.space("a", SPEC).get(names).missing.tolist() == list(range(50))


def test_a_document_past_its_time_to_live_is_a_miss_and_its_segment_goes(folder, monkeypatch):
    with ResumingNothing(folder, ttl_s=100) as store:
        space = store.space("a", SPEC)
        old = fill(store, 2)
        now = time.time()
        monkeypatch.setattr(time, "time", lambda: now + 60)
        young = fill(store, 2, salt=1)
        assert len(space.get(old + young).found) == 4
        monkeypatch.setattr(time, "time", lambda: now + 102)
        assert space.get(old + young).missing.tolist() == [0, 1]
        report = store.compact()
        assert (report.n_expired, len(space)) == (2, 2)
        parts_of(store).writing.seal_all()
        monkeypatch.setattr(time, "time", lambda: now + 500)
        fill(store, 1, salt=2)
        assert len(space) == 1
        assert len(segment_files(folder)) == 1


# Dropping and compaction


def test_drop_frees_the_bytes(folder, store):
    fill(store, 2000, name="a")
    fill(store, 10, name="b")
    before = store.stats()["size_bytes"]
    assert store.drop("a") == 2000
    assert store.stats()["size_bytes"] < before / 20
    assert [path.name for path in segment_files(folder)] == ["0000000002.seg"]
    assert (folder / "index.sqlite").stat().st_size < 100_000
    assert len(store.space("b", SPEC)) == 10
    assert store.verify().problems == []
    fill(store, 3, name="a")
    assert len(store.space("a", SPEC).get(keys(3)).found) == 3


def test_a_writer_whose_space_is_dropped_by_another_goes_on_in_a_new_one(folder, store):
    fill(store, 5)
    with DiskStore(folder) as other:
        other.drop("a")
        assert len(store.space("a", SPEC)) == 0
        names = fill(store, 5, salt=1)
        assert len(other.space("a", SPEC).get(names).found) == 5
        assert other.verify().problems == []


def test_compaction_frees_what_was_replaced_and_deleted(folder, store):
    names = fill(store, 500)
    fill(store, 250)  # the same keys again
    store.space("a", SPEC).delete(names[400:])
    dead = store.stats()["dead_bytes"]
    report = store.compact()
    assert dead > 350 * 1000
    assert report.size_bytes_after < report.size_bytes_before - 350 * 1000
    assert (report.n_damaged, report.n_expired) == (0, 0)
    found = store.space("a", SPEC).get(names)
    assert found.missing.tolist() == list(range(400, 500))
    assert store.verify().problems == []
    assert store.stats()["dead_bytes"] < 10_000


def test_compaction_forgets_tombstones_once_nothing_needs_them(folder, store):
    names = fill(store, 100)
    store.space("a", SPEC).delete(names)
    store.compact(min_live=1)
    store.compact(min_live=1)
    assert store.stats()["size_bytes"] - store.stats()["index_bytes"] < 2 * 4096
    assert parts_of(store).index.n_tombstones() == 0
    store.close()
    (folder / "index.sqlite").unlink()
    with DiskStore(folder) as again:
        assert len(again.space("a", SPEC).get(names).found) == 0


def test_fetched_documents_outlive_compaction_and_close(folder, store):
    names = fill(store, 50)
    fetched = store.space("a", SPEC).get(names)
    store.space("a", SPEC).delete(names[1:])
    store.compact()
    store.close()
    assert same_documents(fetched.found, random_packed([100] * 50, SPEC))


def test_a_reader_whose_index_answer_was_compacted_away_asks_again(folder, store):
    names = fill(store, 50)
    parts_of(store).writing.seal_all()
    with DiskStore(folder) as reader:
        space = reader.space("a", SPEC)
        find, asked = parts_of(reader).index.find, []

        def slow(*arguments):
            answer = find(*arguments)
            if not asked:
                store.space("a", SPEC).delete(names[25:])
                store.compact()
            asked.append(1)
            return answer

        parts_of(reader).index.find = slow
        found = space.get(names)
        assert len(asked) == 2
        assert found.missing.tolist() == list(range(25, 50))


def test_a_place_in_a_segment_that_came_and_went_between_two_looks_is_not_remembered(folder, store, monkeypatch):
    fill(store, 1)
    (name,) = keys(1, salt=1)
    with DiskStore(folder) as writer:
        places = parts_of(store).index.places
        look_up = places.look_up

        def put_meanwhile(*arguments):
            writer.space("a", SPEC).put([name], random_packed([100], SPEC, seed=1))  # in a segment of its own
            return look_up(*arguments)

        with monkeypatch.context() as patch:
            patch.setattr(places, "look_up", put_meanwhile)
            assert len(store.space("a", SPEC).get([name]).found) == 1
        writer.space("a", SPEC).put(keys(1, salt=2), random_packed([100], SPEC, seed=2))
        writer.space("a", SPEC).delete(keys(1, salt=2))
        writer.compact(min_live=1.0)
        parts_of(store).mappings.keep(set())  # as a reader does from time to time
        assert same_documents(store.space("a", SPEC).get([name]).found, random_packed([100], SPEC, seed=1))


def test_small_segments_are_joined(folder):
    stores = [DiskStore(folder) for _ in range(5)]
    for salt, store in enumerate(stores):
        fill(store, 3, salt=salt)
    for store in stores:
        store.close()
    assert len(segment_files(folder)) == 5
    with DiskStore(folder) as store:
        report = store.compact()
        assert (report.n_segments_before, report.n_segments_after) == (5, 1)
        assert len(store.space("a", SPEC).get([key for salt in range(5) for key in keys(3, salt=salt)]).found) == 15


# Damage


def damage(folder, offset=-100, name=-1):
    path = segment_files(folder)[name]
    raw = bytearray(path.read_bytes())
    raw[offset] ^= 1
    path.write_bytes(raw)


def test_damage_is_found_counted_and_compacted_away(folder):
    with DiskStore(folder) as store:
        names = fill(store, 5)
    damage(folder, offset=4096 + 64 + 10)
    with DiskStore(folder, check=True) as store:
        space = store.space("a", SPEC)
        with pytest.warns(UserWarning, match="damaged"):
            found = space.get(names)
        assert found.missing.tolist() == [0]
        space.get(names)  # without a second warning
        assert store.stats()["n_damaged"] == 2
        problems = store.verify().problems
        assert "0000000001.seg at byte 4096" in {problem.where for problem in problems}
        assert store.compact().n_damaged == 1
        assert store.verify().problems == []
        assert space.get(names).missing.tolist() == [0]


def test_a_segment_with_a_damaged_header_is_a_miss_and_can_be_compacted_away(folder):
    with DiskStore(folder) as store:
        names = fill(store, 5)
    damage(folder, offset=20)
    with DiskStore(folder) as store:
        space = store.space("a", SPEC)
        with pytest.warns(UserWarning, match="damaged"):
            assert len(space.get(names).found) == 0
        assert store.verify().problems
        more = fill(store, 5, salt=1)
        assert store.compact().n_damaged == 5
        assert store.verify().problems == []
        assert len(space.get(more).found) == 5


def test_a_lost_index_is_made_again(folder):
    with DiskStore(folder) as store:
        names = fill(store, 30)
        fill(store, 10)  # replaced by the same
        store.space("a", SPEC).delete(names[20:])
        fill(store, 7, name="b")
    for path in folder.glob("index.sqlite*"):
        path.unlink()
    with pytest.warns(UserWarning, match="lost its index"):
        store = DiskStore(folder)
    with store:
        found = store.space("a", SPEC).get(names)
        assert found.missing.tolist() == list(range(20, 30))
        assert len(store.space("b", SPEC)) == 7
        assert store.verify().problems == []
        more = fill(store, 3, salt=4)
        assert len(store.space("a", SPEC).get(more).found) == 3


def test_rebuild_refuses_while_somebody_writes(folder, store):
    fill(store, 3)
    with pytest.raises(StoreError, match="written to"):
        rebuild(folder)
    store.close()
    assert rebuild(folder).n_documents == 3
    with pytest.raises(FileNotFoundError):
        rebuild(folder / "nothing")


def test_a_damaged_index_is_made_again(folder):
    with DiskStore(folder) as store:
        fill(store, 300)
    raw = bytearray((folder / "index.sqlite").read_bytes())
    raw[100:] = os.urandom(len(raw) - 100)
    (folder / "index.sqlite").write_bytes(raw)
    with pytest.warns(UserWarning, match="made again from 1 segments, 300 documents"), DiskStore(folder) as store:
        assert len(store.space("a", SPEC).get(keys(300)).found) == 300
    assert rebuild(folder).n_documents == 300
    with DiskStore(folder) as store:
        assert len(store.space("a", SPEC).get(keys(300)).found) == 300


# Published


def test_a_published_store_holds_what_is_alive(folder, tmp_path):
    out = tmp_path / "published"
    with SmallStore(folder) as store:
        names = fill(store, 50)
        store.space("a", SPEC).delete(names[:10])
        fill(store, 5, name="b")
        report = store.publish(out)
    assert report.n_documents == 45
    with open_folder(out) as published:
        assert isinstance(published, PublishedStore)
        space = published.space("a", SPEC)
        found = space.get([*names, *keys(3, salt=8), names[20]])
        assert found.missing.tolist() == [*range(10), 50, 51, 52]
        assert same_documents(found.found, random_packed([100] * 50, SPEC).take(np.array([*range(10, 50), 20])))
        assert (len(space), len(published.spaces()), published.stats()["n_documents"]) == (40, 2, 45)
        assert len(published.space("other", SPEC).get(names).found) == 0
        assert len(space.get([]).found) == 0
        assert published.verify().problems == []
        for change in (
            lambda: space.put(names[:1], random_packed([1], SPEC)),
            lambda: space.delete(names[:1]),
            lambda: published.drop("a"),
        ):
            with pytest.raises(StoreError, match="read-only"):
                change()


def test_a_published_store_says_what_is_damaged(folder, tmp_path):
    out = tmp_path / "published"
    with DiskStore(folder) as store:
        names = fill(store, 5)
        store.publish(out)
    damage(out, offset=4096 + 70)
    with PublishedStore(out, check=True) as published:
        assert published.verify().problems
        with pytest.warns(UserWarning, match="damaged"):
            assert published.space("a", SPEC).get(names).missing.tolist() == [0]
    path = next((out / "keys").iterdir())
    whole = path.read_bytes()
    path.write_bytes(flipped(whole, 4096 + 20))
    with PublishedStore(out) as published:
        assert any("checksum of block 0" in problem.reason for problem in published.verify().problems)
        with pytest.warns(UserWarning, match="block 0 of 0000000001.keys is damaged"):
            assert len(published.space("a", SPEC).get(names).found) == 0
        assert published.stats()["n_damaged"] == 1
    for raw, said in (
        (flipped(whole, 20), "damaged header"),
        (flipped(whole, len(whole) - 1), "damaged fence"),
        (whole[:-4], "must have 8204 bytes"),
        (whole[:100], "shorter than"),
        (flipped(whole, 12), "of version 3"),
    ):
        path.write_bytes(raw)
        with pytest.raises(StoreFormatError, match=said):
            PublishedStore(out)


def flipped(raw, byte):
    changed = bytearray(raw)
    changed[byte] ^= 1
    return bytes(changed)


def test_verify_names_each_row_of_a_published_store_that_has_no_record(folder, tmp_path):
    with DiskStore(folder) as store:
        fill(store, 5)
        store.publish(tmp_path / "one")
    with DiskStore(folder) as store:
        store.space("a", SPEC).put(keys(9)[5:], random_packed([2, 2, 2, 2], SPEC))
        store.publish(tmp_path / "two")
    more = (tmp_path / "two" / "keys" / "0000000001.keys").read_bytes()
    (tmp_path / "one" / "keys" / "0000000001.keys").write_bytes(more)
    with PublishedStore(tmp_path / "one") as published:
        report = published.verify()
        assert (report.n_records, report.n_documents) == (5, 5)
        assert [problem.reason for problem in report.problems] == ["no whole record here"] * 4
    next((tmp_path / "one" / "segments").iterdir()).unlink()
    with PublishedStore(tmp_path / "one") as published:
        assert [(p.where, p.reason) for p in published.verify().problems] == [("0000000001.seg", "missing")]


@pytest.fixture
def read_only(tmp_path):
    """Makes a folder's content appear on a file system that can't be written to."""
    mounted = []

    def mount(folder):
        place = tmp_path / f"mounted-{len(mounted)}"
        place.mkdir()
        for command in (["mount", "--bind", folder, place], ["mount", "-o", "remount,bind,ro", place]):
            if subprocess.run(command, capture_output=True).returncode:
                pytest.skip("needs root and the right to mount")
            mounted.append(place)
        return place

    yield mount
    for place in dict.fromkeys(mounted):
        subprocess.run(["umount", place], check=True)


def test_a_published_store_opens_on_a_read_only_file_system_and_another_says_to_publish(folder, tmp_path, read_only):
    with DiskStore(folder) as store:
        names = fill(store, 5)
        store.publish(tmp_path / "out")
    place = read_only(tmp_path / "out")
    with open_folder(place) as published:
        assert len(published.space("a", SPEC).get(names).found) == 5
        assert published.verify().problems == []
    place = read_only(folder)
    with pytest.warns(UserWarning, match="store publish"):
        store = DiskStore(place)
    with store:
        assert len(store.space("a", SPEC).get(names).found) == 5
        with pytest.raises(StoreError, match=r"read-only file system.*store publish"):
            fill(store, 1, salt=1)


def test_publishing_needs_an_empty_folder_and_the_right_class(folder, tmp_path, store):
    fill(store, 1)
    with pytest.raises(ValueError, match="not empty"):
        store.publish(folder)
    store.publish(tmp_path / "out")
    with pytest.raises(StoreFormatError, match="PublishedStore"):
        DiskStore(tmp_path / "out")
    with pytest.raises(StoreFormatError, match="DiskStore"):
        PublishedStore(folder)
    with pytest.raises(FileNotFoundError):
        PublishedStore(tmp_path / "nothing")


def test_no_space_and_wide_spaces(folder, tmp_path):
    """A codec whose description is longer than a segment header's first page."""
    wide = CodecSpec("wide", 4, {"codes": 4}, {"table": list(range(2000))})
    with DiskStore(folder) as store:
        store.publish(tmp_path / "empty")
        store.space("a", wide).put(keys(3), random_packed([1, 0, 2], wide))
        store.publish(tmp_path / "full")
    for path in (folder, tmp_path / "full"):
        with open_folder(path) as opened:
            (space,) = opened.spaces()
            assert space.codec == wide
            assert same_documents(space.get(keys(3)).found, random_packed([1, 0, 2], wide))
            assert opened.verify().problems == []
    with PublishedStore(tmp_path / "empty") as opened:
        assert opened.stats()["n_documents"] == 0


def test_a_published_store_behind_one_of_your_own_takes_new_documents(folder, tmp_path):
    with DiskStore(folder) as store:
        names = fill(store, 5)
        store.publish(tmp_path / "out")
    with TieredStore(DiskStore(tmp_path / "near"), PublishedStore(tmp_path / "out")) as tiered:
        more = fill(tiered, 3, salt=1)
        assert len(tiered.space("a", SPEC).get(names + more).found) == 8
        with pytest.raises(StoreError, match="read-only"):
            tiered.drop("a")
