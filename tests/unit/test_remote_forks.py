"""A forked child loads the library of object storage once more, wherever temporary files may lie."""

import errno
import os
import subprocess
import sys
import tempfile
import warnings

import pytest

pytest.importorskip("obstore", reason='needs `pip install "late-rerank[remote]"`')

from forking import in_a_child, needs_fork
from remote_runs import add

from late_rerank.stores.remote import RemoteStore
from late_rerank.testing.stores import SPEC, keys

pytestmark = needs_fork
NAMES = keys(3)


@pytest.fixture
def space(tmp_path):
    add(f"file://{tmp_path}/remote", NAMES, [3, 0, 1])
    return RemoteStore(f"file://{tmp_path}/remote").space("a", SPEC)


def refuse(*_, **__):
    raise OSError(errno.EROFS, "Read-only file system")


def test_where_no_temporary_file_can_be_written_children_and_theirs_load_it_from_memory(space, monkeypatch):
    monkeypatch.setattr(tempfile, "mkdtemp", refuse)
    assert in_a_child(lambda: (len(space.get(NAMES).found), in_a_child(lambda: len(space.get(NAMES).found)))) == (3, 3)


def test_without_files_in_memory_they_load_it_from_the_users_cache(space, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delattr(os, "memfd_create")
    make = tempfile.mkdtemp
    monkeypatch.setattr(tempfile, "mkdtemp", lambda **given: make(**given) if given["dir"] else refuse())
    assert in_a_child(lambda: len(space.get(NAMES).found)) == 3
    assert list((tmp_path / "cache" / "late-rerank").iterdir()) == []


def test_where_it_cant_be_loaded_documents_are_missing_and_no_query_copies_it_again(space, monkeypatch):
    monkeypatch.delattr(os, "memfd_create")
    monkeypatch.setattr(tempfile, "mkdtemp", refuse)

    def child():
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            missing = len(space.get(NAMES).missing)
            monkeypatch.setattr("late_rerank.stores.remote.library.load_again", None)
            return missing, len(space.get(NAMES).missing), [str(warning.message) for warning in told]

    *missing, told = in_a_child(child)
    assert missing == [3, 3]
    assert len(told) == 1
    assert "Read-only file system" in told[0]
    assert "Name a folder without `noexec` by TMPDIR" in told[0]


MAPPED = """
import ctypes, obstore._obstore as library
from late_rerank.stores.remote.loading_again import load_again
print(load_again(library.__file__, lambda path: ctypes.CDLL(path) and path))
"""


def test_a_folder_of_temporary_files_that_is_mounted_noexec_is_passed_over(tmp_path):
    if subprocess.run(["unshare", "-rm", "true"], check=False, capture_output=True).returncode:
        pytest.skip("no mount can be made here; needs root, or user namespaces")
    command = f"mount -t tmpfs -o noexec tmpfs {tmp_path} && TMPDIR={tmp_path} exec {sys.executable} -c '{MAPPED}'"
    ran = subprocess.run(["unshare", "-rm", "sh", "-c", command], check=True, capture_output=True, text=True, timeout=60)
    assert ran.stdout.startswith("/proc/")
