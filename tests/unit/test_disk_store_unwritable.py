"""A store that can't be written: what it holds is found, a warning is given once, and answers go on."""

import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import pytest

from late_rerank import Reranker
from late_rerank.errors import StoreError
from late_rerank.stores import DiskStore, MemoryStore, TieredStore, open_store
from late_rerank.stores.disk import connections, rebuild
from late_rerank.stores.disk.inside import parts_of, with_internals
from late_rerank.stores.disk.internals import Internals
from late_rerank.testing.fakes import FakeEncoder
from late_rerank.testing.stores import SPEC, keys
from late_rerank.testing.vectors import random_packed, same_documents

TEXTS = [f"cat number {i} sat on a mat" for i in range(5)]

AlwaysLooking = with_internals(Internals(tick_s=0))  # at each get, as others do every ten seconds


@pytest.fixture
def folder():
    """Where every user may look: pytest's own folders are root's."""
    with tempfile.TemporaryDirectory() as place:
        Path(place).chmod(0o755)
        yield Path(place) / "store"


def fill(store, salt=0, n=5):
    store.space("a", SPEC).put(keys(n, salt=salt), random_packed([100] * n, SPEC, seed=salt))


def n_right(store, salt=0, n=5):
    fetched = store.space("a", SPEC).get(keys(n, salt=salt))
    packed = random_packed([100] * n, SPEC, seed=salt)
    assert same_documents(fetched.found, packed.take(fetched.positions))
    return len(fetched.found)


def quietly(work):
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        result = work()
    return result, [str(warning.message) for warning in said]


# What a user without the right to write, or on a read-only mount, does: run by each test in a process of its own.
USE = """
import sys, warnings
from late_rerank import Reranker
from late_rerank.errors import StoreError
from late_rerank.stores import DiskStore
from late_rerank.testing.fakes import FakeEncoder
texts = [f"cat number {i} sat on a mat" for i in range(5)]
folder, n_hits = sys.argv[1], int(sys.argv[2])
with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    with Reranker(FakeEncoder(), store=folder) as reranker:
        for more in ("dogs bark", "birds sing", "fish swim"):
            ranking = reranker.rerank("cat number 3", [*texts, more])
            assert all(document.score is not None for document in ranking)
        stats = reranker.stats()
        assert reranker.store.read_only
        assert stats["n_not_stored"] == 3 + 3 * (5 - n_hits), stats
        try:
            reranker.index(["another text"])
        except StoreError as error:
            assert "publish" in str(error), error
        else:
            raise SystemExit("index must fail")
messages = [str(warning.message) for warning in said]
assert len(messages) == 2, messages
assert all("store publish" in message and sys.argv[3] in message for message in messages), messages
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    with DiskStore(folder) as store:
        assert store.read_only
        assert store.verify().problems == []
        assert store.publish(sys.argv[4]).n_documents == n_hits
"""


BEFORE = """
import tempfile
from late_rerank import Reranker
from late_rerank.testing.fakes import FakeEncoder
with tempfile.TemporaryDirectory() as place, Reranker(FakeEncoder(), store=f"{place}/store") as reranker:
    reranker.rerank("cat", ["dog"])
    reranker.store.publish(f"{place}/out")
"""


@pytest.fixture
def stored(folder):
    with Reranker(FakeEncoder(), store=folder) as reranker:
        reranker.index(TEXTS)
    return folder


LEAVE_A_LOG = """
import os, sys
from late_rerank import Reranker
from late_rerank.testing.fakes import FakeEncoder
reranker = Reranker(FakeEncoder(), store=sys.argv[1])
reranker.index([f"cat number {i} sat on a mat" for i in range(5)])
os._exit(0)
"""


@pytest.fixture(params=["closed", "with a log", "with a log alone"])
def left(request, folder):
    """A store as it was closed, or as a process left it that was killed, its shared memory there or not."""
    if request.param == "closed":
        with Reranker(FakeEncoder(), store=folder) as reranker:
            reranker.index(TEXTS)
        return folder
    subprocess.run([sys.executable, "-c", LEAVE_A_LOG, folder], check=True)
    assert (folder / "index.sqlite-wal").stat().st_size > 0
    if request.param == "with a log alone":
        (folder / "index.sqlite-shm").unlink()
    return folder


def test_on_a_read_only_file_system_what_is_stored_is_found(left, tmp_path):
    place = tmp_path / "mounted"
    place.mkdir()
    script = f"""
set -e
mount --bind {left} {place}
mount -o remount,bind,ro {place}
touch {place}/x 2> /dev/null && exit 77
exec {sys.executable} -c "$1" {place} 5 "read-only file system" {tmp_path / "out"}
"""
    command = ["unshare", "-rm", "sh", "-c", script, "sh", USE]
    if not shutil.which("unshare") or subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode:
        pytest.skip("needs the right to make a mount namespace (unshare -rm)")
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_without_the_right_to_write_what_is_stored_is_found(left):
    if os.getuid() != 0:
        pytest.skip("needs root, to become a user without the right to write")
    (left.parent / "out").mkdir()
    (left.parent / "out").chmod(0o777)
    # Root's interpreter and libraries may be closed to others: they are loaded before.
    code = f"{BEFORE}\nimport os; os.setgid(65534); os.setuid(65534)\n{USE}"
    command = [sys.executable, "-c", code, left, "5", "no right to", left.parent / "out" / "published"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_an_index_that_is_read_as_it_was_found_follows_one_who_can_write_it(folder, monkeypatch):
    """As on a read-only mount of a folder that another container writes."""
    connect = connections.connect

    def without_files(path, mode, busy_s, *, uri=None, **more):
        if mode == "ro" and uri is None:
            raise sqlite3.OperationalError("unable to open database file")
        return connect(path, mode, busy_s, uri=uri, **more)

    with DiskStore(folder) as writer:
        fill(writer)
        monkeypatch.setattr(connections, "connect", without_files)
        with DiskStore(folder) as reader:
            assert parts_of(reader).index.is_frozen
            for salt in range(5):
                fill(writer, salt)
                assert [n_right(reader, earlier) for earlier in range(salt + 1)] == [5] * (salt + 1)
            writer.space("a", SPEC).delete(keys(5))
            writer.compact(min_live=1)
            assert [n_right(reader, salt) for salt in range(5)] == [0, 5, 5, 5, 5]
            assert reader.verify().problems == []


def test_a_folder_that_is_removed_costs_one_warning_and_no_answer(stored):
    reranker = Reranker(FakeEncoder(), store=AlwaysLooking(stored))
    before = {document.index: document.score for document in reranker.rerank("cat number 3", TEXTS)}
    shutil.rmtree(stored)

    def use():
        for i in range(5):
            ranking = reranker.rerank("cat number 3", [*TEXTS, f"new {i}"])
            assert len(ranking) == 6
            again = {document.index: document.score for document in ranking if document.index < 5}
            assert again == pytest.approx(before, abs=1e-5)

    _, said = quietly(use)
    assert len(said) <= 2
    assert len(set(said)) == len(said)
    assert any("is gone" in line and "is not made again" in line for line in said)
    with pytest.raises(StoreError, match="is gone"):
        reranker.index(["another"])
    reranker.store.close()
    assert not stored.exists()


def test_a_store_that_comes_back_is_used_again(stored):
    reranker = Reranker(FakeEncoder(), store=AlwaysLooking(stored))
    away = stored.rename(stored.with_name("away"))
    quietly(lambda: reranker.rerank("cat number 3", [*TEXTS, "new"]))
    away.rename(stored)
    _, said = quietly(lambda: reranker.rerank("cat number 3", [*TEXTS, "newer"]))
    assert said == []
    reranker.index(["another"])
    reranker.store.close()


def test_an_index_that_another_program_has_locked_costs_a_warning_and_no_answer(stored):
    reranker = Reranker(FakeEncoder(), store=with_internals(Internals(busy_s=0.05))(stored))
    other = sqlite3.connect(stored / "index.sqlite", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    rankings, said = quietly(lambda: [reranker.rerank("cat", [*TEXTS, f"new {i}"]) for i in range(3)])
    assert [len(ranking) for ranking in rankings] == [6, 6, 6]
    assert len(said) == 1
    assert "locked" in said[0]
    other.execute("ROLLBACK")
    other.close()
    _, said = quietly(lambda: reranker.rerank("cat", [*TEXTS, "newer"]))
    assert said == []
    assert reranker.stats()["n_not_stored"] == 3
    reranker.store.close()


def test_an_index_that_breaks_while_it_is_used_costs_a_warning_and_no_answer(stored):
    reranker = Reranker(FakeEncoder(), store=stored)
    raw = bytearray((stored / "index.sqlite").read_bytes())
    raw[100:] = os.urandom(len(raw) - 100)
    (stored / "index.sqlite").write_bytes(raw)
    parts_of(reranker.store).index.reopen()
    ranking, said = quietly(lambda: reranker.rerank("cat", TEXTS))
    assert len(ranking) == 5
    assert any(f"late-rerank store rebuild {stored}" in line for line in said)
    reranker.close()


def test_a_near_store_that_cant_be_written_costs_a_warning(folder, monkeypatch):
    with DiskStore(folder) as store:
        fill(store)
    monkeypatch.setattr(os, "access", lambda *_, **__: False)
    far = MemoryStore()
    near, said = quietly(lambda: open_store(folder))
    assert len(said) == 1
    tiered = TieredStore(near, far)
    _, said = quietly(lambda: [fill(tiered, salt) for salt in (1, 2)])
    assert len(said) == 1
    assert [n_right(tiered, salt) for salt in range(3)] == [5, 5, 5]
    tiered.close()


def test_what_a_far_store_that_cant_be_written_lacks_is_kept_near(folder, monkeypatch):
    with DiskStore(folder) as store:
        fill(store)
    monkeypatch.setattr(os, "access", lambda *_, **__: False)
    far, _ = quietly(lambda: DiskStore(folder))
    tiered = TieredStore(MemoryStore(), far)
    fill(tiered, salt=1)
    assert [n_right(tiered, salt) for salt in range(2)] == [5, 5]
    tiered.close()


def test_a_segment_that_this_user_may_not_read_is_a_miss(folder, monkeypatch):
    with DiskStore(folder) as store:
        fill(store)
    real = os.open

    def refusing(path, *args, **more):
        if str(path).endswith(".seg"):
            raise PermissionError(13, "Permission denied")
        return real(path, *args, **more)

    with DiskStore(folder) as store:
        monkeypatch.setattr(os, "open", refusing)
        found, said = quietly(lambda: n_right(store))
        assert found == 0
        assert len(said) == 1


def test_making_an_index_again_where_nothing_can_be_written_says_why(stored, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_, **__: False)
    with pytest.raises(StoreError, match="this user has no right to; its index is made again where it can be"):
        rebuild(stored)
