"""A DiskStore's folder: made to last, closed, removed, replaced, named oddly; what a published store says of itself."""

import json
import shutil
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from late_rerank.errors import StoreError
from late_rerank.stores import DiskStore, PublishedStore
from late_rerank.stores.disk import files, format_file, is_store, open_folder
from late_rerank.stores.disk.inside import parts_of, with_internals
from late_rerank.stores.disk.internals import Internals
from late_rerank.stores.disk.segment import SegmentWriter
from late_rerank.testing.stores import SPEC, keys
from late_rerank.testing.vectors import random_packed, same_documents

ResumingNothing = with_internals(Internals(resumes=False))


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "store"


def space_of(store, name="a"):
    return store.space(name, SPEC)


def fill(store, n=5, salt=0, name="a"):
    names = keys(n, salt=salt)
    space_of(store, name).put(names, random_packed([100] * n, SPEC, seed=salt))
    return names


def is_there(store, n=5, salt=0):
    return same_documents(space_of(store).get(keys(n, salt=salt)).found, random_packed([100] * n, SPEC, seed=salt))


# Made to last


@pytest.fixture
def synced(monkeypatch):
    """What was brought to the disk, in order: folders, and "FORMAT.json" when that was written."""
    done = []
    sync_folder, replace = files.sync_folder, files.replace
    monkeypatch.setattr(files, "sync_folder", lambda path: (done.append(path), sync_folder(path)))
    monkeypatch.setattr(files, "replace", lambda path, text: (done.append(path.name), replace(path, text)))
    return done


def test_the_folders_of_a_new_store_last(tmp_path, synced):
    with DiskStore(tmp_path / "x" / "y" / "store"):
        before = synced[: synced.index(format_file.NAME)]
    assert {tmp_path, tmp_path / "x", tmp_path / "x" / "y", tmp_path / "x" / "y" / "store"} <= set(before)


def test_a_folder_that_was_there_lasts_too(folder, synced):
    """Who made it may have died, or not have cared."""
    folder.mkdir()
    with DiskStore(folder):
        assert folder.parent in synced[: synced.index(format_file.NAME)]


def test_the_folders_of_a_published_store_last(tmp_path, folder, synced):
    with DiskStore(folder) as store:
        fill(store)
        synced.clear()
        store.publish(tmp_path / "x" / "out")
        before = synced[: synced.index(format_file.NAME)]
    out = tmp_path / "x" / "out"
    assert {tmp_path, tmp_path / "x", out, out / "segments", out / "keys"} <= set(before)


# Closed


STORE_USES = {
    "space": lambda store, space: store.space("a", SPEC),
    "spaces": lambda store, space: store.spaces(),
    "drop": lambda store, space: store.drop("a"),
    "drop nothing": lambda store, space: store.drop("b"),
    "stats": lambda store, space: store.stats(),
    "verify": lambda store, space: store.verify(),
    "compact": lambda store, space: store.compact(),
    "publish": lambda store, space: store.publish(store.path.parent / "out"),
    "get": lambda store, space: space.get(keys(1)),
    "get nothing": lambda store, space: space.get([]),
    "missing": lambda store, space: space.missing(keys(1)),
    "put": lambda store, space: space.put(keys(1), random_packed([1], SPEC)),
    "put nothing": lambda store, space: space.put([], random_packed([], SPEC)),
    "delete": lambda store, space: space.delete(keys(1)),
    "len": lambda store, space: len(space),
}


def open_files(folder):
    """What this process has open in the folder; nothing where the system doesn't say."""
    found = []
    for link in Path("/proc/self/fd").glob("*"):
        with suppress(OSError):  # that of this very walk
            found.append(str(link.readlink()))
    return [path for path in found if path.startswith(str(folder))]


@pytest.mark.parametrize("use", STORE_USES)
def test_every_method_of_a_closed_store_says_that_it_is_closed(folder, use):
    with DiskStore(folder) as store:
        fill(store)
        space = space_of(store)
    before = sorted(folder.parent.rglob("*"))
    with pytest.raises(StoreError, match="was closed; open it again"):
        STORE_USES[use](store, space)
    store.close()
    assert sorted(folder.parent.rglob("*")) == before
    assert open_files(folder) == []


@pytest.mark.parametrize("use", [use for use in STORE_USES if use not in ("compact", "publish")])
def test_every_method_of_a_closed_published_store_says_that_it_is_closed(folder, tmp_path, use):
    with DiskStore(folder) as store:
        fill(store)
        store.publish(tmp_path / "out")
    with PublishedStore(tmp_path / "out") as store:
        space = space_of(store)
    with pytest.raises(StoreError, match="was closed; open it again"):
        STORE_USES[use](store, space)


def test_a_store_that_cant_be_opened_leaves_nothing_open(folder):
    with DiskStore(folder) as store:
        fill(store)
    found = json.loads((folder / "FORMAT.json").read_text())
    (folder / "FORMAT.json").write_text(json.dumps({**found, "id": "0" * 32}))
    with pytest.raises(StoreError, match="another store"):
        DiskStore(folder)
    assert open_files(folder) == []


def test_get_beside_close_finds_or_says_that_it_is_closed(folder):
    for _ in range(20):
        store = DiskStore(folder)
        fill(store)
        space, said, got = space_of(store), [], threading.Semaphore(0)

        def keep_getting(space=space, said=said, got=got):
            try:
                while True:
                    assert len(space.get(keys(5)).found) == 5
                    got.release()
            except StoreError as error:
                said.append(str(error))

        threads = [threading.Thread(target=keep_getting) for _ in range(2)]
        for thread in threads:
            thread.start()
        for _ in range(20):
            assert got.acquire(timeout=60)
        store.close()
        for thread in threads:
            thread.join(20)
        assert len(said) == 2
        assert all("was closed" in line for line in said)


# Removed and replaced


def in_another_process(code, *args):
    lines = ["import sys", "from late_rerank.stores import DiskStore", "from late_rerank.testing.stores import SPEC, keys"]
    lines += ["from late_rerank.testing.vectors import random_packed", code]
    subprocess.run([sys.executable, "-c", "\n".join(lines), *map(str, args)], check=True)


FILL = """
with DiskStore(sys.argv[1]) as store:
    store.space("a", SPEC).put(keys(5, salt=7), random_packed([100] * 5, SPEC, seed=7))
"""


def test_a_store_whose_folder_was_removed_says_so_and_makes_nothing(folder):
    with DiskStore(folder) as store:
        fill(store)
        shutil.rmtree(folder)
        for change in (lambda: fill(store, salt=1), store.compact, lambda: store.drop("a")):
            with pytest.raises(StoreError):
                change()
        with pytest.raises(StoreError):
            store.verify()
        assert not folder.exists()
    assert open_files(folder) == []


def test_a_store_whose_folder_was_replaced_writes_nothing_into_the_new_one(folder):
    """The old one's segment has the number that the new one's has, and the old LOCK is another file."""
    with DiskStore(folder) as store:
        fill(store)
        shutil.rmtree(folder)
        with DiskStore(folder) as new:
            fill(new, salt=2)
            for change in (lambda: fill(store, salt=1), store.compact, lambda: space_of(store).delete(keys(1, salt=2))):
                with pytest.raises(StoreError, match="open it again"):
                    change()
            fill(new, salt=3)
            store.close()
            assert new.verify().problems == []
            assert is_there(new, salt=2)
            assert is_there(new, salt=3)
    with DiskStore(folder) as new:
        assert len(space_of(new)) == 10


def test_a_store_that_was_put_back_from_a_copy_is_gone_on_with_in_new_segments(folder):
    """It has the same id, but our segment's bytes aren't in it."""
    with DiskStore(folder) as store:
        fill(store)
        shutil.copytree(folder, folder.with_name("copy"))
        fill(store, salt=1)
        shutil.rmtree(folder)
        shutil.copytree(folder.with_name("copy"), folder)
        fill(store, salt=2)
        assert is_there(store, salt=2)
        assert is_there(store)
        assert len(space_of(store).get(keys(5, salt=1)).found) == 0
        assert store.verify().problems == []
    with DiskStore(folder) as again:
        assert is_there(again, salt=2)
        assert again.verify().problems == []


def test_closing_a_store_whose_folder_was_put_back_from_a_copy_changes_no_segment_of_it(folder):
    with DiskStore(folder) as store:
        fill(store)
        shutil.copytree(folder, folder.with_name("copy"))
        fill(store, salt=1)
        shutil.rmtree(folder)
        shutil.copytree(folder.with_name("copy"), folder)
    with DiskStore(folder) as again:
        assert again.verify().problems == []
        fill(again, salt=2)
        assert is_there(again)
        assert is_there(again, salt=2)
        assert again.verify().problems == []


def test_compaction_of_a_store_that_is_replaced_meanwhile_by_a_copy_changes_nothing_there(folder, monkeypatch):
    with DiskStore(folder) as store:
        fill(store)
        fill(store)
        parts_of(store).writing.seal_all()
        shutil.copytree(folder, folder.with_name("copy"))
        append, others = SegmentWriter.append, []

        def append_meanwhile(writer, records):
            monkeypatch.setattr(SegmentWriter, "append", append)
            shutil.rmtree(folder)
            shutil.copytree(folder.with_name("copy"), folder)
            others.append(ResumingNothing(folder))
            fill(others[0], salt=1)  # in a segment that has the number of the one that compaction began
            append(writer, records)

        monkeypatch.setattr(SegmentWriter, "append", append_meanwhile)
        store.compact(min_live=1)
        (other,) = others
        assert [segment.id for segment in parts_of(other).index.segments()] == [1, 2]
        assert other.verify().problems == []
        fill(other, salt=2)
        other.close()
        fill(store, salt=3)
        assert store.verify().problems == []
        assert all(is_there(store, salt=salt) for salt in range(4))


def test_the_gate_is_that_of_the_folder_that_is_there(folder):
    gate = files.Gate(folder / "LOCK")
    with DiskStore(folder) as store:
        fill(store)
        with gate.held():
            pass
        (folder / "LOCK").unlink()
        with gate.held():
            other = files.Gate(folder / "LOCK")
            got = threading.Event()

            def take():
                with other.held():
                    got.set()

            thread = threading.Thread(target=take)
            thread.start()
            assert not got.wait(0.2)
        thread.join(60)
        assert got.is_set()
        gate.close()
        other.close()


# Places


def test_a_relative_path_is_meant_from_where_the_store_was_opened(tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    with DiskStore("store") as store:
        assert store.path == tmp_path / "store"
        fill(store)
        store.publish("out")
        published = PublishedStore("out")
        monkeypatch.chdir(tmp_path / "elsewhere")
        parts_of(store).writing.seal_all()
        fill(store, salt=1)
        parts_of(store).mappings.keep(set())
        assert is_there(store)
        assert is_there(store, salt=1)
        assert is_there(published)
        assert published.verify().problems == []
    assert list((tmp_path / "elsewhere").iterdir()) == []


@pytest.mark.parametrize("name", ["ein Ordner mit ümläuten ✓", "a?b#c%20&mode=ro", "a'b\"c;d", "\udcff", "."])
def test_a_folder_may_be_called_anything(tmp_path, name):
    (tmp_path / "here").mkdir()
    folder = tmp_path / "here" / name
    try:
        store = DiskStore(folder)
    except UnicodeEncodeError:
        pytest.skip("this system's names are UTF-8")
    with store:
        fill(store)
    in_another_process(FILL, folder)
    with open_folder(folder) as again:
        assert is_there(again)
        assert is_there(again, salt=7)
        assert again.verify().problems == []


def test_a_store_behind_a_link_is_the_same_store(tmp_path, folder):
    (tmp_path / "link").symlink_to(folder, target_is_directory=True)
    with pytest.raises(StoreError):
        DiskStore(tmp_path / "link")  # to nothing
    with DiskStore(folder) as store, DiskStore(tmp_path / "link") as same:
        fill(store)
        fill(same, salt=1)
        for opened in (store, same):
            assert is_there(opened)
            assert is_there(opened, salt=1)
            assert opened.verify().problems == []


@pytest.mark.parametrize("wrong", [{"ttl_s": float("inf")}, {"max_bytes": float("inf")}, {"ttl_s": float("nan")}])
def test_bounds_without_an_end_are_said_with_none(folder, wrong):
    with pytest.raises(ValueError, match="or None for no"):
        DiskStore(folder, **wrong)
    assert not folder.exists()


@pytest.mark.parametrize("at", [0, -1e9])
def test_a_clock_that_goes_backwards_loses_nothing(folder, monkeypatch, at):
    with DiskStore(folder, ttl_s=100, max_bytes=2**20) as store:
        fill(store)
        now = time.time()
        monkeypatch.setattr(time, "time", lambda: max(now + at, 0) if at else 0)
        newer = random_packed([100] * 5, SPEC, seed=5)
        space_of(store).put(keys(5), newer)
        assert same_documents(space_of(store).get(keys(5)).found, newer)
        space_of(store).delete(keys(1))
        store.compact(min_live=1)
        assert space_of(store).get(keys(5)).missing.tolist() == [0]


def test_nothing_and_much_in_one_put(folder):
    with DiskStore(folder, max_bytes=64 * 2**20) as store:
        space_of(store).put([], random_packed([], SPEC))
        assert store.spaces() == []
        lengths = [3_000_000, 0, 5, 100_000]
        packed = random_packed(lengths, SPEC)
        space_of(store).put(keys(4), packed)
        assert same_documents(space_of(store).get(keys(4)).found, packed)
        assert store.verify().problems == []


# Published


def test_a_published_store_says_what_a_store_says_of_itself(folder, tmp_path):
    with DiskStore(folder) as store:
        fill(store)
        fill(store, 30, salt=1, name="b")
        store.space("empty", SPEC)
        store.compact(min_live=1)
        store.publish(tmp_path / "out")
        own = store.stats()
    with PublishedStore(tmp_path / "out") as published:
        said = published.stats()
    assert said.keys() == own.keys()
    assert [space.keys() for space in said["spaces"]] == [space.keys() for space in own["spaces"]]
    for mine, theirs in zip(said["spaces"], own["spaces"], strict=True):
        assert mine == {**theirs, "size_bytes": theirs["size_bytes"] + 64}  # here the seal counts
    out = [path for path in (tmp_path / "out").rglob("*") if path.suffix in (".seg", ".keys")]
    assert said["size_bytes"] == sum(path.stat().st_size for path in out)
    json.dumps(said)


HALF = """
from late_rerank.stores.disk import publishing
left = [int(sys.argv[3])]
def die(real):
    def dying(*args, **kwargs):
        left[0] -= 1
        if left[0] < 0:
            import os
            os._exit(9)
        return real(*args, **kwargs)
    return dying
publishing.files.sync_folder = die(publishing.files.sync_folder)
publishing.files.sync = die(publishing.files.sync)
DiskStore(sys.argv[1]).publish(sys.argv[2])
"""


DIE = """
import os
from late_rerank.stores.disk import segment
from late_rerank.stores.disk.inside import with_internals
from late_rerank.stores.disk.internals import Internals
segment.pack_header = lambda *args: os._exit(0)
with with_internals(Internals(resumes=False))(sys.argv[1]) as store:
    store.space("a", SPEC).put(keys(5, salt=7), random_packed([100] * 5, SPEC, seed=7))
"""


def test_a_store_is_published_although_a_writer_died_while_it_made_a_segment(folder, tmp_path):
    with DiskStore(folder) as store:
        fill(store)
        parts_of(store).writing.seal_all()
        in_another_process(DIE, folder)
        assert [segment.size > 0 for segment in parts_of(store).index.segments()] == [True, False]
        store.publish(tmp_path / "out")
    with PublishedStore(tmp_path / "out") as published:
        assert is_there(published)


def test_a_half_published_store_is_refused(folder, tmp_path):
    with DiskStore(folder) as store:
        fill(store)
        fill(store, name="b")
    n_died = 0
    for i in range(100):
        out = tmp_path / f"out-{i}"
        try:
            in_another_process(HALF, folder, out, i)
        except subprocess.CalledProcessError:
            n_died += 1
        else:
            break
        if is_store(out):  # only the last sync, of the folder with its format, is after that
            with PublishedStore(out) as published:
                assert published.verify().problems == []
                assert published.stats()["n_documents"] == 10
            continue
        assert i == 0 or out.exists()
        with pytest.raises(FileNotFoundError, match="no late-rerank store"):
            PublishedStore(out)
        if (out / "keys").exists():
            with pytest.raises(ValueError, match="no store and not empty"):
                open_folder(out)
            with DiskStore(folder) as store, pytest.raises(ValueError, match="not empty"):
                store.publish(out)
    assert n_died > 10


def test_a_store_that_another_process_made_after_we_looked_is_opened(tmp_path, monkeypatch):
    with DiskStore(tmp_path) as store:
        store.space("a", SPEC).put(keys(2), random_packed([3, 4], SPEC))
    looks = iter([False])  # before it was made
    monkeypatch.setattr(format_file, "is_store", lambda folder: next(looks, True) and is_store(folder))
    with DiskStore(tmp_path) as store:
        assert len(store.space("a", SPEC)) == 2
