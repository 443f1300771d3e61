"""A file that is mapped without being held open."""

import mmap
import os
from pathlib import Path

import numpy as np
import pytest

from late_rerank.stores.disk.file_mapping import FileMapping, map_file

CONTENT = np.random.default_rng(0).bytes(30_000)
needs_proc = pytest.mark.skipif(not Path("/proc/self/maps").is_file(), reason="needs Linux's /proc")


@pytest.fixture
def path(tmp_path):
    (tmp_path / "mapped").write_bytes(CONTENT)
    return tmp_path / "mapped"


@pytest.fixture(params=[FileMapping, map_file])
def mapping(path, request):
    """A mapping of the file, which is closed by now: as every Python makes it, and as this one does."""
    fd = os.open(path, os.O_RDONLY)
    try:
        return request.param(fd, len(CONTENT))
    finally:
        os.close(fd)


def is_mapped(path):
    return str(path) in Path("/proc/self/maps").read_text()


def test_an_array_of_it_holds_the_files_bytes_and_cant_be_changed(mapping):
    array = np.asarray(mapping, dtype=np.uint8)
    assert array.tobytes() == CONTENT
    assert array.dtype == np.uint8
    assert not array.flags.writeable


def test_it_shows_what_is_written_to_the_file_later(mapping, path):
    array = np.asarray(mapping, dtype=np.uint8)
    with path.open("r+b") as file:
        file.seek(9000)
        file.write(b"written later")
    assert array[9000:9013].tobytes() == b"written later"


@needs_proc
def test_it_stays_mapped_as_long_as_anybody_has_a_part_of_it(path):
    fd = os.open(path, os.O_RDONLY)
    part = np.asarray(FileMapping(fd, len(CONTENT)), dtype=np.uint8)[20_000:].reshape(-1, 100)[3:]
    os.close(fd)
    path.unlink()
    assert is_mapped(path)
    assert part.tobytes() == CONTENT[20_300:]
    del part
    assert not is_mapped(path)


def test_the_system_is_told_of_parts_that_lie_within(mapping):
    mapping.madvise(mmap.MADV_WILLNEED, mmap.PAGESIZE, 5000)
    mapping.madvise(mmap.MADV_WILLNEED, mmap.PAGESIZE, 2**40)
    for start in (30_000, -mmap.PAGESIZE):
        with pytest.raises(ValueError, match="out of bounds"):
            mapping.madvise(mmap.MADV_WILLNEED, start, 10)


def test_a_part_that_doesnt_begin_with_a_page_is_refused(mapping):
    with pytest.raises(OSError, match="Invalid argument"):
        mapping.madvise(mmap.MADV_WILLNEED, 1, 10)


def test_a_file_that_cant_be_mapped_is_an_error_of_the_system(path):
    fd = os.open(path, os.O_WRONLY)
    with pytest.raises(PermissionError):
        FileMapping(fd, len(CONTENT))
    os.close(fd)
