"""A store that was written with format 1: every later version must read it, and write segments like it.

`python tests/golden/test_store_format.py FOLDER` writes such a store anew, for a format 2.
"""

import shutil
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from late_rerank.stores import DiskStore, PublishedStore
from late_rerank.types import CodecSpec, PackedVectors

GOLDEN = Path(__file__).parent / "stores-1"
# The same documents published with keys files of version 2.
BLOCKS = Path(__file__).parent / "stores-2"
INT8 = CodecSpec("int8", 3, {"codes": 3, "scales": 4})
OTHER = CodecSpec("int4", 4, {"codes": 2, "scales": 4}, {"seed": 7})
STORED_AT = 1_700_000_000


def key(i):
    return bytes(range(i, i + 16))


def documents(spec, lengths, seed):
    """Documents whose bytes need no generator of random numbers."""
    ends = np.cumsum(lengths)
    starts, size = {}, 0
    for name, width in spec.columns.items():
        starts[name] = (size + (ends - lengths) * width).astype(np.int64)
        size += int(ends[-1]) * width
    buffer = ((np.arange(size) * 7 + seed) % 256).astype(np.uint8)
    truncated = np.arange(len(lengths)) % 2 == 1
    return PackedVectors(spec, (buffer,), np.zeros(len(lengths), np.int32), starts, np.array(lengths), truncated)


# fingerprint -> codec, and key -> lengths and seed of the documents it was put with, and which of them it is
EXPECTED = {
    "model-a": (INT8, {key(0): ([5, 0, 40], 1, 0), key(1): ([5, 0, 40], 1, 1), key(2): ([9, 1], 2, 0)}),
    "model-b": (OTHER, {key(0): ([3], 4, 0)}),
}
DELETED = key(3)


def write(folder, published):
    with DiskStore(folder) as store:
        space = store.space("model-a", INT8)
        space.put([key(0), key(1), key(2)], documents(INT8, [5, 0, 40], 1))
        space.put([key(2), key(3)], documents(INT8, [9, 1], 2))
        space.delete([key(3)])
        store.space("model-b", OTHER).put([key(0)], documents(OTHER, [3], 4))
        store.publish(published)


def contents(opened):
    found = {}
    for space in opened.spaces():
        here = {}
        for i in range(5):
            answer = space.get([key(i)]).found
            if len(answer):
                columns = [answer.column(name, 0).tobytes() for name in space.codec.columns]
                here[key(i)] = (columns, int(answer.lengths[0]), bool(answer.truncated[0]))
        found[space.fingerprint] = here
    return found


def expected():
    found = {}
    for fingerprint, (spec, rows) in EXPECTED.items():
        here = {}
        for name, (lengths, seed, index) in rows.items():
            one = documents(spec, lengths, seed)
            columns = [one.column(column, index).tobytes() for column in spec.columns]
            here[name] = (columns, lengths[index], bool(one.truncated[index]))
        found[fingerprint] = here
    return found


@pytest.fixture
def golden(tmp_path):
    shutil.copytree(GOLDEN, tmp_path / "golden")
    return tmp_path / "golden"


@pytest.mark.parametrize("check", [False, True])
def test_a_store_of_format_1_is_read(golden, check):
    with DiskStore(golden / "store", check=check) as store:
        assert contents(store) == expected()
        assert [space.codec for space in store.spaces()] == [INT8, OTHER]
        assert store.verify().problems == []
        assert store.stats()["n_documents"] == 4


def test_it_is_read_without_its_index(golden):
    (golden / "store" / "index.sqlite").unlink()
    with pytest.warns(UserWarning, match="lost its index"):
        store = DiskStore(golden / "store")
    with store:
        assert contents(store) == expected()
        assert store.verify().problems == []


def test_it_is_gone_on_with(golden):
    with DiskStore(golden / "store") as store:
        store.space("model-a", INT8).put([DELETED], documents(INT8, [2], 5))
        assert len(list((golden / "store" / "segments").iterdir())) == 2
        assert store.verify().problems == []
        assert store.compact().n_damaged == 0
        assert len(store.space("model-a", INT8)) == 4


@pytest.mark.parametrize("published", [GOLDEN / "published", BLOCKS / "published"], ids=["columns", "blocks"])
def test_a_published_store_is_read_with_keys_of_each_version(published, tmp_path):
    shutil.copytree(published, tmp_path / "published")
    with PublishedStore(tmp_path / "published", check=True) as store:
        assert contents(store) == expected()
        assert store.verify().problems == []


def test_the_bytes_written_today_are_those_of_format_1(tmp_path, monkeypatch):
    monkeypatch.setattr(time, "time", lambda: float(STORED_AT))
    write(tmp_path / "store", tmp_path / "published")
    for name in ("store/segments/0000000001.seg", "store/segments/0000000002.seg"):
        assert (tmp_path / name).read_bytes() == (GOLDEN / name).read_bytes()
    for path in (BLOCKS / "published").rglob("*.[sk]e*"):
        if path.is_file():
            assert (tmp_path / path.relative_to(BLOCKS)).read_bytes() == path.read_bytes()
    for path in (GOLDEN / "published" / "segments").iterdir():
        assert (tmp_path / path.relative_to(GOLDEN)).read_bytes() == path.read_bytes()


if __name__ == "__main__":
    time.time = lambda: float(STORED_AT)
    write(Path(sys.argv[1]) / "store", Path(sys.argv[1]) / "published")
