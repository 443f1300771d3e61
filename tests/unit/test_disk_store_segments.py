"""What lies in segments and what the index says of it: through compaction, eviction, drop, death and rebuild."""

import shutil
import subprocess
import sys
import time

import numpy as np
import pytest

from late_rerank.stores import DiskStore
from late_rerank.stores.disk import index, rebuild, tables
from late_rerank.stores.disk.inside import parts_of, with_internals
from late_rerank.stores.disk.internals import Internals
from late_rerank.stores.disk.segment import SegmentWriter, path_of
from late_rerank.testing.stores import SPEC, keys
from late_rerank.testing.vectors import random_packed, same_documents

MIB = 2**20

ResumingNothing = with_internals(Internals(resumes=False))


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "store"


@pytest.fixture
def store(folder):
    with DiskStore(folder) as opened:
        yield opened


def space_of(store, name="a"):
    return store.space(name, SPEC)


def fill(store, n, salt=0, tokens=100, seed=None, name="a"):
    """`n` documents of about 1.2 kB."""
    names = keys(n, salt=salt)
    space_of(store, name).put(names, random_packed([tokens] * n, SPEC, seed=salt if seed is None else seed))
    return names


def segment_files(folder):
    return sorted((folder / "segments").iterdir())


def rebuilt(folder):
    """A copy of the store whose index was lost."""
    copy = folder.with_name("rebuilt")
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(folder, copy)
    index.remove(copy)
    with pytest.warns(UserWarning, match="made again"):
        return DiskStore(copy)


class Once:
    """Does something else just before a function is called for the first time."""

    def __init__(self, monkeypatch, owner, name, first):
        real = getattr(owner, name)

        def called(*args, **kwargs):
            monkeypatch.setattr(owner, name, real)
            first()
            return real(*args, **kwargs)

        monkeypatch.setattr(owner, name, called)


# Records of equal sequence: their writers began before either committed


def begun_put(store, names, seed, monkeypatch):
    """A put that took its sequence, and is finished by calling what is returned."""
    waiting = []
    with monkeypatch.context() as patch:
        patch.setattr(parts_of(store).writing, "append", lambda *args: waiting.append(args))
        space_of(store).put(names, random_packed([100] * len(names), SPEC, seed=seed))
    return lambda: parts_of(store).writing.append(*waiting[0])


def test_a_put_that_a_reader_saw_isnt_undone_by_an_older_tombstone_that_is_carried(folder, monkeypatch):
    with DiskStore(folder) as first, DiskStore(folder) as second, DiskStore(folder) as third:
        names = fill(first, 20)
        fill(second, 1, salt=1)  # its segment is the second
        fill(second, 1, salt=1)  # with a dead document in it, so that tombstones are needed
        finish = begun_put(second, names[:10], 7, monkeypatch)
        space_of(first).delete(names)
        parts_of(first).writing.seal_all()

        def meanwhile():
            finish()
            assert len(space_of(third).get(names[:10]).found) == 10

        Once(monkeypatch, SegmentWriter, "append", meanwhile)
        parts_of(third).writing.retire(parts_of(third).index.segments()[0])
        assert len(parts_of(third).index.segments()) == 2
        parts_of(second).writing.seal_all()
        parts_of(third).writing.seal_all()
        for opened in (third, rebuilt(folder)):
            fetched = space_of(opened).get(names)
            assert fetched.missing.tolist() == list(range(10, 20))
            assert same_documents(fetched.found, random_packed([100] * 10, SPEC, seed=7))
            assert opened.verify().problems == []
        opened.close()


def test_a_copy_that_compaction_made_doesnt_win_over_what_was_put_meanwhile(folder, monkeypatch):
    with DiskStore(folder) as first, DiskStore(folder) as second, DiskStore(folder) as third:
        fill(first, 5, salt=1)
        fill(first, 5, salt=1)  # something for compaction to do
        fill(second, 5, salt=2)
        finish_first = begun_put(first, keys(20), 7, monkeypatch)
        finish_second = begun_put(second, keys(10), 8, monkeypatch)
        finish_first()
        parts_of(first).writing.seal_all()
        Once(monkeypatch, SegmentWriter, "append", finish_second)  # the higher place wins: that is the second store's
        third.compact(min_live=1)
        parts_of(second).writing.seal_all()
        older, newer = random_packed([100] * 20, SPEC, seed=7), random_packed([100] * 10, SPEC, seed=8)
        for opened in (third, rebuilt(folder)):
            assert same_documents(space_of(opened).get(keys(10)).found, newer)
            assert same_documents(space_of(opened).get(keys(20)[10:]).found, older.take(np.arange(10, 20)))
            assert len(space_of(opened).get(keys(5, salt=1)).found) == 5
            assert opened.verify().problems == []
        opened.close()


# Deleted documents stay deleted


def n_tombstones(store):
    return parts_of(store).index.n_tombstones()


def test_a_tombstone_is_kept_while_a_segment_that_isnt_compacted_holds_a_dead_copy(folder):
    deleting = with_internals(Internals(resumes=False, join_below=0))
    with DiskStore(folder) as keeper, deleting(folder) as deleter:
        names = fill(keeper, 100)
        parts_of(keeper).writing.seal_all()
        fill(deleter, 30, salt=1)
        space_of(deleter).delete(names[:10])  # the first segment stays nine tenths alive
        fill(deleter, 30, salt=1)  # the second is half dead
        before = {path.name for path in segment_files(folder)}
        deleter.compact(min_live=0.5)
        after = {path.name for path in segment_files(folder)}
        assert "0000000001.seg" in before & after
        assert "0000000002.seg" in before - after
        deleter.close()
        keeper.close()
    with rebuilt(folder) as opened:
        assert space_of(opened).get(names).missing.tolist() == list(range(10))
        assert opened.verify().problems == []


def test_one_compaction_frees_all_that_is_dead_tombstones_included(folder, store):
    names = fill(store, 100)
    space_of(store).delete(names[:60])
    store.compact(min_live=1)
    first = store.stats()
    assert first["dead_bytes"] == 0
    assert n_tombstones(store) == 0
    assert [path.stat().st_size for path in segment_files(folder)] == [first["size_bytes"] - first["index_bytes"] + 64]
    store.compact(min_live=1)
    assert store.stats() == first
    space_of(store).delete(names)
    store.compact(min_live=1)
    assert segment_files(folder) == []
    assert store.stats()["n_segments"] == 0


def test_documents_put_while_compaction_ends_arent_taken_for_tombstones(folder, store, monkeypatch):
    names = fill(store, 100)
    space_of(store).delete(names[:60])
    with DiskStore(folder) as other:
        Once(monkeypatch, parts_of(store).writing, "retire", lambda: fill(other, 5, salt=1))
        store.compact(min_live=1)
        for opened in (store, other):
            assert len(space_of(opened).get(names[60:] + keys(5, salt=1)).found) == 45


def test_a_document_that_is_deleted_past_its_time_to_live_is_deleted_for_everyone(folder, monkeypatch):
    with DiskStore(folder, ttl_s=100) as store:
        names = fill(store, 3)
        now = time.time()
        monkeypatch.setattr(time, "time", lambda: now + 500)
        assert space_of(store).delete(names[:2]) == 0
    with DiskStore(folder) as store:
        assert space_of(store).get(names).missing.tolist() == [0, 1]


def test_a_document_that_is_deleted_after_it_was_evicted_stays_deleted_though_an_older_one_lies_about(folder):
    with ResumingNothing(folder) as store:
        names = fill(store, 3)
        parts_of(store).writing.seal_all()
        fill(store, 2)  # the first two again
        parts_of(store).writing.seal_all()
        assert parts_of(store).writing.retire(parts_of(store).index.segments()[1])
        assert space_of(store).get(names).missing.tolist() == [0, 1]
        assert space_of(store).delete(names[:1]) == 0
        before = store.stats()
        assert space_of(store).delete(names[:1]) == 0  # a tombstone is there already
        assert store.stats() == before
        assert n_tombstones(store) == 1
    with rebuilt(folder) as opened:
        # An evicted document may come back as it was before. A deleted one may not.
        assert space_of(opened).get(names).missing.tolist() == [0]


def test_deleting_what_was_never_there_writes_nothing(folder, store):
    names = fill(store, 3)
    before = store.stats()
    assert space_of(store).delete(keys(100, salt=5)) == 0
    assert store.stats() == before
    assert space_of(store).delete(names) == 3
    assert space_of(store).delete(names) == 0
    assert n_tombstones(store) == 3


def test_a_bounded_store_full_of_tombstones_comes_to_an_end(folder):
    with DiskStore(folder, max_bytes=MIB) as store:
        for salt in range(8):
            names = fill(store, 4000, salt=salt, tokens=0)
            space_of(store).delete(names)
        names = fill(store, 100, salt=9)
        assert len(space_of(store).get(names).found) == 100
        assert store.stats()["size_bytes"] - store.stats()["index_bytes"] <= MIB


def test_a_bounded_store_full_of_tombstones_that_another_writer_keeps_needed_comes_to_an_end(folder):
    with DiskStore(folder) as other, DiskStore(folder, max_bytes=MIB) as store:
        fill(other, 2)
        fill(other, 1)  # a dead document in a segment that nobody may evict
        for salt in range(1, 8):
            names = fill(store, 4000, salt=salt, tokens=0)
            space_of(store).delete(names)
        fill(store, 100, salt=9)
        assert n_tombstones(store) == 28_000


def test_a_segment_that_was_gone_on_with_since_it_was_looked_at_isnt_evicted(folder):
    with DiskStore(folder) as store, DiskStore(folder) as other:
        fill(store, 5)
        parts_of(store).writing.seal_all()
        (seen,) = parts_of(store).index.segments()
        fill(other, 5, salt=1)
        parts_of(other).writing.seal_all()
        assert not parts_of(store).writing.retire(seen)
        assert len(space_of(store).get(keys(5) + keys(5, salt=1)).found) == 10


# Dropping


def test_compaction_doesnt_make_a_space_again_that_another_process_drops(folder, store, monkeypatch):
    names = fill(store, 100)
    fill(store, 30)
    parts_of(store).writing.seal_all()
    with DiskStore(folder) as other:
        Once(monkeypatch, parts_of(store).writing, "begin", lambda: other.drop("a"))
        store.compact(min_live=1)
        assert [len(opened.spaces()) for opened in (store, other)] == [0, 0]
        assert segment_files(folder) == []
        assert store.verify().problems == []
        other.close()
    store.close()
    rebuild(folder)
    with DiskStore(folder) as again:
        assert len(space_of(again).get(names).found) == 0


def test_compaction_leaves_alone_what_is_put_into_a_space_that_was_dropped_meanwhile(folder, store, monkeypatch):
    names = fill(store, 100)
    fill(store, 30)
    parts_of(store).writing.seal_all()
    newer = random_packed([100] * 10, SPEC, seed=9)
    with DiskStore(folder) as other:

        def drop_and_put():
            other.drop("a")
            space_of(other).put(names[:10], newer)

        Once(monkeypatch, parts_of(store).writing, "begin", drop_and_put)
        store.compact(min_live=1)
        other.close()
    store.close()
    with DiskStore(folder) as same, rebuilt(folder) as again:
        for opened in (same, again):
            fetched = space_of(opened).get(names)
            assert fetched.missing.tolist() == list(range(10, 100))
            assert same_documents(fetched.found, newer)
            assert opened.verify().problems == []


def test_eviction_doesnt_make_a_space_again_that_another_process_drops(folder, monkeypatch):
    with ResumingNothing(folder) as store, DiskStore(folder) as other:
        names = fill(store, 100)
        fill(store, 100, salt=1)
        space_of(store).delete(names)
        parts_of(store).writing.seal_all()
        fill(store, 10, salt=2)
        fill(store, 10, salt=2)  # dead ones, so that the tombstones are needed
        parts_of(store).writing.seal_all()
        Once(monkeypatch, parts_of(store).writing, "append", lambda: other.drop("a"))
        parts_of(store).writing.retire(parts_of(store).index.segments()[0])
        assert store.spaces() == []
        assert segment_files(folder) == []


DIE_IN = """
import os, sys
from late_rerank.stores import DiskStore
from late_rerank.stores.disk import {module}
from late_rerank.stores.disk.inside import parts_of
from late_rerank.testing.stores import SPEC, keys
from late_rerank.testing.vectors import random_packed
store = DiskStore(sys.argv[1])
{setup}
{owner} = lambda *args, **kwargs: os._exit(9)
{deed}
"""


def die(folder, module, owner, deed, setup=""):
    """Another process, that dies in a function of the store."""
    code = DIE_IN.format(module=module, owner=owner, deed=deed, setup=setup)
    assert subprocess.run([sys.executable, "-c", code, str(folder)], check=False).returncode == 9


def test_documents_of_a_drop_that_died_dont_come_back_once_the_store_was_opened(folder):
    with DiskStore(folder) as store:
        names = fill(store, 10)
        fill(store, 10, name="b")
    die(folder, "writing", "writing.Path.unlink", 'store.drop("a")')
    assert len(segment_files(folder)) == 2
    with DiskStore(folder) as store:
        assert len(space_of(store).get(names).found) == 0
    assert len(segment_files(folder)) == 1
    with rebuilt(folder) as again:
        assert len(space_of(again).get(names).found) == 0
        assert len(space_of(again, "b").get(names).found) == 10


# Removing and recovering


def test_whoever_dies_before_a_file_is_removed_leaves_no_row_that_points_into_it(folder):
    with ResumingNothing(folder) as store:
        names = fill(store, 10)
        parts_of(store).writing.seal_all()
        more = fill(store, 10, salt=1)
    die(folder, "writing", "writing.Path.unlink", "parts_of(store).writing.retire(parts_of(store).index.segments()[0])")
    assert len(segment_files(folder)) == 2
    reader = index.Index(folder)
    states = {segment.id: segment.state for segment in reader.segments(with_dead=True)}
    assert states == {1: tables.DEAD, 2: tables.SEALED}
    assert set(reader.ends()) == {2}
    reader.close()
    with DiskStore(folder) as store:
        assert space_of(store).get(names + more).missing.tolist() == list(range(10))  # and no warning of damage
        assert store.verify().problems == []
        assert [path.name for path in segment_files(folder)] == ["0000000002.seg"]
        assert [segment.id for segment in parts_of(store).index.segments(with_dead=True)] == [2]


PUT = 'store.space("a", SPEC).put(keys(20, salt=1), random_packed([100] * 20, SPEC, seed=1))'


def test_recovery_keeps_a_files_length_and_leaves_zeros_after_the_seal(folder):
    with DiskStore(folder) as store:
        names = fill(store, 5)
    die(folder, "writing", "writing.Writing._commit", PUT)  # written and synced, not committed
    (path,) = segment_files(folder)
    size = path.stat().st_size
    with DiskStore(folder) as store:
        (segment,) = parts_of(store).index.segments()
        assert size > segment.size + 20_000
        assert any(path.read_bytes()[segment.size :])
        parts_of(store).writing.recover()
        raw = path.read_bytes()
        assert len(raw) == size
        assert raw[segment.size : segment.size + 4] == b"LREC"
        assert not any(raw[segment.size + 64 :])
        assert parts_of(store).index.segments()[0].state == tables.FULL
        assert space_of(store).get(names + keys(20, salt=1)).missing.tolist() == list(range(5, 25))
        assert store.verify().problems == []


# Rebuilding


@pytest.mark.parametrize(
    "name", ["0000000001 (copy).seg", "00000000001.seg", "0000000007.seg", "1.seg", "\u00b2.seg", "9" * 30 + ".seg"]
)
def test_a_copy_of_a_segment_is_left_out_of_a_new_index_and_said(folder, name):
    with DiskStore(folder) as store:
        names = fill(store, 20)
        space_of(store).delete(names[:5])
    shutil.copy(path_of(folder, 1), folder / "segments" / name)
    for path in folder.glob("index.sqlite*"):
        path.unlink()
    with pytest.warns(UserWarning, match="must be called 0000000001.seg"):
        assert rebuild(folder).n_damaged == 1
    with DiskStore(folder) as store:
        assert space_of(store).get(names).missing.tolist() == list(range(5))
        fill(store, 5, salt=1)
        store.compact(min_live=1)
        parts_of(store).writing.seal_all()
        assert [problem.where for problem in store.verify().problems] == [name]
        assert len(space_of(store)) == 20


def test_a_number_of_a_segment_that_cant_be_read_is_given_to_no_other(folder):
    with DiskStore(folder) as store:
        fill(store, 5)
    path = path_of(folder, 12)
    path.write_bytes(b"not a segment")
    with pytest.warns(UserWarning, match="less than a segment's header"):
        rebuild(folder)
    with ResumingNothing(folder) as store:
        fill(store, 5, salt=1)
        assert [segment.id for segment in parts_of(store).index.segments()] == [1, 13]
    assert path.read_bytes() == b"not a segment"


def test_what_was_mapped_under_a_number_isnt_read_after_it_was_given_again(folder):
    with DiskStore(folder) as reader:
        fill(reader, 5)
        parts_of(reader).writing.seal_all()
        with ResumingNothing(folder) as other:
            gone = fill(other, 40, salt=1)
            parts_of(other).writing.seal_all()
            assert len(space_of(reader).get(gone).found) == 40
            parts_of(other).writing.retire(parts_of(other).index.segments()[1])
        rebuild(folder)
        with ResumingNothing(folder) as other:
            names = fill(other, 40, salt=2)
            assert [segment.id for segment in parts_of(other).index.segments()] == [1, 2]
        fill(reader, 1, salt=3)
        assert same_documents(space_of(reader).get(names).found, random_packed([100] * 40, SPEC, seed=2))
