"""How many segments a process keeps mapped, and which."""

from pathlib import Path

import numpy as np
import pytest

from late_rerank.stores import DiskStore
from late_rerank.stores.disk import mapped
from late_rerank.stores.disk.inside import parts_of, with_internals
from late_rerank.stores.disk.internals import Internals
from late_rerank.stores.disk.mapped import MappedSegments, most_mapped
from late_rerank.stores.disk.segment import pack_header, path_of
from late_rerank.testing.stores import SPEC, keys
from late_rerank.testing.vectors import random_packed, same_documents

SPACE = '{"a":"space"}'
SIZE = 4096


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "segments").mkdir()
    return tmp_path


def make(folder, ids):
    for number in ids:
        path_of(folder, number).write_bytes(pack_header(number, SPACE))


def mapped_ids(mappings):
    return set(mappings._mapped)


def n_open_files():
    return len(list(Path("/proc/self/fd").iterdir()))


def test_the_segments_used_longest_ago_are_unmapped_first(folder):
    make(folder, range(1, 12))
    mappings = MappedSegments(folder, most=8)
    for number in range(1, 9):
        mappings.get(number, SIZE, SPACE)
    first = mappings.get(1, SIZE, SPACE)
    mappings.get(9, SIZE, SPACE)
    mappings.get(10, SIZE, SPACE)
    assert mapped_ids(mappings) == {1, *range(4, 11)}
    assert mappings.get(1, SIZE, SPACE) is first


def test_a_segment_that_is_mapped_stays_though_most_is_one(folder):
    make(folder, [1, 2])
    mappings = MappedSegments(folder, most=1)
    mappings.get(1, SIZE, SPACE)
    mappings.get(2, SIZE, SPACE)
    assert mapped_ids(mappings) == {2}


def test_more_than_512_segments_stay_mapped_and_are_mapped_once(folder, monkeypatch):
    numbers = range(1, 701)
    make(folder, numbers)
    opened = []
    real = mapped.MappedSegment
    monkeypatch.setattr(mapped, "MappedSegment", lambda path: opened.append(path) or real(path))
    mappings = MappedSegments(folder)
    for _ in range(2):
        for number in numbers:
            mappings.get(number, SIZE, SPACE)
    assert len(opened) == len(numbers)


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs Linux's /proc")
def test_a_mapped_segment_holds_no_descriptor(folder):
    make(folder, range(1, 101))
    mappings = MappedSegments(folder)
    before = n_open_files()
    for number in range(1, 101):
        mappings.get(number, SIZE, SPACE)
    assert n_open_files() - before < 50


def test_a_process_maps_as_many_as_the_system_allows_mappings(tmp_path, monkeypatch):
    monkeypatch.setattr(mapped, "_MAP_COUNT", str(tmp_path / "max_map_count"))
    (tmp_path / "max_map_count").write_text("400\n")
    assert most_mapped() == 100
    (tmp_path / "max_map_count").write_text("not a number")
    assert most_mapped() == 4096


def test_documents_are_found_though_fewer_segments_stay_mapped_than_there_are(tmp_path):
    store = with_internals(Internals(segment_bytes=4096))(tmp_path / "store")
    with store:
        space = store.space("a", SPEC)
        packed = random_packed([3] * 12, SPEC)
        for i, key in enumerate(keys(12)):
            space.put([key], packed.take(np.array([i])))
    with DiskStore(tmp_path / "store") as reopened:
        parts_of(reopened).mappings._most = 4
        space = reopened.space("a", SPEC)
        assert reopened.stats()["n_segments"] == 12
        for _ in range(2):
            assert same_documents(space.get(keys(12)).found, packed)
        assert len(mapped_ids(parts_of(reopened).mappings)) <= 4
