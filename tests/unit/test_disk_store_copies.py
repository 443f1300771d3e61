"""Copies of a DiskStore: torn ones are noticed and mended, damaged ones said with the right advice; backups are whole."""

import errno
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import warnings

import pytest

from late_rerank.cli import main
from late_rerank.errors import StoreError, StoreFormatError
from late_rerank.stores import DiskStore, PublishedStore
from late_rerank.stores.disk import copies, creation, files, is_store, rebuild
from late_rerank.stores.disk.index import Index
from late_rerank.stores.disk.inside import parts_of, with_internals
from late_rerank.stores.disk.internals import Internals
from late_rerank.testing.stores import SPEC, keys
from late_rerank.testing.vectors import random_packed, same_documents

ResumingNothing = with_internals(Internals(resumes=False))


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "store"


def fill(store, salt=0, n=5):
    store.space("a", SPEC).put(keys(n, salt=salt), random_packed([100] * n, SPEC, seed=salt))


def is_right(store, salt, n=5):
    """Whether what is found under a salt is as it was put; returns how many are."""
    fetched = store.space("a", SPEC).get(keys(n, salt=salt))
    packed = random_packed([100] * n, SPEC, seed=salt)
    assert same_documents(fetched.found, packed.take(fetched.positions))
    return len(fetched.found)


def copied(folder, name="copy"):
    return shutil.copytree(folder, folder.with_name(name))


def change(folder, sql):
    """What a copy that SQLite doesn't notice as torn may say."""
    connection = sqlite3.connect(folder / "index.sqlite")
    with connection:
        connection.execute(sql)
    connection.close()


def opened_with_warnings(folder, **more):
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        store = DiskStore(folder, **more)
    return store, [str(warning.message) for warning in said]


# Torn copies


@pytest.fixture
def torn(folder):
    """A copy whose index knows of documents beyond the end that it knows of their segment, which a writer had open."""
    with DiskStore(folder) as store:
        fill(store)
        size = parts_of(store).index.segments()[0].size
        fill(store, salt=1)
        copy = copied(folder)
    change(copy, f"UPDATE segment SET size = {size}")
    return copy


def test_a_torn_copy_is_noticed_and_all_its_documents_are_found(torn):
    store, said = opened_with_warnings(torn)
    with store:
        assert len(said) == 1
        assert "was copied while it was written" in said[0]
        assert "store backup" in said[0]
        fill(store, salt=2)
        assert [is_right(store, salt) for salt in range(3)] == [5, 5, 5]
        assert store.verify().problems == []
    assert opened_with_warnings(torn)[1] == []


def test_a_process_that_waits_while_another_mends_a_copy_reads_the_new_index(torn):
    gate, index = files.Gate(torn / "LOCK"), Index(torn)
    index.store_id()  # it has looked at the torn one
    opened_with_warnings(torn)[0].close()
    creation.settle(torn, gate, index)
    assert sum(segment.n_live for segment in index.segments()) == 10
    assert not index.was_replaced()
    index.close()
    gate.close()


def test_a_copy_with_a_segment_that_this_user_may_not_read_is_opened_and_keeps_its_index(folder, monkeypatch):
    with DiskStore(folder) as store:
        fill(store)
    copy = copied(folder)
    real = os.open

    def refusing(path, *args, **more):
        if str(path).endswith(".seg"):
            raise PermissionError(13, "Permission denied")
        return real(path, *args, **more)

    monkeypatch.setattr(os, "open", refusing)
    store, said = opened_with_warnings(copy)
    assert said == []
    with pytest.warns(UserWarning, match="Permission denied"):
        assert is_right(store, 0) == 0
    monkeypatch.undo()
    assert is_right(store, 0) == 5
    store.close()


@pytest.mark.parametrize("n", [0, 5])
def test_a_copy_without_its_folder_of_segments_can_be_written_again(folder, n):
    with DiskStore(folder) as store:
        fill(store, n=n)
    copy = copied(folder)
    shutil.rmtree(copy / "segments")
    store, said = opened_with_warnings(copy)
    with store:
        assert len(said) == (1 if n else 0)  # documents are lost, or none
        assert not store.read_only
        fill(store, salt=1)
        assert is_right(store, 1) == 5


def test_a_torn_copy_that_isnt_recognised_loses_nothing_and_scores_no_zeros(torn):
    """As put back over the same files, by rsync --inplace."""
    copies.write_mark(torn, checked=True)
    store, said = opened_with_warnings(torn)
    with store:
        assert said == []
        assert {problem.remedy for problem in store.verify().problems} == {"rebuild"}
        with pytest.raises(StoreFormatError, match="late-rerank store rebuild"):
            fill(store, salt=2)
        assert [is_right(store, salt) for salt in range(2)] == [5, 5]
    assert rebuild(torn).n_documents == 10
    with DiskStore(torn) as store:
        fill(store, salt=2)
        assert [is_right(store, salt) for salt in range(3)] == [5, 5, 5]


def test_documents_that_are_zeros_are_misses(torn):
    """What an earlier version made of a torn copy."""
    copies.write_mark(torn, checked=True)
    with DiskStore(torn) as store:
        segment = parts_of(store).index.segments()[0]
    path = torn / "segments" / "0000000001.seg"
    with path.open("r+b") as file:
        files.zero_from(file.fileno(), segment.size)
    store, _ = opened_with_warnings(torn)
    with store, pytest.warns(UserWarning, match="store verify"):
        assert [is_right(store, salt) for salt in range(2)] == [5, 0]


def test_half_a_record_of_a_copy_is_a_miss_until_the_copy_is_verified(folder):
    with DiskStore(folder) as store:
        fill(store)
        rows = parts_of(store).index.rows(1)
    copy = copied(folder)
    path = copy / "segments" / "0000000001.seg"
    raw = bytearray(path.read_bytes())
    raw[rows[1].offset + 200 : rows[1].offset + 300] = bytes(100)
    path.write_bytes(raw)
    for _ in range(2):
        with DiskStore(copy) as store, pytest.warns(UserWarning, match="store verify"):
            assert is_right(store, 0) == 4
    with DiskStore(copy) as store:
        store.compact()
        assert store.verify().problems == []
    assert copies.is_checked(copy)


def test_a_segment_whose_end_the_index_doesnt_know_isnt_gone_on_with(folder):
    with DiskStore(folder) as store:
        fill(store)
        old = parts_of(store).index.segments()[0].size
        fill(store, salt=1)
    change(folder, f"UPDATE segment SET size = {old}")
    with DiskStore(folder) as store:
        fill(store, salt=2)
        assert [is_right(store, salt) for salt in range(3)] == [5, 5, 5]


def test_an_index_older_than_its_segments_is_made_again_in_a_copy(folder):
    with DiskStore(folder) as store:
        fill(store)
    old = (folder / "index.sqlite").read_bytes()
    with DiskStore(folder) as store:
        fill(store, salt=1)
    copy = copied(folder)
    (copy / "index.sqlite").write_bytes(old)
    store, said = opened_with_warnings(copy)
    with store:
        assert len(said) == 1
        assert [is_right(store, salt) for salt in range(2)] == [5, 5]


@pytest.mark.parametrize("size", [0, 100, 4096, 9000])
def test_a_copy_with_a_segment_that_ends_too_soon_finds_the_rest(folder, size):
    with ResumingNothing(folder) as store:
        fill(store)
        parts_of(store).writing.seal_all()
        fill(store, salt=1)
    copy = copied(folder)
    os.truncate(copy / "segments" / "0000000001.seg", size)
    store, said = opened_with_warnings(copy)
    with store:
        assert any("was copied while" in line for line in said)
        assert is_right(store, 0) < 5
        assert is_right(store, 1) == 5
        fill(store)
        assert is_right(store, 0) == 5


def test_a_copy_of_a_store_at_rest_is_opened_without_a_word(folder):
    with DiskStore(folder) as store:
        fill(store)
    copy = copied(folder)
    assert copies.is_copy(copy)
    store, said = opened_with_warnings(copy)
    with store:
        assert (said, is_right(store, 0)) == ([], 5)
        assert not copies.is_copy(copy)


def test_a_store_that_was_moved_is_no_copy(folder):
    with DiskStore(folder) as store:
        fill(store)
    assert not copies.is_copy(folder.rename(folder.with_name("moved")))


def test_a_store_that_others_write_is_no_torn_copy(folder):
    """A change of owner looks like a copy; the segment of a writer that is alive has no seal."""
    with DiskStore(folder) as store:
        fill(store)
        (folder / "LOCK").write_bytes(b"")
        again, said = opened_with_warnings(folder)
        with again:
            assert said == []
            fill(store, salt=1)
            assert [is_right(again, salt) for salt in range(2)] == [5, 5]


# Damaged files, and advice that works


@pytest.fixture
def closed(folder):
    with ResumingNothing(folder) as store:
        fill(store)
        fill(store, salt=1)
        parts_of(store).writing.seal_all()
        fill(store, salt=2)
    return folder


@pytest.mark.parametrize("raw", [b"", b"x", b"not a database" * 1000, b"SQLite format 3\0" + bytes(4080)])
@pytest.mark.parametrize("log", ["no log", "a log of garbage"])
def test_an_index_that_is_none_is_made_again_by_itself(closed, raw, log):
    (closed / "index.sqlite").write_bytes(raw)
    if log != "no log":
        (closed / "index.sqlite-wal").write_bytes(os.urandom(5000))
        (closed / "index.sqlite-shm").write_bytes(os.urandom(32768))
    store, said = opened_with_warnings(closed)
    with store:
        assert len(said) == 1
        assert "made again from 2 segments, 15 documents" in said[0]
        assert [is_right(store, salt) for salt in range(3)] == [5, 5, 5]
        assert store.verify().problems == []


def test_an_index_without_its_tables_is_made_again_by_itself(closed):
    for sql in ("DROP TABLE meta", "DELETE FROM meta"):
        change(closed, sql)
        store, said = opened_with_warnings(closed)
        with store:
            assert (len(said), is_right(store, 2)) == (1, 5)


def test_an_index_of_a_later_version_is_refused_and_stays(closed):
    change(closed, "PRAGMA user_version = 2")
    raw = (closed / "index.sqlite").read_bytes()
    with pytest.raises(StoreFormatError, match="install a later one"):
        DiskStore(closed)
    assert (closed / "index.sqlite").read_bytes() == raw


@pytest.mark.parametrize("text", ["", "{", "[]", "\0\0\0", None])
def test_a_lost_or_damaged_format_file_is_made_again_by_the_command_that_the_error_names(closed, text, capsys):
    path = closed / "FORMAT.json"
    path.unlink() if text is None else path.write_text(text)
    with pytest.raises(StoreFormatError, match=f"FORMAT.json.*late-rerank store rebuild {closed}"):
        DiskStore(closed)
    assert main(["store", "rebuild", str(closed)]) == 0
    assert "15 documents" in capsys.readouterr().out
    with DiskStore(closed) as store:
        assert [is_right(store, salt) for salt in range(3)] == [5, 5, 5]
        assert store.verify().problems == []


def _damaged_record(folder):
    _changed_byte(folder / "segments" / "0000000001.seg", 4096 + 100)


def _damaged_header(folder):
    _changed_byte(folder / "segments" / "0000000002.seg", 40)


def _lost_seal(folder):
    _changed_byte(folder / "segments" / "0000000001.seg", -30)


def _changed_byte(path, offset):
    raw = bytearray(path.read_bytes())
    raw[offset] ^= 1
    path.write_bytes(raw)


def _replaced_and_damaged(folder):
    """The damaged record is one that nobody finds any more."""
    with DiskStore(folder) as store:
        fill(store)
    _damaged_record(folder)


DAMAGE = {
    "a record": _damaged_record,
    "a record that was replaced": _replaced_and_damaged,
    "a segment's header": _damaged_header,
    "a seal": _lost_seal,
    "a cut segment": lambda folder: os.truncate(folder / "segments" / "0000000001.seg", 6000),
    "an empty segment": lambda folder: os.truncate(folder / "segments" / "0000000001.seg", 0),
    "a lost segment": lambda folder: (folder / "segments" / "0000000001.seg").unlink(),
    "an unknown segment": lambda folder: change(folder, "DELETE FROM segment WHERE id = 2"),
    "a wrong count": lambda folder: change(folder, "UPDATE segment SET n_live = 1"),
    "a row that says something else": lambda folder: change(folder, "UPDATE record SET n_tokens = 3"),
    "a row beyond the end": lambda folder: change(folder, "UPDATE record SET offset = offset + 64000 WHERE segment = 2"),
    "a stranger": lambda folder: (folder / "segments" / "0000000001.seg.copy").write_bytes(b"x"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_doing_what_verify_says_leads_to_a_store_without_problems(closed, name, capsys):
    DAMAGE[name](closed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(4):
            if main(["store", "verify", str(closed)]) == 0:
                break
            said = capsys.readouterr().out
            assert f"late-rerank store rebuild {closed}" in said or f"store compact {closed}" in said or "move files" in said
            for verb in ("rebuild", "compact"):
                if f"`late-rerank store {verb} {closed}`" in said:
                    assert main(["store", verb, str(closed)]) == 0
            if "move files" in said:
                for line in said.splitlines():
                    if "no segment of the index" in line:
                        (closed / "segments" / line.partition(":")[0]).unlink()
        else:
            pytest.fail(said)
        with DiskStore(closed) as store:
            assert all(is_right(store, salt) <= 5 for salt in range(3))


def test_a_published_store_that_lost_a_segment_misses_its_documents(closed, tmp_path):
    with DiskStore(closed) as store:
        store.publish(tmp_path / "out")
    next((tmp_path / "out" / "segments").iterdir()).unlink()
    with PublishedStore(tmp_path / "out") as store, pytest.warns(UserWarning, match="lost"):
        assert is_right(store, 0) == 0


def test_a_published_store_whose_keys_are_damaged_gives_no_wrong_document(closed, tmp_path):
    with DiskStore(closed) as store:
        store.publish(tmp_path / "out")
    path = next((tmp_path / "out" / "keys").iterdir())
    whole = path.read_bytes()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for byte in range(4096, 2 * 4096, 5):  # the one block; a damaged header or fence is refused
            _changed_byte(path, byte)
            raw = bytearray(whole)
            raw[byte] ^= 128
            path.write_bytes(raw)
            with PublishedStore(tmp_path / "out") as store:
                assert all(is_right(store, salt) <= 5 for salt in range(3)), byte


# Backups


def test_a_backup_is_whole_and_can_be_used_in_place_of_the_store(folder, tmp_path):
    out = tmp_path / "backups" / "monday"
    with DiskStore(folder) as store:
        fill(store)
        fill(store, salt=1)
        store.space("a", SPEC).delete(keys(2, salt=1))
        fill(store, salt=3)
        store.drop("b")
        report = store.backup(out)
        fill(store, salt=2)
    assert (report.n_documents, report.n_segments, report.n_damaged) == (13, 1, 0)
    assert [path.name for path in out.parent.iterdir()] == ["monday"]
    again, said = opened_with_warnings(out)
    with again:
        assert said == []
        assert [is_right(again, salt) for salt in (0, 1, 2, 3)] == [5, 3, 0, 5]
        assert again.verify().problems == []
        fill(again, salt=9)
        assert is_right(again, 9) == 5
    (out / "index.sqlite").unlink()
    with pytest.warns(UserWarning, match="made again"), DiskStore(out) as again:
        assert [is_right(again, salt) for salt in (0, 1, 2, 3, 9)] == [5, 3, 0, 5, 5]


def test_a_backup_of_an_empty_store_is_one(folder, tmp_path):
    with DiskStore(folder) as store:
        assert store.backup(tmp_path / "out").n_documents == 0
    with DiskStore(tmp_path / "out") as store:
        fill(store)
        assert is_right(store, 0) == 5


def test_a_backup_is_refused_where_something_lies(folder, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_text("x")
    (tmp_path / "empty").mkdir()
    with DiskStore(folder) as store:
        fill(store)
        for place in (tmp_path / "full", tmp_path / "full" / "x", folder):
            with pytest.raises(ValueError, match="not empty"):
                store.backup(place)
        with pytest.raises(ValueError, match="lies within the store"):
            store.backup(folder / "backups" / "x")
        store.backup(tmp_path / "empty")
    assert is_store(tmp_path / "empty")
    assert sorted(path.name for path in (tmp_path / "full").iterdir()) == ["x"]


def test_a_backup_that_fails_leaves_nothing(folder, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with DiskStore(folder) as store:
        fill(store)
        monkeypatch.setattr(files, "write_at", full)
        with pytest.raises(StoreError, match="No space left"):
            store.backup(tmp_path / "out")
        assert sorted(path.name for path in tmp_path.iterdir()) == ["store"]
        monkeypatch.undo()
        left = tmp_path / ".out.partial"  # of one that was killed
        (left / "segments").mkdir(parents=True)
        (left / "segments" / "0000000001.seg").write_bytes(b"half")
        store.backup(tmp_path / "out")
        assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "store"]


def test_two_backups_to_one_place_dont_mix(folder, tmp_path, monkeypatch):
    with DiskStore(folder) as store:
        fill(store)
        copy_to, said = Index.copy_to, []

        def meanwhile(index, target):
            monkeypatch.setattr(Index, "copy_to", copy_to)
            with pytest.raises(StoreError, match="another process") as raised:
                store.backup(tmp_path / "out")
            said.append(raised)
            copy_to(index, target)

        monkeypatch.setattr(Index, "copy_to", meanwhile)
        store.backup(tmp_path / "out")
    assert len(said) == 1
    with DiskStore(tmp_path / "out") as again:
        assert is_right(again, 0) == 5


def test_a_backup_says_what_was_damaged(closed, tmp_path):
    _damaged_record(closed)
    with DiskStore(closed) as store, pytest.warns(UserWarning, match="damaged in 1 place"):
        assert store.backup(tmp_path / "out").n_damaged == 1
    with DiskStore(tmp_path / "out") as again, pytest.warns(UserWarning, match="damaged"):
        assert [is_right(again, salt) for salt in range(3)] == [4, 5, 5]


WRITER = """
import sys
from late_rerank.stores.disk.inside import with_internals
from late_rerank.stores.disk.internals import Internals
from late_rerank.testing.stores import SPEC, keys
from late_rerank.testing.vectors import random_packed
with with_internals(Internals(segment_bytes=300_000, log_bytes=100_000))(sys.argv[1]) as opened:
    for salt in range(100_000):
        opened.space("a", SPEC).put(keys(5, salt=salt), random_packed([100] * 5, SPEC, seed=salt))
        if salt % 7 == 6:
            opened.space("a", SPEC).put(keys(5, salt=salt - 5), random_packed([100] * 5, SPEC, seed=salt - 5))
        if salt % 40 == 39:
            opened.compact()
        print(salt, flush=True)
"""


def test_backups_while_another_process_writes_hold_all_that_was_acknowledged_before(folder, tmp_path):
    with subprocess.Popen([sys.executable, "-c", WRITER, str(folder)], stdout=subprocess.PIPE, text=True) as writer:
        try:
            for number in range(4):
                for _ in range(30):
                    salt = int(writer.stdout.readline())
                with DiskStore(folder) as store:
                    store.backup(tmp_path / str(number))
                again, said = opened_with_warnings(tmp_path / str(number))
                with again:
                    assert said == []
                    assert again.verify().problems == []
                    assert [is_right(again, earlier) for earlier in range(salt + 1)] == [5] * (salt + 1)
        finally:
            writer.kill()


def test_the_command_makes_a_backup(closed, tmp_path, capsys):
    assert main(["store", "backup", str(closed), str(tmp_path / "out"), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["store"], report["out"], report["n_documents"]) == (str(closed), str(tmp_path / "out"), 15)
    assert main(["store", "verify", str(tmp_path / "out")]) == 0
    capsys.readouterr()
    assert main(["store", "backup", str(closed), str(tmp_path / "out")]) == 1
    assert "not empty" in capsys.readouterr().err
    assert main(["store", "backup", str(tmp_path / "nowhere"), str(tmp_path / "other")]) == 1
    assert main(["store", "publish", str(closed), str(tmp_path / "published")]) == 0
    assert main(["store", "backup", str(tmp_path / "published"), str(tmp_path / "other")]) == 1
    assert "copy its folder" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()
