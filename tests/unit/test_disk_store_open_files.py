"""Stores of more segments than a process may have files open, and processes that may open none."""

import errno
import os
import resource
import warnings
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest

from late_rerank.errors import StoreError
from late_rerank.stores import DiskStore, PublishedStore
from late_rerank.stores.disk import copies, tables, verification
from late_rerank.stores.disk.files import reason_of
from late_rerank.stores.disk.inside import with_internals
from late_rerank.stores.disk.internals import Internals
from late_rerank.testing.stores import SPEC, keys
from late_rerank.testing.vectors import random_packed, same_documents

N = 40
KEYS = keys(N)
PACKED = random_packed([3] * N, SPEC)


def fill(folder, n=N):
    """Put documents into segments of their own."""
    with with_internals(Internals(segment_bytes=4096))(folder) as store:
        for i in range(n):
            store.space("a", SPEC).put([KEYS[i]], PACKED.take(np.array([i])))
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return fill(tmp_path_factory.mktemp("stores") / "store")


@pytest.fixture
def published(tmp_path):
    with DiskStore(fill(tmp_path / "store", 3)) as store:
        store.publish(tmp_path / "published")
    return tmp_path / "published"


@contextmanager
def more_files(n):
    """Let this process open `n` files more, and no others."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    probes = [os.open(os.devnull, os.O_RDONLY) for _ in range(n + 1)]  # they fill the gaps between the open ones
    for probe in probes:
        os.close(probe)
    resource.setrlimit(resource.RLIMIT_NOFILE, (probes[-1], before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_one_query_finds_documents_in_more_segments_than_files_may_be_open(folder):
    with DiskStore(folder) as store, more_files(N // 2):
        assert store.stats()["n_segments"] == N
        assert same_documents(store.space("a", SPEC).get(KEYS).found, PACKED)
        assert store.stats()["n_damaged"] == 0


def test_upkeep_goes_through_more_segments_than_files_may_be_open(folder, tmp_path):
    with DiskStore(folder) as store, more_files(N // 2):
        assert store.publish(tmp_path / "published").n_documents == N
        assert store.backup(tmp_path / "backup").n_documents == N
        assert store.verify().problems == []
    with PublishedStore(tmp_path / "published") as store:
        assert same_documents(store.space("a", SPEC).get(KEYS).found, PACKED)
    with DiskStore(tmp_path / "backup") as store:
        assert store.verify().n_documents == N
        assert store.compact().n_segments_after == 1


def test_a_process_that_may_open_no_file_is_told_so_and_not_of_damage(tmp_path):
    with DiskStore(fill(tmp_path / "store", 2)) as store:
        space = store.space("a", SPEC)
        assert len(space.get(KEYS[:1]).found) == 1
        with more_files(0), pytest.warns(UserWarning, match=r"Too many open files.*limit: ulimit -n.*missing"):
            fetched = space.get(KEYS[:2])
        assert fetched.positions.tolist() == [0]
        assert store.stats()["n_damaged"] == 0
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with more_files(0):
                assert space.get(KEYS[:2]).missing.tolist() == [1]
            assert space.get(KEYS[:2]).missing.tolist() == []


def test_a_published_store_that_may_open_no_file_says_so_and_nothing_of_damage(published):
    with PublishedStore(published) as store:
        space = store.space("a", SPEC)
        with more_files(0), pytest.warns(UserWarning, match=r"Too many open files.*limit: ulimit -n.*missing"):
            assert space.get(KEYS[:3]).missing.tolist() == [0, 1, 2]
        assert store.stats()["n_damaged"] == 0
        assert space.get(KEYS[:3]).missing.tolist() == []
        with more_files(0), pytest.raises(StoreError, match="Too many open files"):
            store.verify()


def test_verification_doesnt_take_a_lack_of_files_for_damage(folder, monkeypatch):
    monkeypatch.setattr(verification, "_strangers", lambda *_: [])  # it lists the folder, and would fail in any case
    with DiskStore(folder) as store:
        assert store.verify().problems == []
        with more_files(0), pytest.raises(StoreError, match=r"Too many open files.*limit: ulimit -n"):
            store.verify()


def test_a_copy_isnt_taken_for_torn_because_files_lack(folder):
    with DiskStore(folder) as store:
        index = store._parts.index
        assert list(copies.reasons_torn(folder, index)) == []
        with more_files(0), pytest.raises(OSError, match="Too many open files"):
            next(copies.reasons_torn(folder, index))


def test_a_writer_isnt_taken_for_dead_because_files_lack(folder):
    with DiskStore(folder) as store:
        being_written = replace(store._parts.index.segments()[0], state=tables.OPEN)
        with more_files(0), pytest.raises(OSError, match="Too many open files"):
            copies.is_being_written(folder, being_written)


@pytest.mark.parametrize(("number", "remedy"), [("EMFILE", "ulimit -n"), ("ENFILE", "file-max"), ("ENOMEM", "max_map_count")])
def test_what_the_system_lacks_is_told_with_a_remedy(number, remedy):
    assert remedy in reason_of(OSError(getattr(errno, number), "lacks"))
    assert reason_of(OSError(errno.EIO, "an error")) == str(OSError(errno.EIO, "an error"))
