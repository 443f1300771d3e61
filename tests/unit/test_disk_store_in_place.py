"""What DiskStore fetches is the mapped file itself, and scoring it copies nothing."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from late_rerank import maxsim
from late_rerank.codecs import codec
from late_rerank.stores import DiskStore
from late_rerank.testing.stores import keys
from late_rerank.testing.vectors import random_vectors

DIM = 128
N_DOCUMENTS = 100
N_TOKENS = 300

native = pytest.mark.skipif(maxsim.why_not_native() is not None, reason=f"native kernel: {maxsim.why_not_native()}")


@pytest.fixture(params=["int8", "int4", "binary", "float16"])
def space(request, tmp_path):
    packing = codec(request.param)
    with DiskStore(tmp_path / "store") as store:
        space = store.space("in place", packing.spec(DIM))
        space.put(keys(N_DOCUMENTS), packing.encode(random_vectors([N_TOKENS] * N_DOCUMENTS, DIM)))
        yield space


def mapped_files():
    """(first address, last address and one, path, permissions) of everything that is mapped into this process from a file."""
    path = Path("/proc/self/maps")
    if not path.exists():
        pytest.skip("needs /proc/self/maps, which only Linux has")
    for line in path.read_text(encoding="utf-8").splitlines():
        fields = line.split(maxsplit=5)
        if len(fields) == 6:
            first, last = (int(address, 16) for address in fields[0].split("-"))
            yield first, last, fields[5], fields[1]


def test_fetched_bytes_lie_in_the_segments_mapping_that_nobody_can_write(space):
    found = space.get(keys(N_DOCUMENTS)).found

    segments = [file for file in mapped_files() if file[2].endswith(".seg")]
    for name in space.codec.columns:
        for i in range(N_DOCUMENTS):
            column = found.column(name, i)
            begin = column.ctypes.data
            [permissions] = [p for first, last, _, p in segments if first <= begin and begin + len(column) <= last]
            assert permissions.startswith("r--")
            assert not column.flags.writeable


def test_documents_of_one_segment_share_one_buffer(space):
    assert len(space.get(keys(N_DOCUMENTS)).found.buffers) == 1


@native
def test_fetching_and_scoring_take_no_memory_for_the_documents(space):
    kernel, query = maxsim.kernel("native"), random_vectors([32], DIM)
    wanted = keys(N_DOCUMENTS)
    kernel.score(query, space.get(wanted[:1]).found)  # what is imported and kept at the first call isn't meant

    tracemalloc.start()
    try:
        kernel.score(query, space.get(wanted).found)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < 100_000  # measured: 47,000, for places and scores
    # A copy would be seen: the smallest packing, binary, takes six times as much.
    assert space.get(wanted).found.size_bytes >= 6 * 100_000


@native
def test_the_measure_of_memory_would_see_a_copy(space):
    tracemalloc.start()
    try:
        found = space.get(keys(N_DOCUMENTS)).found
        copies = [np.array(found.column(name, i)) for name in space.codec.columns for i in range(N_DOCUMENTS)]
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak > found.size_bytes == sum(map(len, copies))


def test_fetched_documents_outlive_their_store(tmp_path):
    packing = codec("int8")
    vectors = random_vectors([N_TOKENS] * 3, DIM)
    with DiskStore(tmp_path / "store") as store:
        space = store.space("in place", packing.spec(DIM))
        space.put(keys(3), packing.encode(vectors))
        found = space.get(keys(3)).found
    for path in (tmp_path / "store" / "segments").iterdir():
        path.unlink()

    expected = packing.encode(vectors)
    for i in range(3):
        assert found.column("codes", i).tobytes() == expected.column("codes", i).tobytes()
