"""Scratch folders: they live as long as their process, and nothing else is ever removed."""

import os
import threading

import pytest

pytest.importorskip("fcntl", reason="locks of folders need POSIX")

from late_rerank.bulk import scratch as bulk_scratch
from late_rerank.stores import scratch
from late_rerank.stores.scratch import Scratch, private_folder, remove_abandoned


def test_a_folder_lives_as_long_as_its_process(tmp_path):
    with Scratch(tmp_path, "worker-") as mine:
        other = Scratch(tmp_path, "worker-")
        with mine.folder("task") as folder:
            remove_abandoned(tmp_path, "worker-")
            assert folder.is_dir()
        assert not folder.exists()
        other.close()
        other.close()
    assert list(tmp_path.iterdir()) == []


def test_what_killed_processes_left_is_removed_by_the_next_one(tmp_path):
    (tmp_path / "worker-killed" / "task" / "store").mkdir(parents=True)
    (tmp_path / "worker-killed" / "file").touch()
    (tmp_path / "worker-killed" / "LOCK").touch()
    (tmp_path / "worker-stillborn").mkdir()
    with Scratch(tmp_path, "worker-") as mine:
        assert list(tmp_path.iterdir()) == [mine.path]


def test_a_removal_that_was_killed_is_gone_on_with(tmp_path, monkeypatch):
    (tmp_path / "worker-killed" / "task").mkdir(parents=True)
    (tmp_path / "worker-killed" / "LOCK").touch()
    with monkeypatch.context() as patch:
        patch.setattr("shutil.rmtree", lambda path: (_ for _ in ()).throw(OSError("killed")))
        remove_abandoned(tmp_path, "worker-")
    remove_abandoned(tmp_path, "worker-")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_taken_for_an_abandoned_one_is_made_again(tmp_path, monkeypatch):
    real, calls = scratch.try_lock, []

    def try_lock(fd):
        calls.append(fd)
        if len(calls) == 1:  # the maker's, which is too late
            remove_abandoned(tmp_path, "worker-")
        return real(fd)

    monkeypatch.setattr(scratch, "try_lock", try_lock)
    with Scratch(tmp_path, "worker-") as mine:
        assert list(tmp_path.iterdir()) == [mine.path]


def test_folders_without_our_lock_file_stay(tmp_path):
    kept = [tmp_path / "worker-service", tmp_path / "other", tmp_path / "worker-locked-by-a-folder"]
    for folder in kept:
        folder.mkdir()
        (folder / "main.py").write_text("precious")
    (kept[1] / "LOCK").touch()
    (kept[2] / "LOCK").mkdir()
    (tmp_path / "worker-file").touch()
    remove_abandoned(tmp_path, "worker-")
    assert all((folder / "main.py").is_file() for folder in kept)
    assert (tmp_path / "worker-file").exists()


def test_links_are_not_followed(tmp_path):
    (tmp_path / "victim").mkdir()
    for name in ("LOCK", "precious"):
        (tmp_path / "victim" / name).touch()
    (tmp_path / "scratch" / "worker-2").mkdir(parents=True)
    (tmp_path / "scratch" / "worker-1").symlink_to(tmp_path / "victim")
    (tmp_path / "scratch" / "worker-2" / "LOCK").symlink_to(tmp_path / "victim" / "LOCK")
    (tmp_path / "scratch" / "worker-3").mkdir()
    (tmp_path / "scratch" / "worker-3" / "LOCK").touch()
    (tmp_path / "scratch" / "worker-3" / "link").symlink_to(tmp_path / "victim")
    remove_abandoned(tmp_path / "scratch", "worker-")
    assert {path.name for path in (tmp_path / "victim").iterdir()} == {"LOCK", "precious"}
    assert {path.name for path in (tmp_path / "scratch").iterdir()} == {"worker-1", "worker-2"}


class TestTheFolderOfAllWorkers:
    @pytest.fixture(autouse=True)
    def _temporary(self, tmp_path, monkeypatch):
        (tmp_path / "tmp").mkdir()
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))

    @pytest.fixture
    def victim(self, tmp_path):
        """A folder of the user's, with one in it that looks like a killed worker's."""
        folder = tmp_path / "victim" / "worker-service"
        folder.mkdir(parents=True)
        (folder / "LOCK").touch()
        return folder

    def test_it_is_this_users_alone(self):
        made = bulk_scratch.worker_scratch()
        assert made.path.parent.stat().st_mode & 0o777 == 0o700
        made.close()

    def test_a_link_in_its_place_is_refused_and_leads_nowhere(self, victim):
        bulk_scratch.home().symlink_to(victim.parent)
        bulk_scratch.remove_abandoned()
        with pytest.raises(PermissionError, match=r"is a link.*TMPDIR"):
            bulk_scratch.worker_scratch()
        assert (victim / "LOCK").exists()

    def test_one_that_others_may_write_to_is_refused(self, victim):
        bulk_scratch.home().mkdir()
        bulk_scratch.home().chmod(0o777)
        (bulk_scratch.home() / "worker-service").mkdir()
        bulk_scratch.remove_abandoned()
        with pytest.raises(PermissionError, match="others may write to it"):
            bulk_scratch.worker_scratch()
        assert (bulk_scratch.home() / "worker-service").exists()

    def test_one_of_another_user_is_refused(self, monkeypatch, tmp_path):
        folder = private_folder(tmp_path / "mine")
        (folder / "worker-1").mkdir()
        monkeypatch.setattr(os, "getuid", lambda: 4711)
        remove_abandoned(folder, "worker-")
        with pytest.raises(PermissionError, match="another user's"):
            private_folder(folder)
        assert (folder / "worker-1").exists()


def test_makers_and_removers_at_once_take_nothing_from_each_other(tmp_path):
    lost = []

    def make():
        for _ in range(40):
            with Scratch(tmp_path, "worker-") as mine:
                (mine.path / "file").touch()
                remove_abandoned(tmp_path, "worker-")
                if not (mine.path / "file").exists():
                    lost.append(mine.path)

    threads = [threading.Thread(target=make) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert lost == []
    assert list(tmp_path.iterdir()) == []
