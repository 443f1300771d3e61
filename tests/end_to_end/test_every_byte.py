"""Every byte of a segment, damaged one by one: `verify` says so, a store that checks misses that document and no other."""

import os
import shutil
import warnings

import numpy as np
import pytest

from late_rerank.stores import DiskStore
from late_rerank.stores.disk.inside import parts_of
from late_rerank.stores.record import ALIGNMENT, HEADER_BYTES
from late_rerank.testing.stores import SPEC, keys
from late_rerank.testing.vectors import random_packed, same_documents

LENGTHS = [3, 0, 9, 1]
HEADER = 4096


@pytest.fixture
def sealed(tmp_path):
    """A closed store of one segment: four documents of which one is empty, one that is deleted, its tombstone, a seal."""
    folder = tmp_path / "store"
    with DiskStore(folder) as store:
        space = store.space("a", SPEC)
        space.put(keys(5), random_packed([*LENGTHS, 2], SPEC))
        space.delete(keys(5)[4:])
    return folder


@pytest.fixture
def checking(sealed):
    with DiskStore(sealed, check=True) as store:
        yield store


def flip(fd, offset):
    """Change one bit of the byte, another one in each byte of eight; a second time puts it back."""
    byte = os.pread(fd, 1, offset)[0]
    os.pwrite(fd, bytes([byte ^ 1 << offset % 8]), offset)


def damaged(folder):
    """Offset after offset: while the caller looks, the byte there is damaged."""
    path = next((folder / "segments").iterdir())
    fd = os.open(path, os.O_RDWR)
    try:
        for offset in range(path.stat().st_size):
            flip(fd, offset)
            yield offset
            flip(fd, offset)
    finally:
        os.close(fd)


def places(store):
    """(start, end) of each document that the index finds, in the order of the keys."""
    rows = {row.key: row for row in parts_of(store).index.rows(1)}
    return [(rows[key].offset, rows[key].offset + rows[key].size) for key in keys(4)]


def test_the_store_is_as_small_as_this_test_thinks(sealed, checking):
    size = next((sealed / "segments").iterdir()).stat().st_size
    columns = [-(-n * 7 // ALIGNMENT) + -(-n * 4 // ALIGNMENT) for n in [*LENGTHS, 2]]
    assert size == HEADER + 7 * HEADER_BYTES + sum(columns) * ALIGNMENT  # five documents, the tombstone, the seal
    assert checking.verify().problems == []
    assert len(checking.space("a", SPEC).get(keys(5)).found) == 4


def test_verify_finds_every_damaged_byte(sealed, checking):
    unseen = [offset for offset in damaged(sealed) if not checking.verify().problems]
    assert unseen == []
    assert checking.verify().problems == []


def test_a_store_that_checks_misses_the_damaged_document_only(sealed, checking):
    space, packed = checking.space("a", SPEC), random_packed([*LENGTHS, 2], SPEC)
    ranges = places(checking)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # said once; test_damage_is_said_once looks at it
        for offset in damaged(sealed):
            parts_of(checking).mappings.keep(set())  # as in a process that opens the store now
            hit = [i for i, (start, end) in enumerate(ranges) if start <= offset < end] if offset >= HEADER else [0, 1, 2, 3]
            fetched = space.get(keys(4))
            assert fetched.missing.tolist() == hit, offset
            assert same_documents(fetched.found, packed.take(np.setdiff1d(np.arange(4), hit))), offset


def test_a_rebuilt_index_holds_no_damaged_byte(sealed, tmp_path):
    """One byte of 24: an index is made each time. A document may go, or come back where its tombstone is damaged."""
    packed = random_packed([*LENGTHS, 2], SPEC)
    with DiskStore(sealed) as store:
        ranges = places(store)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for offset in damaged(sealed):
            if offset < HEADER or offset % 8 != offset // 8 % 8 or offset % 3:
                continue
            copy = tmp_path / "copy"
            shutil.copytree(sealed, copy)
            for path in copy.glob("index.sqlite*"):
                path.unlink()
            with DiskStore(copy) as store:
                fetched = store.space("a", SPEC).get(keys(5))
                hit = [i for i, (start, end) in enumerate(ranges) if start <= offset < end]
                assert set(hit) <= set(fetched.missing.tolist()) <= {*hit, 4}, offset
                assert same_documents(fetched.found, packed.take(fetched.positions)), offset
            shutil.rmtree(copy)


def test_damage_is_said_once(sealed, checking):
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        for offset in damaged(sealed):
            if HEADER <= offset < HEADER + 3:
                checking.space("a", SPEC).get(keys(4))
    assert len(said) == 1
    assert "is damaged" in str(said[0].message)
    assert checking.stats()["n_damaged"] == 3
