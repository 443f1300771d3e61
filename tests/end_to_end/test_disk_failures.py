"""A disk that is full or fails, interrupts, forks, lost and damaged files: errors that say so, nothing acknowledged is lost."""

import errno
import multiprocessing
import os
import pickle
import re
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from late_rerank.errors import StoreError, StoreFormatError
from late_rerank.stores import DiskStore
from late_rerank.stores.disk import format_file, index, tables
from late_rerank.stores.disk.index import Index
from late_rerank.stores.disk.inside import parts_of, with_internals
from late_rerank.stores.disk.internals import Internals
from late_rerank.stores.disk.places import PlaceCache
from late_rerank.stores.disk.segment import SegmentWriter
from late_rerank.testing.stores import SPEC, keys
from late_rerank.testing.vectors import random_packed, same_documents

LENGTHS = [3, 0, 40, 7]
FORK = multiprocessing.get_context("fork")
# What another process does with the store: put four documents under salt 77, find them, find those of salt 0.
ELSEWHERE = """
import sys
from late_rerank.stores import DiskStore
from late_rerank.testing.stores import SPEC, keys
from late_rerank.testing.vectors import random_packed, same_documents
with DiskStore(sys.argv[1]) as store:
    space = store.space("a", SPEC)
    packed = random_packed([3, 0, 40, 7], SPEC, seed=77)
    space.put(keys(4, salt=77), packed)
    assert same_documents(space.get(keys(4, salt=77)).found, packed)
    assert len(space.get(keys(4)).found) == 4
"""


def put(opened, salt, lengths=LENGTHS):
    opened.space("a", SPEC).put(keys(len(lengths), salt=salt), random_packed(lengths, SPEC, seed=salt))


def is_there(opened, salt, lengths=LENGTHS):
    found = opened.space("a", SPEC).get(keys(len(lengths), salt=salt)).found
    return same_documents(found, random_packed(lengths, SPEC, seed=salt))


def is_usable(opened, salts):
    """The store after a fault: what was acknowledged is there, and stays; puts work here and in another process."""
    for salt in salts:
        assert is_there(opened, salt), salt
    put(opened, 50)
    assert is_there(opened, 50)
    subprocess.run([sys.executable, "-c", ELSEWHERE, str(opened.path)], check=True)
    put(opened, 51)
    salts = [*salts, 50, 51, 77]
    assert opened.verify().problems == []
    with DiskStore(opened.path, check=True) as fresh:
        assert all(is_there(fresh, salt) for salt in salts)
    opened.close()
    assert_rebuilt_alike(opened.path, salts)


def assert_rebuilt_alike(folder, salts):
    with DiskStore(folder) as opened:
        n_documents = len(opened.space("a", SPEC))
        states = [segment.state for segment in parts_of(opened).index.segments(with_dead=True)]
    assert set(states) <= {tables.SEALED, tables.FULL}
    copy = folder.with_name("rebuilt")
    shutil.copytree(folder, copy)
    index.remove(copy)
    with pytest.warns(UserWarning, match="made again"):
        opened = DiskStore(copy)
    with opened:
        assert all(is_there(opened, salt) for salt in salts)
        assert len(opened.space("a", SPEC)) == n_documents
        assert opened.verify().problems == []


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "store"


@pytest.fixture
def opened(folder, request):
    """A store that holds salt 0; a test's `segments_of` says how large its segments grow."""
    with of_segments(getattr(request.function, "segment_bytes", 2**30))(folder) as made:
        put(made, 0)
        yield made


def of_segments(segment_bytes):
    return with_internals(Internals(segment_bytes=segment_bytes))


def segments_of(segment_bytes):
    """Make segments so small that a put also seals and creates; what a test's `opened` reads."""

    def marked(test):
        test.segment_bytes = segment_bytes
        return test

    return marked


class Fault:
    """Fails a function of the system once it was called `after` times, and from then on until `over`."""

    def __init__(self, monkeypatch, owner, name, error, *, after=0, short=False):
        self.left, self.over, self.n_failed = after, False, 0
        real = getattr(owner, name)

        def failing(*args, **kwargs):
            self.left -= 1
            if self.over or self.left >= 0:
                return real(*args, **kwargs)
            self.n_failed += 1
            if short and self.n_failed == 1:
                return real(args[0], bytes(args[1])[:100], *args[2:])  # part of it fits
            raise error

        monkeypatch.setattr(owner, name, failing)


NO_SPACE = OSError(errno.ENOSPC, "No space left on device")
IO_ERROR = OSError(errno.EIO, "Input/output error")


class TestFullDisk:
    def fill(self, opened, *, most=400):
        """Put until the disk is full, and some more; returns the acknowledged salts."""
        put(opened, 0)
        done, n_failed = [0], 0
        for salt in range(100, 100 + most):
            try:
                put(opened, salt, [400] * 5)
                done.append(salt)
            except StoreError:
                n_failed += 1
            if n_failed == 5:
                break
        assert n_failed == 5
        return done

    def check(self, opened, done):
        assert all(is_there(opened, salt, [400] * 5) for salt in done[1:])
        is_usable(opened, [0])
        with DiskStore(opened.path) as again:
            assert all(is_there(again, salt, [400] * 5) for salt in done[1:])

    def test_a_real_one_raises_and_loses_nothing(self, tmp_path):
        disk = tmp_path / "disk"
        disk.mkdir()
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)], capture_output=True).returncode:
            pytest.skip("needs the right to mount a tmpfs; the next test limits file sizes instead")
        try:
            opened = of_segments(150_000)(disk / "store")
            done = self.fill(opened)
            assert len(done) > 10
            with pytest.raises(StoreError):
                opened.compact(min_live=1)  # it needs room, too
            assert all(is_there(opened, salt, [400] * 5) for salt in done[1:])
            # Without room nothing can be deleted: a tombstone takes some. With a little more all goes on.
            subprocess.run(["mount", "-o", "remount,size=16m", str(disk)], check=True)
            self.check(opened, done)
        finally:
            subprocess.run(["umount", "-l", str(disk)], check=True)

    def test_a_limit_on_file_sizes_raises_and_loses_nothing(self, folder):
        def limited():
            resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, resource.RLIM_INFINITY))
            opened = DiskStore(folder)
            done = self.fill(opened)
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            self.check(opened, done)

        in_a_child(limited)

    @segments_of(5000)
    @pytest.mark.parametrize("short", [False, True], ids=["nothing", "a part"])
    @pytest.mark.parametrize("after", [0, 1, 2, 3, 5])
    def test_at_any_write_raises_and_loses_nothing(self, opened, monkeypatch, after, short):
        fault = Fault(monkeypatch, os, "pwrite", NO_SPACE, after=after, short=short)
        done = puts_until_failure(opened)
        with pytest.raises(StoreError, match="No space left"):
            put(opened, 31)
        fault.over = True
        is_usable(opened, done)

    def test_in_the_index_raises_and_loses_nothing(self, opened):
        put(opened, 1)
        set_most_pages(opened, 1)  # SQLite's own "database or disk is full"
        done = puts_until_failure(opened)
        with pytest.raises(StoreError, match="full"):
            put(opened, 31, [1] * 3000)
        set_most_pages(opened, 1_000_000)
        is_usable(opened, done)

    def test_while_compacting_raises_and_loses_nothing(self, opened, monkeypatch):
        for salt in range(1, 6):
            put(opened, salt)
            parts_of(opened).writing.seal_all()
        opened.space("a", SPEC).delete(keys(4, salt=5))
        for after in range(4):
            with monkeypatch.context() as patched:
                Fault(patched, os, "pwrite", NO_SPACE, after=after)
                with pytest.raises(StoreError):
                    opened.compact(min_live=1)
            assert opened.space("a", SPEC).get(keys(4, salt=5)).missing.tolist() == [0, 1, 2, 3]
        opened.compact(min_live=1)
        is_usable(opened, [0, 1, 2, 3, 4])


def set_most_pages(opened, n_pages):
    parts = parts_of(opened)
    with parts.gate.held(), parts.index.changing() as connection:
        connection.execute(f"PRAGMA max_page_count = {n_pages}")


def puts_until_failure(opened, error=StoreError, match="No space left|Input/output|disk is full"):
    """Put under one salt after another until a put raises; the salts of those that didn't."""
    done = [0]
    for salt in range(1, 30):
        try:
            put(opened, salt)
        except error as raised:
            assert error is not StoreError or re.search(match, str(raised)), raised  # noqa: PT017 - not every put raises
            return done
        done.append(salt)
    raise AssertionError("no put failed")


class TestFailingDisk:
    @segments_of(5000)
    @pytest.mark.parametrize("after", range(6))
    def test_at_any_sync_raises_and_loses_nothing(self, opened, monkeypatch, after):
        fault = Fault(monkeypatch, os, "fdatasync", IO_ERROR, after=after)
        done = puts_until_failure(opened)
        fault.over = True
        is_usable(opened, done)

    def test_a_sync_that_failed_is_not_tried_again_on_that_segment(self, opened, monkeypatch):
        put(opened, 1)
        before = set(parts_of(opened).writing.segment_ids())
        with monkeypatch.context() as patched:
            Fault(patched, os, "fdatasync", IO_ERROR)
            with pytest.raises(StoreError, match="Input/output"):
                put(opened, 2)
        put(opened, 3)
        assert not before & set(parts_of(opened).writing.segment_ids())
        assert opened.space("a", SPEC).get(keys(4, salt=2)).missing.tolist() == [0, 1, 2, 3]
        is_usable(opened, [0, 1, 3])

    @segments_of(5000)
    def test_syncing_the_folder_of_a_new_segment(self, opened, monkeypatch):
        fault = Fault(monkeypatch, os, "fsync", IO_ERROR)
        done = puts_until_failure(opened)
        fault.over = True
        is_usable(opened, done)

    def test_making_the_store(self, folder, monkeypatch):
        with monkeypatch.context() as patched:
            Fault(patched, os, "fsync", IO_ERROR)
            with pytest.raises(StoreError, match="Input/output"):
                DiskStore(folder)
        with DiskStore(folder) as opened:
            put(opened, 0)
            is_usable(opened, [0])

    @segments_of(4000)  # every put creates a segment
    def test_no_failure_leaves_a_file_open_or_locked(self, opened, monkeypatch):
        put(opened, 1)
        faults = [(os, "pwrite"), (os, "fdatasync"), (Index, "changing"), (SegmentWriter, "create")]
        n_open = []
        for _ in range(3):
            for owner, name in faults:
                for after in range(4):
                    with monkeypatch.context() as patched:
                        Fault(patched, owner, name, NO_SPACE, after=after)
                        puts_until_failure(opened)
            put(opened, 1)
            n_open.append(len(list(Path("/proc/self/fd").iterdir())) if Path("/proc").exists() else 0)
        assert n_open[-1] == n_open[0]


class TestPowerLoss:
    """No power is cut here: what the disk must hold is taken to be what was synced."""

    @segments_of(5000)
    def test_documents_are_on_the_disk_before_the_index_says_so(self, opened, monkeypatch):
        calls = []

        def noting(owner, name, word):
            real = getattr(owner, name)

            def noted(*args, **kwargs):
                calls.append(word)
                return real(*args, **kwargs)

            monkeypatch.setattr(owner, name, noted)

        noting(os, "pwrite", "w")
        noting(os, "fdatasync", "s")
        noting(os, "fsync", "f")
        noting(Index, "changing", "c")
        put(opened, 1)
        assert "".join(calls) in ("wsc", "wscwsc", "wsccwsfcwsc")
        for salt in range(2, 8):  # each seals, creates, puts: no change of the index while a write isn't synced
            put(opened, salt)
        opened.compact(min_live=1)
        assert "wc" not in "".join(calls)
        assert {"w", "s", "f", "c"} == set(calls)

    @segments_of(6000)
    def test_what_was_synced_is_enough(self, opened, monkeypatch, tmp_path):
        """Segments as they were when they were last synced, the index as it is: after each put all is there."""
        synced = {}
        real = os.fdatasync

        def fdatasync(fd):
            real(fd)
            path = Path(f"/proc/self/fd/{fd}").readlink()
            if path.suffix == ".seg" and path.is_relative_to(opened.path):
                synced[path.name] = path.read_bytes()

        if not Path("/proc/self/fd").exists():
            pytest.skip("needs /proc to know which file is synced")
        parts_of(opened).writing.seal_all()
        put(opened, 1)
        monkeypatch.setattr(os, "fdatasync", fdatasync)
        for path in (opened.path / "segments").iterdir():
            synced[path.name] = path.read_bytes()
        for salt in range(2, 14):
            put(opened, salt)
            if salt % 5 == 0:
                opened.compact(min_live=1)
            image = tmp_path / f"image{salt}"
            shutil.copytree(opened.path, image)
            for path in (image / "segments").iterdir():
                path.write_bytes(synced[path.name])
            with DiskStore(image, check=True) as left:
                assert all(is_there(left, earlier) for earlier in range(salt + 1))
                put(left, 50)
                assert left.verify().problems == []


class TestInterrupt:
    @segments_of(5000)
    @pytest.mark.parametrize(
        ("owner", "name"),
        [(os, "pwrite"), (os, "fdatasync"), (Index, "changing"), (SegmentWriter, "create"), (SegmentWriter, "seal")],
        ids=lambda part: getattr(part, "__name__", part),
    )
    @pytest.mark.parametrize("after", range(3))
    def test_in_the_middle_of_a_put_leaves_the_store_usable(self, opened, monkeypatch, owner, name, after):
        fault = Fault(monkeypatch, owner, name, KeyboardInterrupt(), after=after)
        done = puts_until_failure(opened, KeyboardInterrupt)
        fault.over = True
        is_usable(opened, done)

    @pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
    def test_a_real_signal_at_any_moment_leaves_the_store_usable(self, opened):
        """SIGINT from a thread while the main one puts; whichever put it hits may be there or not.

        In a callback of the garbage collector (hypothesis has one) or in a finalizer, Python reports the exception and goes
        on: such a put isn't interrupted, and the report isn't a failure.
        """
        main, done, putting = threading.main_thread().ident, [0], []
        arrived, stop = threading.Event(), threading.Event()

        def arrives(*_):
            arrived.set()
            if putting:  # elsewhere it would end the test, not a put
                putting.clear()
                raise KeyboardInterrupt

        def interrupt():
            for _ in range(100):
                time.sleep(0.013)
                arrived.clear()
                signal.pthread_kill(main, signal.SIGINT)
                arrived.wait(30)  # on a busy machine the last one would come after the handler is gone
            stop.set()

        before = signal.signal(signal.SIGINT, arrives)
        thread = threading.Thread(target=interrupt)
        thread.start()
        salt = 100
        n_interrupted = 0
        try:
            while not stop.is_set():
                salt += 1
                try:
                    putting.append(salt)
                    put(opened, salt)
                    putting.clear()
                    done.append(salt)
                except KeyboardInterrupt:
                    n_interrupted += 1
        finally:
            putting.clear()
            thread.join()
            signal.signal(signal.SIGINT, before)
        assert n_interrupted > 5
        is_usable(opened, done)


def in_a_child(work, *args):
    """Run it in a forked child; fails if that fails, dies or hangs."""
    process = FORK.Process(target=work, args=args)
    process.start()
    process.join(30)
    hangs = process.is_alive()
    process.kill()
    process.join()
    assert not hangs
    assert process.exitcode == 0


class TestFork:
    def work(self, opened, salts):
        for salt in salts:
            put(opened, salt)
            assert is_there(opened, salt)
            assert is_there(opened, 0)

    def test_parent_and_child_both_go_on(self, opened):
        assert is_there(opened, 0)
        child = FORK.Process(target=self.work, args=(opened, range(1, 10)))
        child.start()
        self.work(opened, range(11, 20))
        child.join(60)
        assert child.exitcode == 0
        is_usable(opened, [*range(10), *range(11, 20)])

    def test_the_child_goes_on_after_the_parent_closed_the_store(self, folder):
        """SQLite knows the files that a process has open by process, not by connection: a child inherits that knowledge."""
        opened = DiskStore(folder)
        put(opened, 0)
        assert is_there(opened, 0)
        closed, put_one = FORK.Event(), FORK.Event()

        def go_on():
            put(opened, 1)
            put_one.set()
            assert closed.wait(30)
            self.work(opened, range(2, 6))
            opened.close()

        child = FORK.Process(target=go_on)
        child.start()
        assert put_one.wait(30)
        opened.close()
        subprocess.run([sys.executable, "-c", ELSEWHERE, str(folder)], check=True)
        closed.set()
        child.join(60)
        assert child.exitcode == 0
        with DiskStore(folder) as again:
            is_usable(again, range(6))

    def test_a_fork_while_threads_put_hangs_nobody(self, opened):
        stop = threading.Event()

        def keep_putting(salt):
            while not stop.is_set():
                put(opened, salt)

        with ThreadPoolExecutor(2) as pool:
            futures = [pool.submit(keep_putting, salt) for salt in (1, 2)]
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", DeprecationWarning)  # from Python 3.12 on: a fork with threads
                    for i in range(10):
                        in_a_child(self.work, opened, range(10 + 2 * i, 12 + 2 * i))
            finally:
                stop.set()
            for future in futures:
                future.result(60)
        is_usable(opened, [0, 1, 2, *range(10, 30)])


def create_many(root, n, barrier):
    for i in range(n):
        barrier.wait(60)
        with DiskStore(Path(root) / str(i)) as opened:
            put(opened, os.getpid())
            assert is_there(opened, os.getpid())


class TestTogether:
    def test_processes_that_make_the_same_store_at_once(self, tmp_path):
        barrier = FORK.Barrier(3)
        processes = [FORK.Process(target=create_many, args=(str(tmp_path), 40, barrier)) for _ in range(3)]
        for process in processes:
            process.start()
        for process in processes:
            process.join(120)
            assert process.exitcode == 0
        for i in range(40):
            with DiskStore(tmp_path / str(i)) as opened:
                assert len(opened.space("a", SPEC)) == 12
                assert opened.verify().problems == []

    def test_two_objects_in_one_process_share_the_folder(self, opened):
        with DiskStore(opened.path) as other:
            for salt in range(1, 10):
                put(opened if salt % 2 else other, salt)
                assert is_there(opened, salt)
                assert is_there(other, salt)
            assert opened.space("a", SPEC).delete(keys(4, salt=3)) == 4
            assert other.space("a", SPEC).get(keys(4, salt=3)).missing.tolist() == [0, 1, 2, 3]
            other.compact(min_live=1)
            assert is_there(opened, 4)
        is_usable(opened, [0, 1, 2, *range(4, 10)])

    @segments_of(20_000)
    def test_threads_put_get_delete_compact_and_verify(self, opened):
        def work(number):
            for i in range(15):
                salt = 100 + number * 100 + i
                put(opened, salt)
                assert is_there(opened, salt)
                if i % 5 == 1:
                    assert opened.space("a", SPEC).delete(keys(4, salt=salt)) == 4
                    assert len(opened.space("a", SPEC).get(keys(4, salt=salt)).found) == 0
                if i % 7 == 3:
                    opened.compact()
                if i % 7 == 5:
                    assert opened.verify().problems == []

        with ThreadPoolExecutor(6) as pool:
            list(pool.map(work, range(6)))
        is_usable(opened, [0, *(100 + number * 100 + i for number in range(6) for i in range(15) if i % 5 != 1)])

    def test_a_replacement_is_seen_wherever_the_first_one_came_in_between(self, folder, monkeypatch):
        """The first document of a new segment is committed after a reader asked whether anybody did, and before it looks."""
        with DiskStore(folder) as writer, DiskStore(folder) as reader:
            assert len(reader.space("a", SPEC).get(keys(4)).found) == 0
            look_up = PlaceCache.look_up

            def put_meanwhile(*args):
                monkeypatch.setattr(PlaceCache, "look_up", look_up)
                put(writer, 0)
                return look_up(*args)

            monkeypatch.setattr(PlaceCache, "look_up", put_meanwhile)
            assert is_there(reader, 0)
            newer = random_packed([9, 9, 9, 9], SPEC, seed=9)
            writer.space("a", SPEC).put(keys(4), newer)
            assert same_documents(reader.space("a", SPEC).get(keys(4)).found, newer)

    def test_verify_finds_nothing_wrong_while_others_write(self, folder):
        """Segments are gone on with, sealed, compacted, dropped while every byte is read."""

        def write():
            for salt in range(60):
                with of_segments(20_000)(folder) as mine:
                    put(mine, salt)
                    if salt % 10 == 9:
                        mine.compact(min_live=1)

        with DiskStore(folder) as opened:
            child = FORK.Process(target=write)
            child.start()
            while child.is_alive():
                assert opened.verify().problems == []
            child.join()
            assert child.exitcode == 0

    def test_drop_while_another_process_compacts_and_puts(self, folder):
        def compact():
            with of_segments(20_000)(folder) as mine:
                for salt in range(80):
                    put(mine, salt % 7)
                    mine.compact(min_live=1)

        def drop():
            with of_segments(20_000)(folder) as mine:
                for _ in range(60):
                    mine.drop("a")
                    time.sleep(0.02)

        processes = [FORK.Process(target=work) for work in (compact, drop)]
        for process in processes:
            process.start()
        for process in processes:
            process.join(120)
        assert [process.exitcode for process in processes] == [0, 0]
        with DiskStore(folder) as opened:
            opened.drop("a")
            put(opened, 0)
            assert opened.verify().problems == []
            assert len(parts_of(opened).index.segments(with_dead=True)) == len(list((folder / "segments").iterdir())) == 1

    def test_a_pickled_store_opens_the_same_folder(self, opened):
        again = pickle.loads(pickle.dumps(opened))
        with again:
            assert (again.path, again.check) == (opened.path, opened.check)
            put(again, 1)
            assert is_there(opened, 1)


class TestLostAndDamagedFiles:
    @pytest.fixture
    def closed(self, folder):
        """A closed store of three segments, 0, 1, 2 in one each."""
        for salt in range(3):
            with of_segments(4000)(folder) as opened:
                put(opened, salt)
        assert len(list((folder / "segments").iterdir())) == 3
        return folder

    def last(self, closed):
        return max((closed / "segments").iterdir())

    def test_a_lost_format_file_is_said(self, closed):
        (closed / format_file.NAME).unlink()
        with pytest.raises((ValueError, StoreFormatError), match=r"FORMAT\.json|no store"):
            DiskStore(closed)
        assert len(list((closed / "segments").iterdir())) == 3

    @pytest.mark.parametrize("text", ["", "{", "[]", '{"format": "late-rerank store", "version": 9, "id": "1"}'])
    def test_a_damaged_format_file_is_said(self, closed, text):
        (closed / format_file.NAME).write_text(text)
        with pytest.raises(StoreFormatError, match=r"FORMAT\.json"):
            DiskStore(closed)

    def test_a_lost_segment_is_a_miss_and_verify_says_so(self, closed):
        self.last(closed).unlink()
        with DiskStore(closed) as opened:
            with pytest.warns(UserWarning, match="lost"):
                assert opened.space("a", SPEC).get(keys(4, salt=2)).missing.tolist() == [0, 1, 2, 3]
            assert is_there(opened, 0)
            assert is_there(opened, 1)
            assert len(opened.verify().problems) == 1
            put(opened, 2)
            opened.compact()
            is_usable(opened, [0, 1, 2])

    @pytest.mark.parametrize("size", [0, 100, 4095, 4096, 4160, 4500, 5000])
    def test_a_cut_segment_is_a_miss_and_no_bus_error(self, closed, size):
        os.truncate(self.last(closed), size)

        def look():
            with DiskStore(closed, check=True) as opened, warnings.catch_warnings():
                warnings.simplefilter("ignore")
                fetched = opened.space("a", SPEC).get(keys(4, salt=2))
                packed = random_packed(LENGTHS, SPEC, seed=2)
                assert same_documents(fetched.found, packed.take(fetched.positions))
                assert len(fetched.missing) > 0
                assert is_there(opened, 0)
                assert opened.verify().problems
                put(opened, 2)
                opened.compact(min_live=1)
                is_usable(opened, [0, 1, 2])

        in_a_child(look)

    @pytest.mark.parametrize("wal", ["stale", "garbage", "none"])
    def test_a_lost_index_is_made_again_whatever_log_lies_beside_it(self, closed, wal):
        if wal == "stale":
            subprocess.run([sys.executable, "-c", LEAVE_A_LOG, str(closed)], check=True)
            assert (closed / "index.sqlite-wal").stat().st_size > 0
        elif wal == "garbage":
            (closed / "index.sqlite-wal").write_bytes(os.urandom(5000))
            (closed / "index.sqlite-shm").write_bytes(os.urandom(32768))
        (closed / index.NAME).unlink()
        with pytest.warns(UserWarning, match="made again"):
            opened = DiskStore(closed)
        with opened:
            is_usable(opened, [0, 1, 2])

    @pytest.mark.parametrize("raw", [b"", b"not a database" * 1000, b"SQLite format 3\0" + bytes(4080)])
    def test_a_damaged_index_is_made_again(self, closed, raw):
        (closed / index.NAME).write_bytes(raw)
        with pytest.warns(UserWarning, match="made again"):
            opened = DiskStore(closed)
        with opened:
            is_usable(opened, [0, 1, 2])

    def test_a_segment_with_a_damaged_header_stays_when_the_index_is_made_again(self, closed):
        """Its number must not be given to a new one: the first put would fail, the second remove it."""
        path = self.last(closed)
        fd = os.open(path, os.O_RDWR)
        os.pwrite(fd, b"X", 40)
        os.close(fd)
        (closed / index.NAME).unlink()
        with pytest.warns(UserWarning, match="made again"), pytest.warns(UserWarning, match="left out of the index"):
            opened = DiskStore(closed)
        with opened:
            put(opened, 7)
            put(opened, 8)
            assert path.exists()
            assert all(is_there(opened, salt) for salt in (0, 1, 7, 8))
            assert [problem.where for problem in opened.verify().problems] == [path.name]

    def test_an_index_made_again_by_another_process_is_written_to(self, closed):
        """Whoever has the old one open must neither write to it nor take its numbers from it."""
        with DiskStore(closed) as opened:
            assert is_there(opened, 0)
            subprocess.run([sys.executable, "-c", MAKE_AGAIN, str(closed)], check=True)
            newer = random_packed([4, 5], SPEC, seed=99)
            opened.space("a", SPEC).put(keys(2), newer)
        with DiskStore(closed) as again:
            assert same_documents(again.space("a", SPEC).get(keys(2)).found, newer)
            assert again.verify().problems == []


LEAVE_A_LOG = """
import os, sys
from late_rerank.stores import DiskStore
from late_rerank.testing.stores import SPEC, keys
from late_rerank.testing.vectors import random_packed
store = DiskStore(sys.argv[1])
store.space("a", SPEC).put(keys(4, salt=2), random_packed([3, 0, 40, 7], SPEC, seed=2))
os._exit(0)
"""
MAKE_AGAIN = """
import sys
from late_rerank.stores import DiskStore
from late_rerank.stores.disk import rebuild
from late_rerank.testing.stores import SPEC, keys
from late_rerank.testing.vectors import random_packed
rebuild(sys.argv[1])
with DiskStore(sys.argv[1]) as store:
    for seed in range(9):
        store.space("a", SPEC).put(keys(2), random_packed([1, 2], SPEC, seed=seed))
"""
